"""The watcher: a small process that removes what a program has named in the system and not removed when it has ended.

phalanx's own objects have no names, so there is nothing to watch until a named shared memory segment is made. The
watcher is started then, lives while any process of the program holds its pipe, and cleans up when the last has gone.
"""

from __future__ import annotations

import os
import sys
import threading

from phalanx import util
from phalanx._base import interpreter
from phalanx._base.signals import plain as signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ensure_running", "getfd", "register", "unregister"]


def _unlink_shared_memory(name: str) -> None:
    os.unlink(os.path.join("/dev/shm", name.lstrip("/")))


_CLEANUP_FUNCS: dict[str, Callable[[str], None]] = {
    "noop": lambda name: None,
    "dummy": lambda name: None,
    "shared_memory": _unlink_shared_memory,
}

_WRITE_MAX_BYTES = 512  # POSIX: up to this size the writes of several processes into one pipe do not mix


class ResourceTracker:
    """This process's end of the watcher's pipe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._fd: int | None = None
        self._pid: int | None = None
        self._exitcode: int | None = None
        self._owner_pid = 0
        os.register_at_fork(after_in_child=self._lock._at_fork_reinit)  # type: ignore[attr-defined]

    def getfd(self) -> int:
        """The pipe's writing end; starts the watcher if there is none."""
        with self._lock:
            self.ensure_running()
            assert self._fd is not None
            return self._fd

    def fd_if_running(self) -> int | None:
        return self._fd

    def adopt(self, fd: int) -> None:
        """In a child: use the parent's watcher."""
        self._fd = fd

    def ensure_running(self) -> None:
        """Start the watcher unless there is one. One that somebody has killed is replaced; what it knew is lost."""
        with self._lock:
            if self._fd is not None and not self._check_alive():
                self._stop()
                _warn("process died unexpectedly, relaunching; what it watched may be left behind")
            if self._fd is None:
                self._start()

    def _check_alive(self) -> bool:
        """Its end of the pipe is closed when it is dead; poll(2) tells without writing."""
        import select

        poller = select.poll()
        poller.register(self._fd or 0, 0)
        return not poller.poll(0)

    def _start(self) -> None:
        reader, writer = os.pipe()
        try:
            program = f"from phalanx.resource_tracker import main; main({reader})"
            with interpreter.shielded_from_terminal():
                self._pid = util.spawnv_passfds(interpreter.get_executable(), interpreter.command(program), [reader])
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        self._fd, self._owner_pid = writer, os.getpid()

    def _stop(self) -> None:
        """Let go of the watcher; the process that started it also waits for its end."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
            if self._pid is not None and self._owner_pid == os.getpid():
                try:
                    _, status = os.waitpid(self._pid, 0)
                    self._exitcode = os.waitstatus_to_exitcode(status)
                except ChildProcessError:
                    pass
            self._fd = self._pid = None

    def register(self, name: str, rtype: str) -> None:
        """Have the resource removed at the end, if nobody unregisters it. ValueError for a name that is too long."""
        self.ensure_running()
        self._send("REGISTER", name, rtype)

    def unregister(self, name: str, rtype: str) -> None:
        """The resource is gone, or somebody else's care now."""
        self.ensure_running()
        self._send("UNREGISTER", name, rtype)

    def _send(self, command: str, name: str, rtype: str) -> None:
        message = f"{command}:{name}:{rtype}\n".encode("ascii")
        if len(message) > _WRITE_MAX_BYTES:
            raise ValueError("msg too long")
        assert self._fd is not None
        os.write(self._fd, message)


_resource_tracker = ResourceTracker()
ensure_running = _resource_tracker.ensure_running
register = _resource_tracker.register
unregister = _resource_tracker.unregister
getfd = _resource_tracker.getfd
util._stop_at_cleanup(_resource_tracker._stop)


# -- the watcher's own process ---------------------------------------------------------------------------------------


def main(fd: int) -> None:
    """Read what is registered until every writer has gone; what is left then is removed: a warning, status 1."""
    interpreter.ignore_terminal(signal.SIGINT, signal.SIGTERM)
    left: dict[str, set[str]] = {}
    with open(fd, "rb") as pipe:
        for line in pipe:
            _obey(line.decode("ascii").rstrip("\n"), left)
    for rtype, names in left.items():
        _remove(rtype, sorted(names))
    sys.exit(any(left.values()))


def _obey(message: str, left: dict[str, set[str]]) -> None:
    command, _, rest = message.partition(":")
    name, _, rtype = rest.rpartition(":")
    names = left.setdefault(rtype, set())
    if command == "REGISTER" and rtype in _CLEANUP_FUNCS:
        names.add(name)
    elif command == "UNREGISTER":
        names.discard(name)
    else:
        print(f"resource_tracker: cannot understand {message!r}", file=sys.stderr)


def _remove(rtype: str, names: list[str]) -> None:
    if names:
        _warn(f"There appear to be {len(names)} leaked {rtype} objects to clean up at shutdown")
    for name in names:
        try:
            _CLEANUP_FUNCS[rtype](name)
        except OSError as error:
            _warn(f"{name!r}: {error}")


def _warn(text: str) -> None:
    import warnings

    warnings.warn(f"resource_tracker: {text}", stacklevel=3)
