"""Which process holds how many references to a server's objects: those of a killed process go with its last connection.

A process that runs elsewhere, and so has no pid here, is not accounted for: its references end only when it says so.
"""

import threading
from collections import Counter
from collections.abc import Callable

from phalanx._managers.clients import current_client

__all__ = ["Ledger"]


class _Account:
    def __init__(self) -> None:
        self.connection_count = 0
        self.references: Counter[str] = Counter()


class Ledger:
    """One account for each client process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[int, _Account] = {}

    def on_connected(self, pid: int) -> None:
        if pid == 0:
            return
        with self._lock:
            self._accounts.setdefault(pid, _Account()).connection_count += 1

    def note(self, ident: str, change: int) -> None:
        """The client that the calling thread serves takes (1) or gives back (-1) a reference."""
        client = current_client()
        with self._lock:
            account = self._accounts.get(client.pid) if client is not None else None
            if account is not None:
                account.references[ident] += change

    def on_disconnected(self, pid: int, has_died: Callable[[], bool]) -> list[str]:
        """What the process held, an ident for each reference, if this was its last connection and it has died."""
        with self._lock:
            account = self._accounts.get(pid)
            if account is None:
                return []
            account.connection_count -= 1
            if account.connection_count > 0:
                return []
        if +account.references and not has_died():
            return []  # it may connect again
        with self._lock:
            if account.connection_count > 0:
                return []
            self._accounts.pop(pid, None)
        return list(account.references.elements())
