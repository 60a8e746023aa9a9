"""The pool's machine with what executors need besides: it grows, gives tasks back, and may break when a worker dies."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phalanx._runtime import events as e
from phalanx._runtime.machine import REPLACING, Machine, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from phalanx._runtime.jobs import Job, Range

__all__ = ["ExecutorMachine", "Grown", "TakenBack"]


@dataclass(slots=True)
class Grown:
    """The crew is to have `size` workers."""

    size: int


@dataclass(slots=True)
class TakenBack:
    """Nobody wants those tasks of the job any more that have not begun: they fail with CancelledError."""

    job: int
    is_handled: bool = False


class ExecutorMachine(Machine):
    """`breaks`: a worker that dies takes everything with it, as with the stdlib's executor."""

    def __init__(self, size: int, *, breaks: bool) -> None:
        super().__init__(size)
        self._breaks = breaks
        self.broken_by: BaseException | None = None
        self._unwanted: set[int] = set()  # jobs that were taken back

    def handle(self, event: Any, now: float) -> list[e.Command]:
        own = OWN_HANDLERS.get(type(event))
        if own is None:
            if self._breaks and type(event) is e.Ended and self._is_loss(event):
                return self._after_loss(event, now)
            return super().handle(event, now)
        self.history.append((now, event))
        self._now = now
        commands = self._commands = []
        own(self, event)
        return commands

    # -- growing -----------------------------------------------------------------------------------------------------

    def _on_grown(self, event: Grown) -> None:
        self.size = event.size
        if self.state in REPLACING:
            for _ in range(self.size - len(self.workers) - len(self._starts)):
                self._start_worker()
            self._dispatch()

    # -- breaking ----------------------------------------------------------------------------------------------------

    def _is_loss(self, event: e.Ended) -> bool:
        """Whether the worker ended neither because it was told to nor because it had run as many tasks as it may."""
        worker = self._worker(event.worker)
        if self.state not in REPLACING or worker.state not in (WorkerState.STARTING, WorkerState.WORKING):
            return False
        return getattr(event.error, "exitcode", None) != 0 or any(
            held.is_running or held.is_rebuilding for held in event.held
        )

    def _after_loss(self, event: e.Ended, now: float) -> list[e.Command]:
        self._now = now
        self._commands = []
        self._break(event.error)
        first = self._commands
        return first + super().handle(event, now)

    def _break(self, error: BaseException) -> None:
        self.broken_by = error
        super()._break(error)

    def _replace_failed(self, error: BaseException) -> None:
        if self._breaks and self.state in REPLACING:
            self._break(error)
        super()._replace_failed(error)

    # -- taking back -------------------------------------------------------------------------------------------------

    def _on_taken_back(self, event: TakenBack) -> None:
        event.is_handled = True
        job = self.jobs.get(event.job)
        if job is None:
            return
        self._unwanted.add(job.number)
        self._take_back_unsent(job)
        for batch in [batch for batch in self.batches.values() if batch.job is job]:
            self._emit(e.CutBatch(batch.number, batch.next))
        self._settle_if_done(job)

    def _take_back_unsent(self, job: Job) -> None:
        again, job.again = list(job.again or ()), None
        for tasks in again:
            self._cancel(job, tasks.start, tasks.stop)
        unsent, job.sent = job.sent, job.supplied
        self._cancel(job, unsent, job.supplied)
        if job.is_queued:
            self._queue.remove(job)
            job.is_queued = False

    def _cancel(self, job: Job, start: int, stop: int) -> None:
        for index in range(start, stop):
            job.settled += 1
            self._emit(e.Fail(job.number, index, CancelledError()))

    def _send_again(self, job: Job, tasks: Range) -> None:
        if job.number in self._unwanted:
            self._cancel(job, tasks.start, tasks.stop)
            self._settle_if_done(job)
        else:
            super()._send_again(job, tasks)

    def _forget(self, job: Job) -> None:
        self._unwanted.discard(job.number)
        super()._forget(job)


OWN_HANDLERS: dict[type, Callable[[ExecutorMachine, Any], None]] = {
    Grown: ExecutorMachine._on_grown,
    TakenBack: ExecutorMachine._on_taken_back,
}
