"""This process's end of the watcher: a small process that removes named segments which a program has left behind.

phalanx's own objects have no names, so there is nothing to watch until a named shared memory segment is made. The
watcher is started then, lives while any process of the program holds its pipe, and cleans up when the last has gone.
"""

from __future__ import annotations

import _signal
import os
import threading
import time
import warnings
from contextlib import contextmanager

from phalanx import util
from phalanx._base import interpreter, lifelines, limits, watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ensure_running", "getfd", "register", "unregister"]

main = watcher.main

_CLEANUP_FUNCS = watcher.CLEANUP_FUNCS


class ResourceTracker:
    """The way to the watcher. Children share it: forked ones hold the same pipe, the others are handed it."""

    _use_simple_format = True  # of the stdlib's two formats, between which test suites switch; here one serves all

    def __init__(self) -> None:
        # Recursive: a signal handler or a finalizer may come here while this thread is here.
        self._lock = threading.RLock()
        self._exitcode: int | None = None
        self._waitpid_timed_out = False
        self._forget()
        # What this process has registered, to be told again to a watcher that replaces a dead one.
        self._registered: set[tuple[str, str]] = set()
        os.register_at_fork(after_in_child=self._after_fork)

    def _forget(self) -> None:
        self._fd: int | None = None
        self._pid: int | None = None  # only in the process that has started it

    def _after_fork(self) -> None:
        self._lock._at_fork_reinit()  # type: ignore[attr-defined]
        self._registered = set()
        self._pid = None

    # -- what programs call ------------------------------------------------------------------------------------------

    def getfd(self) -> int:
        """The pipe's writing end; starts the watcher if there is none."""
        with self._lock:
            self.ensure_running()
            assert self._fd is not None
            return self._fd

    def ensure_running(self) -> None:
        """Start the watcher unless there is one.

        One that somebody has killed is replaced, with a warning, and told what this process had registered.
        """
        with self._lock:
            if self._fd is not None and not self._check_alive():
                self._replace()
            elif self._fd is None:
                self._start()

    def register(self, name: str, rtype: str) -> None:
        """Have the resource removed at the program's end, unless it has been removed or unregistered by then.

        ValueError for a type that is not known ("shared_memory" is), and for a name that is too long.
        """
        if rtype not in _CLEANUP_FUNCS:
            known = ", ".join(_CLEANUP_FUNCS)
            raise ValueError(
                f"Cannot register {name} for automatic cleanup: resource type {rtype!r} is none of {known}"
            )
        message = watcher.message("REGISTER", name, rtype)
        with self._lock:
            self.ensure_running()
            self._registered.add((name, rtype))
            self._write(message)

    def unregister(self, name: str, rtype: str) -> None:
        """The resource is gone, or somebody else's care now. Nothing happens if it was not registered."""
        message = watcher.message("UNREGISTER", name, rtype)
        with self._lock:
            self._registered.discard((name, rtype))
            if self._fd is not None:
                self._write(message)

    @contextmanager
    def expecting(self, name: str, identity: str | None) -> Iterator[None]:
        """While the block runs, the segment of that identity is removed if this process dies when it has got that name.

        So there is no moment between its making and `register` at which a death would leave it behind.
        """
        with self._lock:
            self.ensure_running()
            self._write(watcher.message("EXPECT", name, str(identity)))
        try:
            yield
        finally:
            self._write(watcher.message("UNEXPECT", name, str(identity)))

    # -- for the start methods ---------------------------------------------------------------------------------------

    def fd_if_running(self) -> int | None:
        """What a child that is not forked has to inherit."""
        return self._fd

    def adopt(self, fd: int) -> None:
        """In such a child: use the parent's watcher."""
        self._fd = fd

    # -- the watcher's life ------------------------------------------------------------------------------------------

    def _write(self, message: bytes) -> None:
        try:
            os.write(self._fd or -1, message)
        except BrokenPipeError:  # it has just been killed; the next to register replaces it
            pass

    def _check_alive(self) -> bool:
        """Its end of the pipe is closed when it is dead; poll(2) tells without writing."""
        import select

        if self._fd is None:
            return False
        poller = select.poll()
        poller.register(self._fd, 0)
        return not poller.poll(0)

    def _replace(self) -> None:
        self._let_go(limits.WATCHER_STOP_TIMEOUT_S)
        self._start()
        for name, rtype in self._registered:
            self._write(watcher.message("REGISTER", name, rtype))
        warnings.warn("resource_tracker: process died, a new one has taken its place", stacklevel=3)

    def _start(self) -> None:
        reader, writer = os.pipe()
        try:
            pid = _spawn(reader)
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        if self._fd is not None:  # a signal handler has started one meanwhile
            os.close(writer)
            os.waitpid(pid, 0)
            return
        self._fd, self._pid, self._exitcode = writer, pid, None
        util.Finalize(self, self._stop_at_exit, exitpriority=-200)

    def _stop(self, *, wait_timeout: float = limits.WATCHER_STOP_TIMEOUT_S) -> None:
        """Let go of the watcher, which ends if nobody else holds its pipe; who started it waits for that."""
        with self._lock:
            self._let_go(wait_timeout)
            self._registered.clear()

    def _stop_at_exit(self) -> None:
        """Leave no zombie to a container whose first process reaps none. Not while something is registered: functions
        that run later, at this process's end, may remove it."""
        with self._lock:
            if not self._registered and self._pid is not None:
                self._let_go(limits.WATCHER_EXIT_TIMEOUT_S)

    def _let_go(self, timeout_s: float) -> None:
        if self._fd is not None:
            os.close(self._fd)
        if self._pid is not None:
            ended, self._exitcode = _wait_exit(self._pid, timeout_s)
            self._waitpid_timed_out = not ended
        self._forget()


def _spawn(reader: int) -> int:
    """Start a watcher that reads there; its pid. Until it ignores the signals that could end it, they are blocked."""
    root = lifelines.of_root()
    fds = [reader] if root is None else [reader, root]
    program = f"from phalanx._base.watcher import main; main({', '.join(map(str, fds))})"
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, watcher.IGNORED_SIGNALS)
    try:
        return util.spawnv_passfds(interpreter.get_executable(), interpreter.command(program), fds)
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def _wait_exit(pid: int, timeout_s: float) -> tuple[bool, int | None]:
    """Whether that child has ended, and its exit code; None if it lives on, or somebody else has reaped it."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return True, None
        if ended:
            return True, os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline_s:
            return False, None
        time.sleep(limits.WATCHER_POLL_S)


_resource_tracker = ResourceTracker()
ensure_running = _resource_tracker.ensure_running
register = _resource_tracker.register
unregister = _resource_tracker.unregister
getfd = _resource_tracker.getfd
expecting = _resource_tracker.expecting
util._stop_at_cleanup(_resource_tracker._stop)
