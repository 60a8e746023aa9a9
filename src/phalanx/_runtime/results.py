"""What callers hold: the result of an `*_async` call, and the iterators of `imap`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Self

from phalanx._base.errors import TimeoutError
from phalanx._base.generic import Of
from phalanx._runtime.events import Consumed

if TYPE_CHECKING:
    from collections.abc import Callable

    from phalanx._base.generic import T
    from phalanx._runtime.calls import Call
    from phalanx._runtime.shell import Shell

__all__ = ["ApplyResult", "AsyncResult", "IMapIterator", "IMapUnorderedIterator", "MapResult"]

PUBLIC_MODULE = "phalanx.pool"

NOTHING = object()


class ApplyResult(Of["T"]):
    """The result of a call that goes on in the background."""

    __module__ = PUBLIC_MODULE

    _call: Call

    def __init__(
        self,
        pool: Any,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._pool = pool  # a pool that somebody waits for is not forgotten
        self._shell: Shell = pool._shell
        self._callback = callback
        self._error_callback = error_callback
        self._is_ready = False
        self._error: BaseException | None = None
        self._value: Any = None

    def ready(self) -> bool:
        """Whether the call has completed."""
        return self._is_ready or self._shell.wait(self._call, 0)

    def successful(self) -> bool:
        """Whether it completed without an error. ValueError if it has not completed."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error is None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has completed, `timeout` seconds at most."""
        if not self._is_ready:
            self._shell.wait(self._call, timeout)

    def get(self, timeout: float | None = None) -> T:
        """The result; raises the call's error. The package's TimeoutError if that takes over `timeout` seconds."""
        if not self._is_ready and not self._shell.wait(self._call, timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    # -- called by the collector -------------------------------------------------------------------------------------

    def deliver(self, start: int, values: list[Any]) -> None:
        self._value = values[0]

    def fail(self, index: int, error: BaseException) -> None:
        if self._error is None:
            self._error = error

    def settle(self) -> None:
        if self._callback is None and self._error_callback is None:
            self._finish()
        else:
            self._shell.call_back(self._finish_with_callback)

    def abandon(self, error: BaseException) -> None:
        self._error = error
        self.settle()

    def _finish_with_callback(self) -> None:
        """In the helper thread. Whoever waits is woken afterwards, so that the callback has run by then."""
        try:
            if self._error is None:
                if self._callback is not None:
                    self._callback(self._value)
            elif self._error_callback is not None:
                self._error_callback(self._error)
        except Exception:  # noqa: BLE001  # a callback's error is shown, and nobody's fault but its own
            _show_error("callback")
        finally:
            self._finish()

    def _finish(self) -> None:
        self._pool = self._callback = self._error_callback = None
        call = self._call
        self._is_ready = call.is_settled = True
        self._shell.wake(call)


AsyncResult = ApplyResult


class MapResult(ApplyResult["list[T]"]):
    """The result of `map_async`: a list. With several errors, the one that came first is raised."""

    __module__ = PUBLIC_MODULE

    def __init__(
        self,
        pool: Any,
        length: int,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        returns_errors: bool = False,
    ) -> None:
        super().__init__(pool, callback, error_callback)
        self._value = [None] * length
        self._returns_errors = returns_errors

    def deliver(self, start: int, values: list[Any]) -> None:
        self._value[start : start + len(values)] = values

    def fail(self, index: int, error: BaseException) -> None:
        if self._returns_errors:
            self._value[index] = error
        elif self._error is None:
            self._error = error


class Failure:
    """In the place of a result: an error that the iterator raises there."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class IMapIterator(Of["T"]):
    """The results of `imap`, in the order of the items. A failed item raises in its place; those behind it follow."""

    __module__ = PUBLIC_MODULE

    _call: Call

    def __init__(self, pool: Any, window: int, *, returns_errors: bool = False) -> None:
        self._pool = pool
        self._shell: Shell = pool._shell
        self._returns_errors = returns_errors
        self._ready: deque[Any] = deque()
        self._later: dict[int, list[Any]] = {}  # results that came before those in front of them
        self._next_index = 0
        self._report_every = self._until_report = max(1, window // 4)
        self._consumed = 0
        self._is_over = False
        self._broken_by: BaseException | None = None
        self._is_abandoned = False

    def __iter__(self) -> Self:
        return self

    def next(self, timeout: float | None = None) -> T:
        """The next result. `multiprocessing.TimeoutError` if there is none after `timeout` seconds."""
        try:
            value = self._ready.popleft()
        except IndexError:
            value = NOTHING
        if value is NOTHING:  # not above, where whatever the wait raises would have the IndexError as its context
            value = self._wait_for_next(timeout)
        self._until_report -= 1
        if not self._until_report:
            self._report()
        if type(value) is Failure:
            raise value.error
        result: T = value
        return result

    __next__ = next

    def _wait_for_next(self, timeout: float | None) -> Any:
        if not self._shell.wait_for(self._has_next_or_end, self._call, timeout):
            raise TimeoutError
        try:
            value = self._ready.popleft()
        except IndexError:
            value = NOTHING
        return self._raise_end() if value is NOTHING else value

    def _has_next_or_end(self) -> bool:
        return bool(self._ready) or self._is_over

    def _raise_end(self) -> Any:
        self._pool = None
        error = self._broken_by
        if error is None:
            raise StopIteration
        if not self._is_abandoned:
            self._broken_by = None
        raise error

    def _report(self) -> None:
        """Let the reader go on: the consumer has taken a part of the window."""
        self._consumed += self._report_every
        self._until_report = self._report_every
        if not self._is_over:
            self._shell.tell(Consumed(self._call.number, self._consumed))

    # -- called by the collector -------------------------------------------------------------------------------------

    def deliver(self, start: int, values: list[Any]) -> None:
        if start != self._next_index:
            self._later[start] = values
            return
        self._ready.extend(values)
        self._next_index += len(values)
        while self._later and self._next_index in self._later:
            values = self._later.pop(self._next_index)
            self._ready.extend(values)
            self._next_index += len(values)
        self._wake()

    def fail(self, index: int, error: BaseException) -> None:
        self.deliver(index, [error if self._returns_errors else Failure(error)])

    def break_off(self, error: BaseException) -> None:
        """The iterable has raised: so does the iterator, behind the results of what came before."""
        self._broken_by = error

    def settle(self) -> None:
        self._is_over = True
        self._call.is_settled = True
        self._wake()

    def abandon(self, error: BaseException) -> None:
        self._broken_by = error
        self._is_abandoned = True
        self.settle()

    def _wake(self) -> None:
        self._shell.wake(self._call)


class IMapUnorderedIterator(IMapIterator["T"]):
    """The results of `imap_unordered`, as they come."""

    __module__ = PUBLIC_MODULE

    def deliver(self, start: int, values: list[Any]) -> None:
        self._ready.extend(values)
        self._wake()


def _show_error(where: str) -> None:
    import sys
    import threading

    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
