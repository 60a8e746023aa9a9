"""Futures whose results are collected by whoever waits for them."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from phalanx._runtime.failures import MaybeEncodingError, original_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from phalanx._futures.shell import ExecutorShell
    from phalanx._runtime.calls import Call

__all__ = ["PoolFuture"]

NOTHING = object()


class Waiters(list[Any]):
    """Those of `wait` and `as_completed`, who sleep and do not collect."""

    def __init__(self, future: PoolFuture) -> None:
        super().__init__()
        self._future = future

    def append(self, waiter: Any) -> None:
        super().append(waiter)
        self._future._hurry()


class PoolFuture(Future[Any]):
    """The result of a task of an executor, and the place where the collector puts it.

    As the stdlib's, but `cancel` succeeds as long as no worker has begun the task.
    """

    _call: Call

    def __init__(self, shell: ExecutorShell) -> None:
        super().__init__()
        self._shell = shell
        self._outcome: Any = NOTHING
        self._error: BaseException | None = None
        self._waiters: list[Any] = Waiters(self)

    # -- for whoever holds it ----------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> Any:
        return super().result(self._collect(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return super().exception(self._collect(timeout))

    def done(self) -> bool:
        self._collect(0)
        return super().done()

    def running(self) -> bool:
        """Whether a worker has begun the task and its result is not there yet."""
        return not self.done() and self._shell.has_begun(self._call)

    def cancel(self) -> bool:
        if not super().done():
            self._shell.take_back_now(self._call)
        if isinstance(self._error, CancelledError) and not super().done():
            super().cancel()
            self.set_running_or_notify_cancel()
        return self.cancelled()

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        super().add_done_callback(fn)
        self._hurry()

    def _collect(self, timeout: float | None) -> float | None:
        """Collect until the result is there, `timeout` seconds at most; how many are left."""
        call = self._call
        if call.is_settled or super().done():
            return timeout
        begun = time.monotonic()
        self._shell.wait(call, timeout)
        return None if timeout is None else max(0.0, timeout - (time.monotonic() - begun))

    def _hurry(self) -> None:
        self._shell.hurry(self._call)

    # -- for the collector -------------------------------------------------------------------------------------------

    def deliver(self, start: int, values: list[Any]) -> None:
        self._outcome = values[0]

    def fail(self, index: int, error: BaseException) -> None:
        self._error = original_error(error) if isinstance(error, MaybeEncodingError) else error

    def abandon(self, error: BaseException) -> None:
        self._error = self._shell.error_for_abandoned(error)
        self.settle()

    def break_off(self, error: BaseException) -> None:
        """Nothing is read for a single task."""

    def settle(self) -> None:
        """The shell is locked now: callbacks, which may do anything, run in the helper's thread."""
        if isinstance(self._error, CancelledError):
            self._end()  # whoever cancelled goes on from here
            return
        with self._condition:
            if not self._done_callbacks:  # type: ignore[attr-defined]
                self._publish()
                return
        self._shell.call_back(self._publish)

    def _publish(self) -> None:
        error, value = self._error, self._outcome
        self._error, self._outcome = None, NOTHING
        if error is None:
            self.set_result(value)
        else:
            self.set_exception(error)
        self._end()

    def _end(self) -> None:
        self._call.is_settled = True
        self._shell.wake(self._call)
