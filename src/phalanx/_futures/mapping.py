"""`Executor.map`: all at once as one call of the pool, or a few at a time as futures."""

from __future__ import annotations

import itertools
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from phalanx._base.errors import TimeoutError as PhalanxTimeoutError
from phalanx._runtime.failures import MaybeEncodingError, original_error
from phalanx._runtime.results import IMapIterator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from phalanx._futures.future import PoolFuture
    from phalanx._futures.shell import ExecutorShell

__all__ = ["MapResults", "all_items", "results_of", "results_of_futures", "run_chunk", "take_chunks"]

NEVER_REPORT = 1 << 62  # as a window: all items are there, the reader need not hear of what is consumed


class Holder:
    """What `IMapIterator` wants to keep alive is the executor; here nothing is."""

    def __init__(self, shell: ExecutorShell) -> None:
        self._shell = shell


class MapResults(IMapIterator[Any]):
    """Where the results of one `map` go, and come from."""

    _shell: ExecutorShell

    def __init__(self, shell: ExecutorShell) -> None:
        super().__init__(Holder(shell), NEVER_REPORT)

    def fail(self, index: int, error: BaseException) -> None:
        super().fail(index, original_error(error) if isinstance(error, MaybeEncodingError) else error)

    def abandon(self, error: BaseException) -> None:
        super().abandon(self._shell.error_for_abandoned(error))

    def cancel(self) -> None:
        """Tasks that have not begun are not wanted any more."""
        if not self._is_over:
            self._shell.take_back(self._call)


def results_of(results: MapResults, deadline: float | None) -> Iterator[Any]:
    """The results in order. After the first error, or if nobody wants to see the rest, the others are cancelled."""
    try:
        while True:
            try:
                value = [results.next(_left(deadline))]
            except StopIteration:
                return
            except PhalanxTimeoutError as error:
                if type(error) is not PhalanxTimeoutError or error.__cause__ is not None:
                    raise  # a task's own
                raise TimeoutError from None
            yield value.pop()  # no reference to what has been given away
    finally:
        results.cancel()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


# -- a few at a time ---------------------------------------------------------------------------------------------------


def run_chunk(function: Callable[..., Any], chunk: tuple[tuple[Any, ...], ...]) -> list[Any]:
    """In a worker: the results of one chunk."""
    return [function(*arguments) for arguments in chunk]


def take_chunks(arguments: Iterator[tuple[Any, ...]], size: int) -> Iterator[tuple[tuple[Any, ...], ...]]:
    while chunk := tuple(itertools.islice(arguments, size)):
        yield chunk


def results_of_futures(
    futures: deque[PoolFuture], submit_next: Callable[[], PoolFuture | None], deadline: float | None
) -> Iterator[Any]:
    """The results of the chunks in order; whenever one has been taken, the next is submitted."""
    try:
        while futures:
            future = futures[0]
            chunk = deque(future.result(_left(deadline)))
            del future
            futures.popleft()
            following = submit_next()
            if following is not None:
                futures.append(following)
            while chunk:
                yield chunk.popleft()
    finally:
        for future in futures:
            future.cancel()


def all_items(iterables: tuple[Iterable[Any], ...]) -> list[Any]:
    """What the function is called with: with one iterable its items, else tuples."""
    return list(iterables[0]) if len(iterables) == 1 else list(zip(*iterables, strict=False))
