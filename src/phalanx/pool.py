"""Pools: the same function over many items, in parallel, by worker processes or by threads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from phalanx import util
from phalanx._base.cpus import available_cpus
from phalanx._base.errors import ProcessError
from phalanx._base.limits import POOL_WINDOW_COUNT
from phalanx._runtime import events as e
from phalanx._runtime.calls import Call
from phalanx._runtime.failures import ExceptionWithTraceback as ExceptionWithTraceback
from phalanx._runtime.failures import MaybeEncodingError as MaybeEncodingError
from phalanx._runtime.failures import RemoteTraceback as RemoteTraceback
from phalanx._runtime.failures import rebuild_exc as rebuild_exc
from phalanx._runtime.readers import make_reader
from phalanx._runtime.records import Mode
from phalanx._runtime.results import ApplyResult as ApplyResult
from phalanx._runtime.results import AsyncResult as AsyncResult
from phalanx._runtime.results import IMapIterator as IMapIterator
from phalanx._runtime.results import IMapUnorderedIterator as IMapUnorderedIterator
from phalanx._runtime.results import MapResult as MapResult
from phalanx._runtime.shell import Shell
from phalanx._runtime.worker import work as worker  # noqa: F401

if TYPE_CHECKING:
    import threading
    from types import TracebackType

    from phalanx._base.generic import S, T

__all__ = ["Pool", "ThreadPool"]

INIT = "INIT"
RUN = "RUN"
CLOSE = "CLOSE"
TERMINATE = "TERMINATE"

UNKNOWN_PACE = e.Pace()  # until the shell knows the function


def mapstar(args: tuple[Any, ...]) -> list[Any]:
    """`map` of a function and iterables given as one tuple, as a list."""
    return list(map(*args))


def starmapstar(args: tuple[Callable[..., Any], Iterable[Iterable[Any]]]) -> list[Any]:
    """The function (first) called with each tuple of arguments (second), as a list."""
    function, arguments = args
    return [function(*each) for each in arguments]


class Pool:
    """A crew of worker processes that run calls of functions.

    `processes` None means `available_cpus()`; `initializer(*initargs)` runs first in each worker; a worker is replaced
    after `maxtasksperchild` chunks. A worker that dies costs the task it ran (`WorkerDied`), and is replaced.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        self._state = INIT
        self._processes = _checked_size(processes)
        if maxtasksperchild is not None and not (isinstance(maxtasksperchild, int) and maxtasksperchild > 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._ctx = context or _default_context()
        self._maxtasksperchild = maxtasksperchild
        self._owner_pid = os.getpid()
        self._shell = Shell(self._make_crew(initializer, tuple(initargs)), self._processes)
        self._shell.start()
        self._terminate = util.Finalize(self, _end_forgotten, args=(self._shell, self._owner_pid), exitpriority=15)
        self._state = RUN

    def _make_crew(self, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> Any:
        from phalanx._runtime import reducers
        from phalanx._runtime.crew import Crew

        self._setup_queues()
        if backward := reducers.of_queue(self, "_outqueue"):
            initializer, initargs = reducers.initialize_with, (backward, initializer, initargs)
        crew = Crew(self._ctx, self._processes, initializer, initargs, self._maxtasksperchild)
        crew.pickle_by(reducers.of_queue(self, "_inqueue"))
        return crew

    def _setup_queues(self) -> None:
        """For subclasses: they may make an `_inqueue` and an `_outqueue`, by whose `_reducers` the pool pickles."""

    @property
    def _pool(self) -> list[Any]:
        """The workers, as process objects."""
        return list(self._shell.crew.processes.values())

    def __del__(self) -> None:
        if getattr(self, "_state", None) == RUN and self._owner_pid == os.getpid():
            warnings.warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        kind = type(self)
        return f"<{kind.__module__}.{kind.__qualname__} state={self._state} pool_size={len(self._pool)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.terminate()

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    # -- one call ----------------------------------------------------------------------------------------------------

    def apply(self, func: Callable[..., T], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}, **rules: Any) -> T:
        """Call `func(*args, **kwds)` in a worker, and return what it returns or raise what it raises."""
        result: ApplyResult[T] = ApplyResult(self)
        call, event = self._prepare_one(result, func, args, kwds, rules)
        self._shell.run(call, event)
        if result._error is not None:
            raise result._error
        value: T = result._value
        return value

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        **rules: Any,
    ) -> ApplyResult[T]:
        """The same in the background. A callback gets the result, or the error, in a thread of the pool."""
        result: ApplyResult[T] = ApplyResult(self, callback, error_callback)
        call, event = self._prepare_one(result, func, args, kwds, rules)
        self._submit(result, call, event)
        return result

    def _prepare_one(
        self,
        result: ApplyResult[Any],
        func: Callable[..., Any],
        args: Iterable[Any],
        kwds: Mapping[str, Any],
        rules: dict[str, Any],
    ) -> tuple[Call, e.Submitted]:
        self._check_running()
        args = tuple(args)
        if kwds:
            mode, item = Mode.FULL, (args, dict(kwds))
        else:
            mode, item = Mode.STAR, args
        return self._prepare(result, func, mode, [item], 0, rules)

    def _prepare(
        self,
        result: Any,
        func: Callable[..., Any],
        mode: Mode,
        items: list[Any],
        chunk: int,
        rules: dict[str, Any],
        *,
        window: int = 0,
    ) -> tuple[Call, e.Submitted]:
        checked = _make_rules(rules) if rules else e.PLAIN_RULES
        number = self._shell.number()
        call = result._call = Call(number, func, mode, items, result, chunk or 1, checked)
        event = e.Submitted(number, len(items), not window, UNKNOWN_PACE, chunk, window, checked)
        return call, event

    def _submit(self, result: ApplyResult[Any], call: Call, event: e.Submitted) -> None:
        is_eager = result._callback is not None or result._error_callback is not None
        self._shell.submit(call, event, is_eager=is_eager)

    # -- many calls, all at once -------------------------------------------------------------------------------------

    def map(self, func: Callable[[S], T], iterable: Iterable[S], chunksize: int | None = None, **rules: Any) -> list[T]:
        """The results of `func` for every item, in order. All items are read first."""
        return self._map_now(func, iterable, Mode.ONE, chunksize, rules)

    def starmap(
        self, func: Callable[..., T], iterable: Iterable[Iterable[Any]], chunksize: int | None = None, **rules: Any
    ) -> list[T]:
        """As `map`; each item is the arguments of a call."""
        return self._map_now(func, iterable, Mode.STAR, chunksize, rules)

    def map_async(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        **rules: Any,
    ) -> MapResult[T]:
        """`map` in the background."""
        return self._map_later(func, iterable, Mode.ONE, chunksize, (callback, error_callback), rules)

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        **rules: Any,
    ) -> MapResult[T]:
        """`starmap` in the background."""
        return self._map_later(func, iterable, Mode.STAR, chunksize, (callback, error_callback), rules)

    def _map_now(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        mode: Mode,
        chunksize: int | None,
        rules: dict[str, Any],
    ) -> list[Any]:
        result, call, event = self._prepare_map(func, iterable, mode, chunksize, (None, None), rules)
        self._shell.run(call, event)
        values: list[Any] = result.get()
        return values

    def _map_later(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        mode: Mode,
        chunksize: int | None,
        callbacks: tuple[Any, Any],
        rules: dict[str, Any],
    ) -> MapResult[Any]:
        result, call, event = self._prepare_map(func, iterable, mode, chunksize, callbacks, rules)
        self._submit(result, call, event)
        return result

    def _prepare_map(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        mode: Mode,
        chunksize: int | None,
        callbacks: tuple[Any, Any],
        rules: dict[str, Any],
    ) -> tuple[MapResult[Any], Call, e.Submitted]:
        self._check_running()
        returns_errors = _pop_returns_errors(rules)
        items = list(iterable)
        chunk = 0 if chunksize is None else max(1, chunksize)
        if chunk == 0 and self._maxtasksperchild is not None:
            # A worker's life is counted in chunks: without any, each item would be one.
            chunk = -(-len(items) // (self._processes * 4))
        result: MapResult[Any] = MapResult(self, len(items), *callbacks, returns_errors=returns_errors)
        call, event = self._prepare(result, func, mode, items, chunk, rules)
        return result, call, event

    # -- many calls, read and given back as they come ------------------------------------------------------------------

    def imap(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        **rules: Any,
    ) -> IMapIterator[T]:
        """The results of `func` in the order of the items, as an iterator.

        At most `buffersize` items are read ahead of what the iterator has given (4,096 by default). A failed item
        raises in its place, and the iterator can be read on.
        """
        return self._imap(IMapIterator, func, iterable, chunksize, buffersize, rules)

    def imap_unordered(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        **rules: Any,
    ) -> IMapIterator[T]:
        """As `imap`, the results in the order in which they come."""
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize, buffersize, rules)

    def _imap(
        self,
        kind: type[IMapIterator[Any]],
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int,
        buffersize: int | None,
        rules: dict[str, Any],
    ) -> IMapIterator[Any]:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize must be at least 1, not {buffersize}")
        window = max(chunksize, buffersize or max(POOL_WINDOW_COUNT, chunksize * self._processes * 4))
        result = kind(self, window, returns_errors=_pop_returns_errors(rules))
        call, event = self._prepare(result, func, Mode.ONE, [], chunksize, rules, window=window)
        self._shell.readers[call.number] = make_reader(self._shell, call, iterable)
        self._shell.submit(call, event)
        return result

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """No more calls; those that are there go on. Then the workers leave."""
        if self._state == RUN:
            self._state = CLOSE
            self._shell.tell(e.Closed())

    def terminate(self) -> None:
        """End the workers now. Whoever still waits for a result gets a ProcessError."""
        self._state = TERMINATE
        self._terminate.cancel()
        _end(self._shell)

    def join(self) -> None:
        """Wait until the workers are gone. ValueError unless the pool was closed or terminated."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._shell.tell(e.Drained())
        self._shell.wait_until_over()
        self._terminate.cancel()


class ThreadPool(Pool):
    """The same with threads of this process: nothing is pickled, and nothing runs in parallel that needs the GIL."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        super().__init__(processes, initializer, initargs)
        self._ending: list[threading.Thread] = []

    def terminate(self) -> None:
        """End the pool now. Whoever still waits for a result gets a ProcessError.

        No thread can be killed: a worker ends after the task that it is running. `join` waits for that.
        """
        self._ending += self._shell.crew.undisturbed()
        super().terminate()

    def join(self) -> None:
        """Wait until the workers are gone, but for those that were given up because their task took too long.

        ValueError unless the pool was closed or terminated.
        """
        super().join()
        for thread in self._ending:
            thread.join()

    def _make_crew(self, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> Any:
        from phalanx._runtime.threadcrew import ThreadCrew

        return ThreadCrew(self._processes, initializer, initargs)


def _checked_size(processes: int | None) -> int:
    if processes is None:
        return available_cpus()
    if processes < 1:
        raise ValueError("Number of processes must be at least 1")
    return processes


def _default_context() -> Any:
    """The start method in force. The contexts lie above pools, so the package hands its own over by this name."""
    import phalanx

    return phalanx.get_context()


def _pop_returns_errors(rules: dict[str, Any]) -> bool:
    on_error = rules.pop("on_error", "raise")
    if on_error not in ("raise", "return"):
        raise ValueError(f"on_error must be 'raise' or 'return', not {on_error!r}")
    return bool(on_error == "return")


def _make_rules(options: dict[str, Any]) -> e.Rules:
    """`timeout` (seconds), `retries`, `retry_on` (exception classes), `backoff` (seconds, doubled each time)."""
    timeout = options.pop("timeout", None)
    retries = options.pop("retries", 0)
    retry_on = options.pop("retry_on", ())
    backoff = options.pop("backoff", 0.0)
    if options:
        raise TypeError(f"unexpected keyword argument {next(iter(options))!r}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be positive, not {timeout!r}")
    if not isinstance(retries, int) or retries < 0:
        raise ValueError(f"retries must be a whole number from 0, not {retries!r}")
    if not backoff >= 0:
        raise ValueError(f"backoff must not be negative, not {backoff!r}")
    classes = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    if not all(isinstance(each, type) and issubclass(each, BaseException) for each in classes):
        raise TypeError("retry_on must be an exception class or a tuple of them")
    return e.Rules(timeout, retries, classes, backoff)


def _end(shell: Shell) -> None:
    shell.tell(e.Terminated(ProcessError("the pool was terminated")))
    shell.wait_until_over()


def _end_forgotten(shell: Shell, owner_pid: int) -> None:
    """A pool that nobody closed has been collected, or the program ends."""
    if owner_pid != os.getpid():
        return
    if util.is_exiting():
        _end(shell)
    else:  # in the garbage collector, perhaps of a thread that holds the pool's locks: the pool's threads do the rest
        shell.tell(e.Terminated(ProcessError("the pool was garbage-collected")))
