"""What the other modules share: the package's logger, finalizers that run at exit, hooks after a fork, descriptors.

Loaded into every child, so it does without `threading`, which brings much else.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import weakref
from _thread import _local, allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import IO, Any

__all__ = [
    "SUBDEBUG",
    "SUBWARNING",
    "Finalize",
    "ForkAwareLocal",
    "ForkAwareThreadLock",
    "close_all_fds_except",
    "debug",
    "get_logger",
    "get_temp_dir",
    "info",
    "is_exiting",
    "log_to_stderr",
    "register_after_fork",
    "sub_debug",
    "sub_warning",
]

# -- logging ---------------------------------------------------------------------------------------------------------

NOTSET = 0
SUBDEBUG = 5
DEBUG = 10
INFO = 20
SUBWARNING = 25
WARNING = 30

LOGGER_NAME = "multiprocessing"
DEFAULT_LOGGING_FORMAT = "[%(levelname)s/%(processName)s] %(message)s"

_logger: logging.Logger | None = None
_log_to_stderr = False
_inherited_level: int | None = None  # what the parent's logger had; kept so that a child need not load `logging`


def sub_debug(msg: object, *args: object) -> None:
    if _logger:
        _logger.log(SUBDEBUG, msg, *args, stacklevel=2)


def debug(msg: object, *args: object) -> None:
    if _logger:
        _logger.log(DEBUG, msg, *args, stacklevel=2)


def info(msg: object, *args: object) -> None:
    if _logger:
        _logger.log(INFO, msg, *args, stacklevel=2)


def sub_warning(msg: object, *args: object) -> None:
    if _logger:
        _logger.log(SUBWARNING, msg, *args, stacklevel=2)


def warn(msg: object, *args: object) -> None:
    if _logger:
        _logger.log(WARNING, msg, *args, stacklevel=2)


def get_logger() -> logging.Logger:
    """The package's logger, `multiprocessing` by name as the stdlib's. It does not propagate to the root logger."""
    global _logger
    import logging

    if _logger is None:
        logger = logging.getLogger(LOGGER_NAME)
        logger.propagate = False
        if _inherited_level is not None:
            logger.setLevel(_inherited_level)
        _run_finalizers_before_logging_ends()
        _logger = logger
    return _logger


def _run_finalizers_before_logging_ends() -> None:
    """Exit functions run last in, first out: ours log, so they must have been registered after logging's own."""
    atexit.unregister(_exit_function)
    atexit.register(_exit_function)


def log_to_stderr(level: int | str | None = None) -> logging.Logger:
    """Add a handler to the package's logger that writes to stderr; with `level` (as in logging) set its level too."""
    global _log_to_stderr
    import logging

    logger = get_logger()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(DEFAULT_LOGGING_FORMAT))
    logger.addHandler(handler)
    if level:
        logger.setLevel(level)
    _log_to_stderr = True
    return logger


# -- sockets and folders ---------------------------------------------------------------------------------------------


def is_abstract_socket_namespace(address: str | bytes | None) -> bool:
    """Whether `address` is a unix socket's that has no file. TypeError for what is no address."""
    if not address:
        return False
    if isinstance(address, bytes):
        return address[0] == 0
    if isinstance(address, str):
        return address[0] == "\0"
    raise TypeError(f"address type of {address!r} unrecognized")


abstract_sockets_supported = True

_temp_dir: str | None = None


def get_temp_dir() -> str:
    """A folder for this process and those started from now on; the process that made it removes it when it ends."""
    global _temp_dir
    if _temp_dir is None:
        import shutil
        import tempfile

        _temp_dir = tempfile.mkdtemp(prefix="pymp-")
        info("created temp directory %s", _temp_dir)
        # None: it belongs to the process. Below every other priority: finalizers before it may still use the folder.
        Finalize(None, _remove_temp_dir, args=(shutil.rmtree, _temp_dir), exitpriority=-100)
    return _temp_dir


def _remove_temp_dir(rmtree: Callable[..., None], folder: str) -> None:
    global _temp_dir
    rmtree(folder, ignore_errors=True)
    if folder == _temp_dir:
        _temp_dir = None


# -- after a fork ----------------------------------------------------------------------------------------------------

_afterfork_registry: weakref.WeakValueDictionary[tuple[int, int, Callable[[Any], object]], Any]
_afterfork_registry = weakref.WeakValueDictionary()
_afterfork_counter = itertools.count()


def register_after_fork(obj: Any, func: Callable[[Any], object]) -> None:
    """Call `func(obj)` in every process of this package forked while `obj` lives, in the order of registration."""
    _afterfork_registry[next(_afterfork_counter), id(obj), func] = obj


def _run_after_forkers() -> None:
    if not _afterfork_registry:
        return
    for (_, _, func), obj in sorted(_afterfork_registry.items(), key=lambda item: item[0][:2]):
        try:
            func(obj)
        except Exception as error:  # noqa: BLE001  # one hook's fault must not keep the others from running
            info("after forker raised exception %s", error)


class ForkAwareThreadLock:
    """A lock between the threads of one process, which is free in a forked child whoever held it in the parent."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        register_after_fork(self, ForkAwareThreadLock._at_fork_reinit)

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()  # type: ignore[attr-defined]

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


class ForkAwareLocal(_local):
    """Thread-local data that is empty in a forked child, and in one that gets it pickled."""

    def __init__(self) -> None:
        register_after_fork(self, lambda local: local.__dict__.clear())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


# -- finalizers ------------------------------------------------------------------------------------------------------

_finalizer_registry: dict[tuple[int | None, int], Finalize] = {}
_finalizer_counter = itertools.count()


class Finalize:
    """Call `callback(*args, **kwargs)` once: when called, when `obj` is collected, or at exit, whichever comes first.

    At exit only those with an `exitpriority` are called, the highest first, among equals the one made last. `obj` None
    stands for the process itself, and then a priority is required. In a forked child nothing is called.
    """

    def __init__(
        self,
        obj: object | None,
        callback: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        exitpriority: int | None = None,
    ) -> None:
        if exitpriority is not None and not isinstance(exitpriority, int):
            raise TypeError(f"Exitpriority ({exitpriority!r}) must be None or int, not {type(exitpriority)!s}")
        if obj is None and exitpriority is None:
            raise ValueError("Without object, exitpriority cannot be None")
        self._weakref = None if obj is None else weakref.ref(obj, self)
        self._callback: Callable[..., Any] | None = callback
        self._args = args
        self._kwargs = kwargs or {}
        self._key = (exitpriority, next(_finalizer_counter))
        self._pid = os.getpid()
        _finalizer_registry[self._key] = self

    # The default keeps its value while the interpreter takes the modules apart.
    def __call__(self, wr: object = None, _getpid: Callable[[], int] = os.getpid) -> Any:
        """Call the callback unless that has happened already or in another process; returns what it returned."""
        if _finalizer_registry.pop(self._key, None) is None:
            return None
        callback, args, kwargs = self._callback, self._args, self._kwargs
        self._forget()
        if callback is None or self._pid != _getpid():
            return None
        return callback(*args, **kwargs)

    def cancel(self) -> None:
        """Never call the callback."""
        if _finalizer_registry.pop(self._key, None) is not None:
            self._forget()

    def _forget(self) -> None:
        self._weakref = self._callback = None
        self._args, self._kwargs = (), {}

    def still_active(self) -> bool:
        """Whether the callback may still be called."""
        return self._key in _finalizer_registry

    def __repr__(self) -> str:
        obj = self._weakref() if self._weakref is not None else None
        if self._callback is None:
            return f"<{type(self).__name__} object, dead>"
        text = f"<{type(self).__name__} object, callback={getattr(self._callback, '__name__', self._callback)}"
        if self._args:
            text += f", args={self._args}"
        if self._kwargs:
            text += f", kwargs={self._kwargs}"
        if self._key[0] is not None:
            text += f", exitpriority={self._key[0]}"
        return f"{text}>" if obj is None else f"{text}, obj={type(obj).__name__}>"


def _run_finalizers(minpriority: int | None = None) -> None:
    """Call those that have at least that priority (None: all that have one). They may add and remove others."""
    # list() is one step for other threads and the collector; a loop over the dict is not.
    due = [(priority, number) for priority, number in list(_finalizer_registry) if priority is not None]
    if minpriority is not None:
        due = [key for key in due if key[0] >= minpriority]
    for key in sorted(due, reverse=True):
        _call_finalizer(_finalizer_registry.get(key))
    if minpriority is None:
        _finalizer_registry.clear()


def _call_finalizer(finalizer: Finalize | None) -> None:
    if finalizer is None:
        return
    sub_debug("calling %s", finalizer)
    try:
        finalizer()
    except Exception:  # noqa: BLE001  # the other finalizers must run
        import traceback

        traceback.print_exc()


_inherited_finalizers: object = None


def _forget_inherited_finalizers() -> None:
    """In a forked child, before it has any of its own. To take them apart would cost it a copy of all their pages."""
    global _finalizer_registry, _inherited_finalizers
    _inherited_finalizers, _finalizer_registry = _finalizer_registry, {}


_exiting = False
# Filled by modules that import this one: what ends the children, and then what ends the helpers of all.
_middle_of_exit: list[Callable[[], None]] = []
_stops_at_exit: list[Callable[[], None]] = []


def is_exiting() -> bool:
    """Whether this process has begun to shut down."""
    return _exiting


def _exit_function() -> None:
    """What a process of this package does last: finalizers from priority 0, the children, the other finalizers."""
    global _exiting
    if _exiting:
        return
    _exiting = True
    info("process shutting down")
    debug('running all "atexit" finalizers with priority >= 0')
    _run_finalizers(0)
    for step in _middle_of_exit:
        step()
    debug('running the remaining "atexit" finalizers')
    _run_finalizers()
    for stop in _stops_at_exit:
        stop()


atexit.register(_exit_function)

# -- standard streams and file descriptors ---------------------------------------------------------------------------

try:
    MAXFD = os.sysconf("SC_OPEN_MAX")
except (ValueError, OSError):
    MAXFD = 256


def close_all_fds_except(fds: Iterable[int]) -> None:
    """Close every file descriptor of this process but those of `fds`."""
    bounds = [-1, *sorted(fds), MAXFD]
    assert bounds[-2] < MAXFD, "fd too large"
    for low, high in itertools.pairwise(bounds):
        os.closerange(low + 1, high)


def close_fds(*fds: int) -> None:
    """Close each of `fds`, also those after one that cannot be closed; then OSError, if there was one."""
    failure = None
    for fd in fds:
        try:
            os.close(fd)
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure


_null_input: IO[str] | None = None


def _open_null_input() -> None:
    """Before a fork: have ready what is to be the child's standard input; opening it there would cost each child."""
    global _null_input
    if _null_input is None:
        try:
            fd = os.open(os.devnull, os.O_RDONLY)
            _null_input = open(fd, encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
        except OSError:
            pass


def _close_stdin() -> None:
    """Give this process the null device as its standard input: the terminal's belongs to the parent."""
    if sys.stdin is None or sys.stdin is _null_input:
        return
    try:
        sys.stdin.close()
    except (OSError, ValueError):
        pass
    _open_null_input()
    if _null_input is not None:
        sys.stdin = _null_input


def _flush_std_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError):  # None, or closed
            pass


# Since 3.14 the argument that allows vfork is gone: it is always allowed.
_VFORK_ARGUMENT = (True,) if sys.version_info < (3, 14) else ()


def spawnv_passfds(path: str | bytes | os.PathLike[Any], args: Sequence[str | bytes], passfds: Iterable[int]) -> int:
    """Start a program that inherits the standard streams and `passfds`, no other file descriptor; returns its pid.

    OSError if the program cannot be started: it is known here, not in the child.
    """
    import _posixsubprocess

    program = os.fsencode(path)
    start: Callable[..., int] = _posixsubprocess.fork_exec
    error_reader, error_writer = os.pipe()
    try:
        pid = start(
            args, [program], True, tuple(sorted({*passfds, error_writer})), None, None,
            -1, -1, -1, -1, -1, -1, error_reader, error_writer,
            False, False, -1, None, None, None, -1, None, *_VFORK_ARGUMENT,
        )  # fmt: skip
        os.close(error_writer)
        error_writer = -1
        _raise_start_error(os.read(error_reader, 4096), pid, program)
        return pid
    finally:
        close_fds(*(fd for fd in (error_reader, error_writer) if fd >= 0))


def _args_from_interpreter_flags() -> list[str]:
    """The options that start an interpreter with the flags of this one; loky takes them from here."""
    import subprocess

    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined, no-any-return]


def _raise_start_error(report: bytes, pid: int, program: bytes) -> None:
    """`report` is what a child wrote that could not run its program: `OSError:errno in hex:`; empty if it runs."""
    if not report:
        return
    os.waitpid(pid, 0)
    number = int(report.split(b":")[1], 16)
    raise OSError(number, os.strerror(number), os.fsdecode(program))


# -- for test suites -------------------------------------------------------------------------------------------------

_helper_stops: list[Callable[[], None]] = []


def _stop_at_cleanup(stop: Callable[[], None], *, at_exit: bool = False) -> None:
    """Modules that start helper processes (fork server, watcher) say here how to stop theirs."""
    _helper_stops.append(stop)
    if at_exit:
        _stops_at_exit.append(stop)


def _cleanup_tests() -> None:
    """Stop the helper processes and run what would run at exit: a test suite's last step."""
    for stop in _helper_stops:
        stop()
    _run_finalizers()
