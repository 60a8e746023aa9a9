"""Executors: `concurrent.futures` with the pool's worker processes behind it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    TimeoutError,
    as_completed,
    wait,
)
from functools import partial
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from phalanx._base.cpus import available_cpus
from phalanx._futures import mapping
from phalanx._futures.errors import ABRUPTLY, BrokenProcessPool, broken
from phalanx._futures.future import PoolFuture
from phalanx._futures.shell import ExecutorShell, cause_of, is_interpreter_ending
from phalanx._runtime import events as e
from phalanx._runtime.calls import Call
from phalanx._runtime.crew import Crew
from phalanx._runtime.failures import RemoteTraceback as _RemoteTraceback
from phalanx._runtime.records import Mode
from phalanx.pool import UNKNOWN_PACE, _make_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "BrokenProcessPool",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "ProcessPoolExecutor",
    "TimeoutError",
    "as_completed",
    "wait",
]

_ = _RemoteTraceback  # programs take it from here

_TERMINATE = "terminate"
_KILL = "kill"
_FORCED = (_TERMINATE, _KILL)

PLAIN_FUNCTIONS = (FunctionType, type)


class ProcessPoolExecutor(Executor):
    """Runs calls in worker processes, which are started as they are needed (all at once where they are forked).

    `max_workers` None means `available_cpus()`. `mp_context` is a context of this package, or one of the stdlib's:
    then its start method counts. `initializer(*initargs)` runs first in each worker. A worker is replaced after
    `max_tasks_per_child` tasks, which "fork" does not allow; without an `mp_context` that means "spawn".

    What the stdlib's has not: `task_timeout` (seconds that a task may run: then it alone fails, with TaskTimeout),
    `retries`, `retry_on` and `backoff` as for pools, and `on_worker_death`: "break" as the stdlib's, where one dead
    worker takes everything with it (BrokenProcessPool), or "task", where the task that it ran fails with WorkerDied
    (or is tried again) and nothing else happens. "task" is the default where retries are asked for.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        task_timeout: float | None = None,
        retries: int = 0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = (),
        backoff: float = 0.0,
        on_worker_death: str | None = None,
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if on_worker_death not in (None, "break", "task"):
            raise ValueError(f"on_worker_death must be 'break' or 'task', not {on_worker_death!r}")
        self._max_workers = max_workers or available_cpus()
        self._mp_context = _context_for(mp_context, max_tasks_per_child)
        self._is_forking = self._mp_context.get_start_method(allow_none=False) == "fork"
        _check_task_limit(max_tasks_per_child, is_forking=self._is_forking)
        self._max_tasks_per_child = max_tasks_per_child
        self._initializer = initializer if initializer is None else partial(_initialize, initializer)
        self._initargs = tuple(initargs)
        self._options: dict[str, Any] = {
            "timeout": task_timeout, "retries": retries, "retry_on": retry_on, "backoff": backoff
        }  # fmt: skip
        self._rules = _make_rules({**self._options})
        self._breaks = on_worker_death == "break" or (on_worker_death is None and retries == 0)
        self._owner_pid = os.getpid()
        self._shutdown_lock = threading.Lock()
        self._is_shut_down = False
        self._shell: ExecutorShell | None = None

    # -- calls -------------------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have `fn(*args, **kwargs)` called by a worker. BrokenProcessPool, or RuntimeError after `shutdown`."""
        return self._submit(self._rules, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """The results of `fn` for the items of the iterables, in order.

        The iterables are read at once; with `buffersize`, only so many chunks ahead of what has been taken.
        TimeoutError if a result is not there `timeout` seconds after this call. `chunksize` tasks travel together.
        """
        return self._map(self._rules, fn, iterables, timeout, chunksize, buffersize)

    def options(self, **options: Any) -> ExecutorView:
        """A view of this executor for calls with other `timeout`, `retries`, `retry_on` or `backoff`."""
        return ExecutorView(self, {**self._options, **options})

    def _submit(
        self, rules: e.Rules, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> PoolFuture:
        with self._shutdown_lock:
            shell = self._ready_shell(1)
            future = PoolFuture(shell)
            target, mode, item = _as_item(fn, args, kwargs)
            number = shell.number()
            call = future._call = Call(number, target, mode, [item], future, 1, rules)
            shell.submit(call, e.Submitted(number, 1, True, UNKNOWN_PACE, 0, 0, rules))
        return future

    def _map(
        self,
        rules: e.Rules,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
    ) -> Iterator[Any]:
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        deadline = None if timeout is None else time.monotonic() + timeout
        if not iterables:
            return iter(())
        if buffersize is None:
            return self._map_at_once(rules, fn, mapping.all_items(iterables), len(iterables) > 1, chunksize, deadline)
        return self._map_bit_by_bit(rules, fn, zip(*iterables, strict=False), chunksize, buffersize, deadline)

    def _map_at_once(
        self,
        rules: e.Rules,
        fn: Callable[..., Any],
        items: list[Any],
        is_star: bool,
        chunksize: int,
        deadline: float | None,
    ) -> Iterator[Any]:
        count = len(items)
        with self._shutdown_lock:
            shell = self._ready_shell(-(-count // chunksize))
            results = mapping.MapResults(shell)
            number = shell.number()
            mode = Mode.STAR if is_star else Mode.ONE
            call = results._call = Call(number, fn, mode, items, results, chunksize, rules)
            shell.submit(call, e.Submitted(number, count, True, UNKNOWN_PACE, chunksize, 0, rules))
        return mapping.results_of(results, deadline)

    def _map_bit_by_bit(
        self,
        rules: e.Rules,
        fn: Callable[..., Any],
        arguments: Iterator[tuple[Any, ...]],
        chunksize: int,
        buffersize: int,
        deadline: float | None,
    ) -> Iterator[Any]:
        chunks = mapping.take_chunks(arguments, chunksize)
        me = weakref.ref(self)  # the iterator does not keep the executor alive

        def submit_next() -> PoolFuture | None:
            executor = me()
            chunk = None if executor is None else next(chunks, None)
            return None if executor is None or chunk is None else executor._submit(
                rules, mapping.run_chunk, (fn, chunk), {}
            )  # fmt: skip

        futures: deque[PoolFuture] = deque()
        while len(futures) < buffersize and (future := submit_next()) is not None:
            futures.append(future)
        return mapping.results_of_futures(futures, submit_next, deadline)

    # -- workers -----------------------------------------------------------------------------------------------------

    def _ready_shell(self, task_count: int) -> ExecutorShell:
        """The shell, with workers for so many more tasks."""
        self._check_running()
        shell = self._shell
        if shell is None:
            shell = self._shell = self._start_shell()
        if not self._is_forking:
            shell.grow_for(task_count)
        if shell.why_broken is not None:
            raise broken(ABRUPTLY, cause_of(shell.why_broken))
        return shell

    def _check_running(self) -> None:
        if self._broken:
            raise broken(str(self._broken))
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if is_interpreter_ending():
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        if self._owner_pid != os.getpid():
            raise RuntimeError("an executor works in the process that made it, not in a forked child")

    def _start_shell(self) -> ExecutorShell:
        size = self._max_workers
        crew = Crew(self._mp_context, size, self._initializer, self._initargs, self._max_tasks_per_child)
        shell = ExecutorShell(crew, size if self._is_forking else 0, size, breaks=self._breaks)
        shell.start()
        weakref.finalize(self, shell.close).atexit = False
        return shell

    # -- the end -----------------------------------------------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more calls. Those that are there still run, but for those that have not begun, with `cancel_futures`.

        A call that a worker is just being started for counts as begun. With `wait` this returns when all have run and
        the workers are gone.
        """
        with self._shutdown_lock:
            self._is_shut_down = True
            shell = self._shell
        if shell is None or self._owner_pid != os.getpid():
            return
        if cancel_futures:
            shell.cancel_waiting()
        shell.close()
        if wait:
            shell.wait_until_over()

    def terminate_workers(self) -> None:
        """End the workers with SIGTERM, whatever they are doing. The executor cannot be used any more."""
        self._force_shutdown(operation=_TERMINATE)

    def kill_workers(self) -> None:
        """End the workers with SIGKILL, whatever they are doing. The executor cannot be used any more."""
        self._force_shutdown(operation=_KILL)

    def _force_shutdown(self, operation: str) -> None:
        if operation not in _FORCED:
            raise ValueError(f"Unsupported operation: {operation!r}")
        processes = self._processes or {}
        with self._shutdown_lock:
            self._is_shut_down = True
            shell = self._shell
        for process in processes.values():
            getattr(process, operation)()
        if shell is not None and shell.owner_pid == os.getpid():
            shell.end_abruptly()
            shell.wait_until_over()

    # -- what programs look at although it is private ------------------------------------------------------------------

    @property
    def _broken(self) -> str | bool:
        """Why the executor is of no use any more, or False."""
        return ABRUPTLY if self._shell is not None and self._shell.why_broken is not None else False

    @property
    def _processes(self) -> dict[int, Any]:
        """The workers by pid."""
        return {} if self._shell is None else {each.pid: each for each in list(self._shell.crew.processes.values())}

    @property
    def _executor_manager_thread(self) -> threading.Thread | None:
        """The thread that ends when the executor has."""
        return None if self._shell is None else self._shell._supervisor

    @property
    def _call_queue(self) -> Any:
        return _CallQueue()


class ExecutorView(Executor):
    """An executor's workers under other rules; see `ProcessPoolExecutor.options`."""

    def __init__(self, executor: ProcessPoolExecutor, options: dict[str, Any]) -> None:
        self._executor = executor
        self._options = options
        self._rules = _make_rules({**options})

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As the executor's."""
        return self._executor._submit(self._rules, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """As the executor's; this `timeout` is for all results, that of the options for each task."""
        return self._executor._map(self._rules, fn, iterables, timeout, chunksize, buffersize)

    def options(self, **options: Any) -> ExecutorView:
        """A further view."""
        return ExecutorView(self._executor, {**self._options, **options})

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor itself down."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


class _CallQueue:
    """In the place of a queue that has a thread: there is none to join."""

    def join_thread(self) -> None:
        pass


def _as_item(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], Mode, Any]:
    """What travels for a call: plain functions by number, others (methods, partials, lock holders) with the item."""
    is_plain = type(fn) in PLAIN_FUNCTIONS or (type(fn) is BuiltinFunctionType and isinstance(fn.__self__, ModuleType))
    if not is_plain:
        return _call, Mode.STAR, (fn, args, kwargs)
    return (fn, Mode.FULL, (args, kwargs)) if kwargs else (fn, Mode.STAR, args)


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)


def _initialize(initializer: Callable[..., object], *initargs: Any) -> None:
    """In a worker: run the initializer, and log what it raises."""
    try:
        initializer(*initargs)
    except BaseException:
        from concurrent.futures._base import LOGGER

        LOGGER.critical("Exception in initializer:", exc_info=True)
        raise


def _context_for(context: Any, max_tasks_per_child: int | None) -> Any:
    """A context of ours. The contexts lie above executors, so the package hands its own over by name."""
    import phalanx

    get_context: Any = phalanx.get_context
    if context is None:
        return get_context() if max_tasks_per_child is None else get_context("spawn")
    if type(context).__module__.partition(".")[0] == "multiprocessing":
        return get_context(context.get_start_method(allow_none=False))
    return context


def _check_task_limit(max_tasks_per_child: int | None, *, is_forking: bool) -> None:
    if max_tasks_per_child is None:
        return
    if not isinstance(max_tasks_per_child, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if max_tasks_per_child <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if is_forking:
        raise ValueError("max_tasks_per_child is incompatible with the 'fork' start method; use another mp_context")
