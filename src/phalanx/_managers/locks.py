"""The locks of a manager: like threading's, but they know the client that holds them.

When a client's process dies with a lock, every acquire raises `OwnerDied` until `recover` or `release` is called: what
the lock guards may be half-written. When a client dies while it waits for a lock, it does not get it.
"""

import threading
import time
from typing import Any

from phalanx._base import limits
from phalanx._base.errors import OwnerDied
from phalanx._managers.clients import Client, current_client

__all__ = ["ManagedLock", "ManagedRLock"]


class ManagedLock:
    """A lock that any client may release."""

    _release_error = "release unlocked lock"

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._depth = 0
        self._holder: Client | None = None
        self._owner: object = None  # only the reentrant kind has one
        self._has_lost_owner = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Whether the lock was acquired. `timeout` in seconds, -1 for none. `OwnerDied` if its holder has died."""
        deadline = _deadline_of(blocking, timeout)
        with self._changed:
            while not self._try_acquire():
                if deadline is not None and deadline <= time.monotonic():
                    return False
                self._sleep(deadline)
            return True

    def release(self) -> None:
        """RuntimeError if it is not held."""
        with self._changed:
            if self._depth == 0 or not self._may_release():
                raise RuntimeError(self._release_error)
            self._depth -= 1
            if self._depth == 0:
                self._set_free()

    def locked(self) -> bool:
        return self._depth > 0

    def recover(self) -> None:
        """What the lock guards is in order, although its holder has died: the lock is free again."""
        with self._changed:
            if self._has_lost_owner:
                self._set_free()

    def on_holder_death(self, holder: Client) -> None:
        """The process of that client has died; tell those that wait."""
        with self._changed:
            if self._holder is holder:
                self._has_lost_owner = True
                self._changed.notify_all()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _may_release(self) -> bool:
        return True

    def _is_mine(self) -> bool:
        return False

    def _try_acquire(self) -> bool:
        if self._has_lost_owner:
            raise OwnerDied("the process that held the lock has died; what it guards may be half-written")
        if self._depth > 0 and not self._is_mine():
            return False
        self._depth += 1
        if self._depth == 1:
            self._owner = threading.get_ident()
            self._hold_for(current_client())
        return True

    def _hold_for(self, client: Client | None) -> None:
        self._holder = client
        if client is not None:
            client.held.add(self)

    def _set_free(self) -> None:
        self._depth = 0
        self._owner = None
        self._has_lost_owner = False
        if self._holder is not None:
            self._holder.held.discard(self)
            self._holder = None
        self._changed.notify()

    def _sleep(self, deadline: float | None) -> None:
        """For a slice: then the client may have died, and nobody waits any more."""
        left = limits.CLIENT_CHECK_S if deadline is None else deadline - time.monotonic()
        self._changed.wait(min(max(0.0, left), limits.CLIENT_CHECK_S))
        client = current_client()
        if client is not None and client.is_gone():
            self._changed.notify()  # it may have been meant for somebody who lives
            raise EOFError("the client that waited for the lock is gone")


class ManagedRLock(ManagedLock):
    """A lock that the thread which holds it may acquire again; it alone may release it."""

    _release_error = "cannot release un-acquired lock"

    def _may_release(self) -> bool:
        return self._is_mine() or self._has_lost_owner

    def _is_mine(self) -> bool:
        return self._owner == threading.get_ident()

    # What threading.Condition asks of its lock.

    def _is_owned(self) -> bool:
        return self._depth > 0 and self._is_mine()

    def _release_save(self) -> Any:
        with self._changed:
            depth = self._depth
            self._set_free()
            return depth

    def _acquire_restore(self, depth: Any) -> None:
        self.acquire()
        self._depth = depth


def _deadline_of(blocking: bool, timeout: float) -> float | None:
    if not blocking:
        if timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0.0
    if timeout == -1:
        return None
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return time.monotonic() + timeout
