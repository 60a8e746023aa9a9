"""Who is at the other end of a server's connection, and whether that process lives.

The end of a connection may be the end of a thread only: a lock outlives that. Whether the process has ended too, the
kernel knows; of a process elsewhere, whose state nobody here can ask, the end of the connection counts.
"""

import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

from phalanx._base import lifelines, limits

if TYPE_CHECKING:
    from phalanx._managers.locks import ManagedLock

__all__ = ["Client", "current_client", "serving"]

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

_thread = threading.local()


class Client:
    """One connection of a client, and the locks that were acquired over it."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self.pid = _pid_of_peer(conn)
        self.held: set[ManagedLock] = set()

    def is_gone(self) -> bool:
        """Whether the connection has ended. Asked while a request is served, when the client has nothing to send."""
        try:
            return bool(self._conn.poll(0))
        except OSError:
            return True

    def end(self) -> None:
        """The connection has ended: what a dead process held has lost its owner."""
        if self.held and self.has_died():
            for lock in list(self.held):
                lock.on_holder_death(self)

    def has_died(self) -> bool:
        """Whether its process has ended, asked when the connection has."""
        if self.pid == 0:
            return True
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        except OSError:  # no pidfds here
            return not os.path.exists(f"/proc/{self.pid}")
        try:
            # A process's descriptors are closed a moment before it counts as ended.
            return lifelines.is_readable(fd, limits.EXIT_NOTICE_TIMEOUT_S)
        finally:
            os.close(fd)


class serving:
    """The calling thread serves that client, until the end of the `with` block."""

    def __init__(self, conn: Any) -> None:
        self._client = Client(conn)

    def __enter__(self) -> Client:
        _thread.client = self._client
        return self._client

    def __exit__(self, *exc: object) -> None:
        _thread.client = None
        self._client.end()


def current_client() -> Client | None:
    """Whom the calling thread serves."""
    return getattr(_thread, "client", None)


def _pid_of_peer(conn: Any) -> int:
    """0 if it runs elsewhere, on another machine or in a namespace that this process does not see into."""
    with socket.socket(fileno=os.dup(conn._descriptor())) as sock:
        if sock.family != socket.AF_UNIX:
            return 0
        pid, _, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return int(pid)
