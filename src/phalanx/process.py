"""What a process is to a program: `BaseProcess`, the current one, its parent and its children."""

from __future__ import annotations

import itertools
import os
import sys
from _thread import get_native_id
from _weakrefset import WeakSet

from phalanx import _native, util
from phalanx._base import lifelines, logrecords, spawning, start_method
from phalanx._base.signals import plain as signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Protocol

    Leader = tuple[int, int]  # a process, and the thread of it that has started this one

    class Popen(Protocol):
        """What a start method makes of a process object: the running child."""

        pid: int
        sentinel: int
        returncode: int | None

        def __init__(self, process_obj: BaseProcess) -> None: ...
        def poll(self) -> int | None: ...
        def wait(self, timeout: float | None = None) -> int | None: ...
        def terminate(self) -> None: ...
        def kill(self) -> None: ...
        def interrupt(self) -> None: ...
        def close(self) -> None: ...


__all__ = ["BaseProcess", "active_children", "current_process", "parent_process"]

# A program may change its folder later; a spawned child finds the main module's relative path from here.
ORIGINAL_DIR: str | None
try:
    ORIGINAL_DIR = os.path.abspath(os.getcwd())
except OSError:
    ORIGINAL_DIR = None


def current_process() -> BaseProcess:
    """The process that is running this."""
    return _current_process


def parent_process() -> _ParentProcess | None:
    """The process that started this one through this package, or None in a main process."""
    return _parent_process


def active_children() -> list[BaseProcess]:
    """The children of this process that are alive; those found ended are joined by the way."""
    _cleanup()
    return list(_children)


def _cleanup() -> None:
    """Reap the children that have ended. After a fork which this package has not made, those known are the parent's."""
    pid = os.getpid()
    for child in list(_children):
        popen = child._popen
        if child._parent_pid != pid or (popen is not None and popen.poll() is not None):
            _children.discard(child)


class BaseProcess:
    """An activity that runs in a process of its own: pass `target`, or override `run`.

    `group` must be None; `args` and `kwargs` are those of `target`; `daemon` None inherits the creator's flag. Unlike
    the stdlib's, a daemonic process may have children.

    When the creator's process dies without an orderly end (SIGKILL, a crash), a daemonic process is killed, and any
    other lives on, unless `orphan="kill"` was asked for. ValueError for anything but that and None.
    """

    # The start method that becomes the default in the child; None leaves the default as it is.
    _start_method: str | None = None

    _orphan: str | None = None
    _starter = 0  # the thread that has started it

    _popen: Popen | None
    _name: str
    _identity: tuple[int, ...]
    _config: dict[str, Any]

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Popen:
        raise NotImplementedError

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        orphan: str | None = None,
    ) -> None:
        _require(group is None, "group argument must be None for now")
        number = next(_process_counter)
        self._identity = (*_current_process._identity, number)
        self._config = _current_process._config.copy()
        self._parent_pid: int | None = os.getpid()
        self._parent_name = _current_process.name
        self._popen = None
        self._closed = False
        self._target = target
        self._args = tuple(args)
        self._kwargs = dict(kwargs or {})
        self._name = name or f"{type(self).__name__}-{':'.join(map(str, self._identity))}"
        if daemon is not None:
            self.daemon = daemon
        if orphan is not None:
            self._orphan = _checked_orphan(orphan)
        _dangling.add(self)

    def _check_closed(self) -> None:
        if self._closed:
            raise ValueError("process object is closed")

    def _running(self) -> Popen:
        self._check_closed()
        if self._popen is None:
            raise AttributeError("the process has not been started")
        return self._popen

    def run(self) -> None:
        """What the process does; by default it calls the target. Meant to be overridden."""
        if self._target:
            self._target(*self._args, **self._kwargs)

    def start(self) -> None:
        """Start the process, once. AssertionError if it was started before or by another process."""
        self._check_closed()
        _require(self._popen is None, "cannot start a process twice")
        _require(self._parent_pid == os.getpid(), "can only start a process object created by current process")
        _cleanup()
        self._starter = get_native_id()
        self._popen = self._Popen(self)
        # Kept alive here, they would live as long as the process object.
        del self._target, self._args, self._kwargs
        _children.add(self)

    def interrupt(self) -> None:
        """Send SIGINT, which the child sees as KeyboardInterrupt unless it handles that signal."""
        self._running().interrupt()

    def terminate(self) -> None:
        """Send SIGTERM: the child ends without running exit handlers or `finally` clauses."""
        self._running().terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._running().kill()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the process has ended, `timeout` seconds at most. `exitcode` says whether it has."""
        self._check_closed()
        _require(self._parent_pid == os.getpid(), "can only join a child process")
        if self._popen is None:
            raise AssertionError("can only join a started process")
        if self._popen.wait(timeout) is not None:
            _children.discard(self)

    def is_alive(self) -> bool:
        """Whether the process has been started and has not ended yet."""
        self._check_closed()
        if self is _current_process:
            return True
        _require(self._parent_pid == os.getpid(), "can only test a child process")
        if self._popen is None:
            return False
        if self._popen.poll() is None:
            return True
        _children.discard(self)
        return False

    def close(self) -> None:
        """Release what the object holds. ValueError while the process is running; all else fails afterwards."""
        if self._popen is not None:
            if self._popen.poll() is None:
                raise ValueError(
                    "Cannot close a process while it is still running. You should first call join() or terminate()."
                )
            self._popen.close()
            self._popen = None
            _children.discard(self)
        self._closed = True

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        _require(isinstance(name, str), "name must be a string")
        self._name = name
        if self is _current_process:
            logrecords.tell_process_name(current_process_name)

    @property
    def daemon(self) -> bool:
        """Whether the process is terminated when its creator ends; can be set until it is started."""
        return bool(self._config.get("daemon", False))

    @daemon.setter
    def daemon(self, daemonic: bool) -> None:
        _require(self._popen is None, "process has already started")
        self._config["daemon"] = daemonic

    @property
    def authkey(self) -> AuthenticationString:
        """The key with which processes of the tree prove to one another who they are; bytes."""
        key: AuthenticationString = self._config["authkey"]
        return key

    @authkey.setter
    def authkey(self, authkey: bytes) -> None:
        self._config["authkey"] = AuthenticationString(authkey)

    @property
    def exitcode(self) -> int | None:
        """None while it has not ended, else the exit status, or minus the number of the signal that ended it."""
        self._check_closed()
        if self._popen is None:
            return None
        return self._popen.poll()

    @property
    def ident(self) -> int | None:
        """The process's pid, or None before it is started."""
        self._check_closed()
        if self is _current_process:
            return os.getpid()
        return None if self._popen is None else self._popen.pid

    pid = ident

    @property
    def sentinel(self) -> int:
        """A file descriptor that becomes readable when the process ends. ValueError before it is started."""
        self._check_closed()
        if self._popen is None:
            raise ValueError("process not started")
        return self._popen.sentinel

    def __repr__(self) -> str:
        status, exitcode = self._status()
        parts = [type(self).__name__, f"name={self._name!r}"]
        if self._popen is not None:
            parts.append(f"pid={self._popen.pid}")
        parts += [f"parent={self._parent_pid}", status]
        if exitcode is not None:
            parts.append(f"exitcode={_signal_names().get(exitcode, exitcode)}")
        if self.daemon:
            parts.append("daemon")
        return f"<{' '.join(parts)}>"

    def _status(self) -> tuple[str, int | None]:
        if self is _current_process:
            return "started", None
        if self._closed:
            return "closed", None
        if self._parent_pid != os.getpid():
            return "unknown", None
        if self._popen is None:
            return "initial", None
        exitcode = self._popen.poll()
        return ("started" if exitcode is None else "stopped"), exitcode

    def _leader(self) -> Leader | None:
        """Whose death is to be this process's too, if anybody's."""
        if self._parent_pid is None or not (self.daemon or self._orphan):
            return None
        return self._parent_pid, self._starter

    # -- in the child ------------------------------------------------------------------------------------------------

    def _bootstrap(self, parent_sentinel: int = -1) -> int:
        """Be this process: make the child's own state, run, clean up; returns the exit status. Called in the child."""
        exitcode = 1
        try:
            self._become_current(parent_sentinel)
            util.info("child process calling self.run()")
            try:
                self.run()
                exitcode = 0
            finally:
                util._exit_function()
        except SystemExit as error:
            exitcode = _status_of_system_exit(error)
        except BaseException as error:  # noqa: BLE001  # whatever ends the child is told, once
            _print_death(error)
        finally:
            _join_threads()
            util.info("process exiting with exitcode %d", exitcode)
            util._flush_std_streams()
        return exitcode

    def _become_current(self, parent_sentinel: int) -> None:
        global _current_process, _parent_process, _process_counter, _children
        _process_counter = itertools.count(1)
        _children = set()
        if self._start_method is not None:
            start_method.choose(self._start_method, force=True)
        util._close_stdin()
        follow(self._leader(), parent_sentinel)
        previous, _current_process = _current_process, self
        _parent_process = _ParentProcess(self._parent_name, self._parent_pid, parent_sentinel)
        try:
            self._after_fork()
        finally:
            # What the parent's object held is collected here only now, when its finalizers know that they are not ours.
            del previous
        logrecords.tell_process_name(current_process_name)

    @staticmethod
    def _after_fork() -> None:
        util._exiting = False
        util._forget_inherited_finalizers()
        util._run_after_forkers()


def follow(leader: Leader | None, lifeline: int) -> None:
    """From here on, end this process with SIGKILL as soon as its leader's has ended."""
    if leader is None:
        return
    if lifeline >= 0 and lifelines.is_readable(lifeline, 0):
        signal.raise_signal(signal.SIGKILL)
    _native.watch_process(*leader)


def _checked_orphan(orphan: str) -> str:
    if orphan != "kill":
        raise ValueError(f"orphan must be 'kill' or None, not {orphan!r}")
    return orphan


def _join_threads() -> None:
    """Wait for the threads that are not daemonic, as a program's end does."""
    threads: Any = sys.modules.get("threading")
    if threads is not None:
        threads._shutdown()


def _require(condition: bool, message: str) -> None:
    """What the stdlib asserts; here it holds under -O as well."""
    if not condition:
        raise AssertionError(message)


def _status_of_system_exit(error: SystemExit) -> int:
    """An int as it is, nothing as 0; anything else is a message for stderr, and 1."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    _print_to_stderr(f"{error.code}\n")
    return 1


def _print_death(error: BaseException) -> None:
    """One line for Ctrl-C, which every process of the terminal gets, else the traceback."""
    import traceback

    heading = f"Process {_current_process.name}:"
    if isinstance(error, KeyboardInterrupt):
        _print_to_stderr(f"{heading} KeyboardInterrupt\n")
    else:
        _print_to_stderr(f"{heading}\n{''.join(traceback.format_exception(error))}")


def _print_to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text)
    except (AttributeError, ValueError, OSError):  # None, closed, or nobody reads it
        pass


def _signal_names() -> dict[int, str]:
    """Exit codes of processes ended by a signal, and how `repr` shows them."""
    import signal

    return {-number: f"-{name}" for name, number in vars(signal).items() if name[:3] == "SIG" and "_" not in name}


def current_process_name() -> str:
    return _current_process.name


class AuthenticationString(bytes):
    """A key that can be pickled only for a child that is being started: it never leaves the tree by accident."""

    def __reduce__(self) -> tuple[Any, ...]:
        if spawning.get_spawning_popen() is None:
            raise TypeError("Pickling an AuthenticationString object is disallowed for security reasons")
        return AuthenticationString, (bytes(self),)


class _ParentProcess(BaseProcess):
    """The parent as its child sees it: name, pid, whether it is alive; `join` waits for its end."""

    def __init__(self, name: str, pid: int | None, sentinel: int) -> None:
        self._identity = ()
        self._name = name
        self._parent_pid = None
        self._pid = pid
        self._popen = None
        self._closed = False
        self._sentinel = sentinel
        self._config = {}

    def is_alive(self) -> bool:
        return not lifelines.is_readable(self._sentinel, 0)

    @property
    def ident(self) -> int | None:
        return self._pid

    pid = ident

    @property
    def sentinel(self) -> int:
        """A file descriptor that becomes readable when the parent ends."""
        return self._sentinel

    def join(self, timeout: float | None = None) -> None:
        """Wait until the parent has ended, `timeout` seconds at most."""
        lifelines.is_readable(self._sentinel, timeout)


class _MainProcess(BaseProcess):
    """The process that no one of this package has started."""

    def __init__(self) -> None:
        self._identity = ()
        self._name = "MainProcess"
        self._parent_pid = None
        self._popen = None
        self._closed = False
        self._config = {"authkey": AuthenticationString(os.urandom(32)), "semprefix": "/mp"}

    def close(self) -> None:
        """The main process cannot be closed: nothing happens."""


_parent_process: _ParentProcess | None = None
_process_counter = itertools.count(1)
_children: set[BaseProcess] = set()
# Every process object alive that was made here, started or not: what test suites look at for leaks.
_dangling: WeakSet[BaseProcess] = WeakSet()
_current_process: BaseProcess = _MainProcess()


def _end_children() -> None:
    """At exit: daemonic children are ended, the others waited for."""
    children = active_children()
    for child in children:
        if child.daemon and child._popen is not None:
            util.info("calling terminate() for daemon %s", child.name)
            child._popen.terminate()
    for child in active_children():
        util.info("calling join() for process %s", child.name)
        _join_at_exit(child)


def _join_at_exit(child: BaseProcess) -> None:
    """A daemonic child that lives on after SIGTERM, or cannot see it because it is stopped, is killed."""
    from phalanx._base import limits

    if child.daemon:
        child.join(limits.DAEMON_JOIN_TIMEOUT_S)
        if child.is_alive():
            child.kill()
    child.join()


util._middle_of_exit.append(_end_children)
