"""Contexts: all that the package offers, bound to one start method each."""

from __future__ import annotations

import os
import sys

from phalanx import process, reduction
from phalanx._base import spawning, start_method
from phalanx._base.cpus import available_cpus as count_available_cpus
from phalanx._base.errors import AuthenticationError, BufferTooShort, ProcessError, TimeoutError
from phalanx._start.methods import ForkProcess, ForkServerProcess, Process, SpawnProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    import logging
    from collections.abc import Callable, Iterable, Sequence
    from ctypes import _CData, _SimpleCData
    from typing import Any, ClassVar, Literal, TypeVar, overload

    from phalanx import queues, sharedctypes, synchronize
    from phalanx._base.generic import T
    from phalanx.connection import Connection
    from phalanx.managers import SyncManager
    from phalanx.pool import Pool as PoolType

    LockLike = synchronize.Lock | synchronize.RLock
    C = TypeVar("C", bound=_CData)

__all__ = ()  # what this module makes is reached through the package

# Other libraries reach for them here.
assert_spawning = spawning.assert_spawning
get_spawning_popen = spawning.get_spawning_popen
set_spawning_popen = spawning.set_spawning_popen


class BaseContext:
    """What every start method offers, under the names of the package."""

    _name: ClassVar[str]

    ProcessError = ProcessError
    BufferTooShort = BufferTooShort
    TimeoutError = TimeoutError
    AuthenticationError = AuthenticationError

    Process: ClassVar[type[process.BaseProcess]]

    current_process = staticmethod(process.current_process)
    parent_process = staticmethod(process.parent_process)
    active_children = staticmethod(process.active_children)

    # -- processors ---------------------------------------------------------------------------------------------------

    def cpu_count(self) -> int:
        """The number of CPUs of the machine. NotImplementedError if it cannot be found out."""
        count = os.cpu_count()
        if count is None:
            raise NotImplementedError("cannot determine number of cpus")
        return count

    def available_cpus(self) -> int:
        """The number of CPUs that this process may use: affinity, cgroup quota and `PHALANX_MAX_WORKERS` counted."""
        return count_available_cpus()

    # -- communication ------------------------------------------------------------------------------------------------

    def Manager(self) -> SyncManager:
        """A running manager: a process that keeps objects, and gives proxies of them."""
        from phalanx.managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:
        """Two connected connections; with `duplex=False` the first only receives and the second only sends."""
        from phalanx.connection import Pipe

        return Pipe(duplex)

    def Queue(self, maxsize: int = 0) -> queues.Queue[Any]:
        """A queue between processes; `maxsize` up to 0 is no bound."""
        from phalanx.queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize: int = 0) -> queues.JoinableQueue[Any]:
        """A queue that can be waited for until all that was put has been marked done."""
        from phalanx.queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self) -> queues.SimpleQueue[Any]:
        """A queue with no more than `get`, `put`, `empty` and `close`."""
        from phalanx.queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    # -- synchronisation ----------------------------------------------------------------------------------------------

    def Lock(self) -> synchronize.Lock:
        from phalanx.synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> synchronize.RLock:
        from phalanx.synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock: synchronize.Lock | synchronize.RLock | None = None) -> synchronize.Condition:
        from phalanx.synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value: int = 1) -> synchronize.Semaphore:
        from phalanx.synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(self, value: int = 1) -> synchronize.BoundedSemaphore:
        from phalanx.synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self) -> synchronize.Event:
        from phalanx.synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> synchronize.Barrier:
        from phalanx.synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    # -- pools --------------------------------------------------------------------------------------------------------

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        **options: Any,
    ) -> PoolType:
        """A pool of worker processes; `options` are those keywords of `phalanx.pool.Pool` that the stdlib's has not."""
        from phalanx.pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context(), **options)

    # -- shared values ------------------------------------------------------------------------------------------------

    if TYPE_CHECKING:

        @overload
        def RawValue(self, typecode_or_type: type[C], *args: Any) -> C: ...
        @overload
        def RawValue(self, typecode_or_type: str, *args: Any) -> Any: ...

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        """A ctypes object in shared memory."""
        from phalanx.sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    if TYPE_CHECKING:

        @overload
        def RawArray(self, typecode_or_type: type[C], size_or_initializer: int | Sequence[Any]) -> ctypes.Array[C]: ...
        @overload
        def RawArray(self, typecode_or_type: str, size_or_initializer: int | Sequence[Any]) -> Any: ...

    def RawArray(self, typecode_or_type: Any, size_or_initializer: int | Sequence[Any]) -> Any:
        """A ctypes array in shared memory."""
        from phalanx.sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    if TYPE_CHECKING:

        @overload
        def Value(
            self, typecode_or_type: type[_SimpleCData[T]], *args: Any, lock: Literal[True] | LockLike = True
        ) -> sharedctypes.Synchronized[T]: ...
        @overload
        def Value(
            self, typecode_or_type: type[C], *args: Any, lock: Literal[True] | LockLike = True
        ) -> sharedctypes.Synchronized[C]: ...
        @overload
        def Value(
            self, typecode_or_type: str, *args: Any, lock: Literal[True] | LockLike = True
        ) -> sharedctypes.Synchronized[Any]: ...
        @overload
        def Value(self, typecode_or_type: str | type[_CData], *args: Any, lock: bool | LockLike = True) -> Any: ...

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        """A ctypes object in shared memory, with a lock of its own unless `lock` is one, or False."""
        from phalanx.sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    if TYPE_CHECKING:

        @overload
        def Array(
            self,
            typecode_or_type: type[ctypes.c_char],
            size_or_initializer: int | Sequence[Any],
            *,
            lock: Literal[True] | LockLike = True,
        ) -> sharedctypes.SynchronizedString: ...
        @overload
        def Array(
            self,
            typecode_or_type: type[_SimpleCData[T]],
            size_or_initializer: int | Sequence[Any],
            *,
            lock: Literal[True] | LockLike = True,
        ) -> sharedctypes.SynchronizedArray[T]: ...
        @overload
        def Array(
            self,
            typecode_or_type: str,
            size_or_initializer: int | Sequence[Any],
            *,
            lock: Literal[True] | LockLike = True,
        ) -> sharedctypes.SynchronizedArray[Any]: ...
        @overload
        def Array(
            self,
            typecode_or_type: str | type[_CData],
            size_or_initializer: int | Sequence[Any],
            *,
            lock: bool | LockLike = True,
        ) -> Any: ...

    def Array(self, typecode_or_type: Any, size_or_initializer: int | Sequence[Any], *, lock: Any = True) -> Any:
        """A ctypes array in shared memory, with a lock of its own unless `lock` is one, or False."""
        from phalanx.sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())

    # -- the program and its children ---------------------------------------------------------------------------------

    def freeze_support(self) -> None:
        """In a program frozen into an executable: be the child as which it was started, and do not return."""
        if getattr(sys, "frozen", False):
            from phalanx.spawn import freeze_support

            freeze_support()

    def get_logger(self) -> logging.Logger:
        """The package's logger."""
        from phalanx.util import get_logger

        return get_logger()

    def log_to_stderr(self, level: int | str | None = None) -> logging.Logger:
        """Let the package's logger write to stderr; with `level` set its level too."""
        from phalanx.util import log_to_stderr

        return log_to_stderr(level)

    def allow_connection_pickling(self) -> None:
        """Have the reducers of connections registered."""
        from phalanx import connection

        assert connection.Connection is not None

    def set_executable(self, executable: str | bytes | os.PathLike[Any]) -> None:
        """The interpreter that children of the start methods spawn and forkserver run."""
        from phalanx.spawn import set_executable

        set_executable(executable)

    def set_forkserver_preload(self, module_names: Iterable[str], *, on_error: str = "ignore") -> None:
        """Modules that the fork server loads at its start; where one cannot be imported: "ignore", "warn" or "fail"."""
        from phalanx.forkserver import set_forkserver_preload

        set_forkserver_preload(module_names, on_error=on_error)

    # -- start methods ------------------------------------------------------------------------------------------------

    if TYPE_CHECKING:

        @overload
        def get_context(self, method: Literal["fork"]) -> ForkContext: ...
        @overload
        def get_context(self, method: Literal["spawn"]) -> SpawnContext: ...
        @overload
        def get_context(self, method: Literal["forkserver"]) -> ForkServerContext: ...
        @overload
        def get_context(self, method: str | None = None) -> BaseContext: ...

    def get_context(self, method: str | None = None) -> BaseContext:
        """The context of that start method. ValueError for a method that does not exist.

        None: this one, or for the package itself that of the method in use, which is fixed by that.
        """
        if method is None:
            return self._in_use()
        try:
            return _concrete_contexts[method]
        except KeyError:
            raise ValueError(f"cannot find context for {method!r}") from None

    if TYPE_CHECKING:

        @overload
        def get_start_method(self, allow_none: Literal[False] = False) -> str: ...
        @overload
        def get_start_method(self, allow_none: bool) -> str | None: ...

    def get_start_method(self, allow_none: bool = False) -> str | None:
        """The name of the method in use. For the package, asking fixes it, unless `allow_none`, which may give None."""
        return self._name_in_use(allow_none)

    def _in_use(self) -> BaseContext:
        return self

    def _name_in_use(self, allow_none: bool) -> str | None:
        return self._name

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        raise ValueError("cannot set start method of concrete context")

    @property
    def reducer(self) -> Any:
        """What pickles for children: the module `phalanx.reduction` unless a program has put something in its place."""
        return reduction.current_reducer()

    @reducer.setter
    def reducer(self, reducer: Any) -> None:
        reduction.set_reducer(reducer)


class ForkContext(BaseContext):
    _name = "fork"
    Process = ForkProcess


class SpawnContext(BaseContext):
    _name = "spawn"
    Process = SpawnProcess


class ForkServerContext(BaseContext):
    _name = "forkserver"
    Process = ForkServerProcess


class DefaultContext(BaseContext):
    """The package's own context: that of the method which the program has chosen, or the interpreter's default."""

    Process = Process

    def _in_use(self) -> BaseContext:
        return _concrete_contexts[str(start_method.current())]

    def _name_in_use(self, allow_none: bool) -> str | None:
        return start_method.current(allow_none)

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Fix the program's start method. RuntimeError if that has been done, unless `force`; ValueError if unknown."""
        if not force and start_method.current(allow_none=True) is not None:
            raise RuntimeError("context has already been set")
        if method is None:
            start_method.choose(None if force else start_method.default(), force=True)
        else:
            self.get_context(method)
            start_method.choose(method, force=True)

    def get_all_start_methods(self) -> list[str]:
        """The names of the start methods of this platform, the default first."""
        default = start_method.default()
        return [default, *(name for name in start_method.NAMES if name != default)]


_concrete_contexts: dict[str, BaseContext] = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}
_default_context = DefaultContext()
