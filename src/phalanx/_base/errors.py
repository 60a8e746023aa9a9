"""The errors of phalanx: few, each with one meaning. Those that the stdlib lacks subclass what it would have raised."""

import builtins

__all__ = [
    "AuthenticationError",
    "BufferTooShort",
    "OwnerDied",
    "ProcessError",
    "RemoteError",
    "TaskTimeout",
    "TimeoutError",
    "WorkerDied",
]


class ProcessError(Exception):
    """The base of all errors of this package."""


class BufferTooShort(ProcessError):
    """`Connection.recv_bytes_into` was given too small a buffer; `args[0]` is the whole message."""


class TimeoutError(ProcessError):
    """A wait with a timeout ended without what it waited for."""


class AuthenticationError(ProcessError):
    """The other side of a connection does not know the key."""


class OwnerDied(ProcessError):
    """The process that held a lock has died, so what the lock guards may be half-written; see `Lock.recover`."""


class WorkerDied(ProcessError):
    """A pool's worker ended while it ran a task: that task alone is lost.

    `pid`, `exitcode` (int or None, negative for a signal), `signal` (a number or None), `task` (a description of the
    task, or None), `oom` (True or False where it is known whether the kernel's OOM killer did it, else None).
    """

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        exitcode: int | None = None,
        task: str | None = None,
        oom: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode
        self.signal = -exitcode if exitcode is not None and exitcode < 0 else None
        self.task = task
        self.oom = oom

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, self.__dict__


class TaskTimeout(TimeoutError, builtins.TimeoutError):
    """A task ran longer than its `timeout`; its worker was ended, and that task alone is lost."""


class RemoteError(ProcessError):
    """An exception of another process that could not be pickled, or not be rebuilt here: type, message, traceback."""


for _name in __all__:
    globals()[_name].__module__ = "phalanx"  # in tracebacks and pickles they go by the name that programs know
