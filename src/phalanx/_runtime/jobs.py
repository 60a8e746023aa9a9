"""What the machine knows of one job: ranges of tasks, how large a batch should be, how often a task was tried."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil

from phalanx._base.limits import (
    POOL_BATCH_FLOOR_S,
    POOL_BATCH_GROWTH,
    POOL_BATCH_MAX_COUNT,
    POOL_BATCH_S,
)
from phalanx._runtime.events import Pace, Rules, Submitted

__all__ = ["Batch", "Job", "Range"]

BATCH_NS = POOL_BATCH_S * 1e9
FLOOR_NS = POOL_BATCH_FLOOR_S * 1e9


@dataclass(slots=True)
class Batch:
    """Tasks [next, stop) of a job, in flight; those before `next` are answered."""

    number: int
    job: "Job"
    start: int
    stop: int
    next: int
    posted_at: float
    is_watched: bool
    """Worth a look while it is in flight: it has several tasks, or a time limit."""


@dataclass(slots=True)
class Range:
    """Tasks that are to be sent (again); one by one where `is_single`."""

    start: int
    stop: int
    is_single: bool = False


@dataclass(slots=True)
class Job:
    """One job. Every task is unread, unsent, in `again`, delayed, in flight, or settled."""

    number: int
    supplied: int
    is_complete: bool
    chunk: int
    window: int
    pace: Pace
    rules: Rules
    sent: int = 0
    settled: int = 0
    consumed: int = 0
    growth: int = 1
    is_queued: bool = False
    again: deque[Range] = field(default_factory=deque)
    delayed: set[int] = field(default_factory=set)
    tries: dict[int, int] = field(default_factory=dict)
    batches: dict[int, Batch] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)

    @classmethod
    def from_event(cls, event: Submitted) -> "Job":
        job = cls(
            event.job, event.count, event.complete, event.chunk or 1, event.window, event.pace, event.rules
        )
        if event.pace.task_ns is not None:
            job.growth = max(1, int(BATCH_NS / max(event.pace.task_ns, 1.0)) // POOL_BATCH_GROWTH)
        return job

    @property
    def is_single(self) -> bool:
        """One task and no more to come."""
        return self.is_complete and self.supplied == 1

    @property
    def is_settled(self) -> bool:
        return self.is_complete and self.settled >= self.supplied

    @property
    def has_unsent(self) -> bool:
        return self.sent < self.supplied or bool(self.again)

    @property
    def first_needed(self) -> int:
        """The first task whose item may have to be sent (again)."""
        starts = [batch.next for batch in self.batches.values()]
        starts += [tasks.start for tasks in self.again]
        starts += self.delayed
        return min(starts, default=self.sent)

    def take(self, crew: int) -> Range | None:
        """The next tasks to be sent, as many as one batch should have; None when there are none."""
        if self.again:
            return self._take_again(crew)
        left = self.supplied - self.sent
        if left <= 0:
            return None
        start = self.sent
        self.sent += min(left, self._size(left, crew))
        return Range(start, self.sent)

    def _take_again(self, crew: int) -> Range:
        first = self.again[0]
        left = first.stop - first.start
        size = 1 if first.is_single else min(left, self._size(left, crew))
        if size >= left:
            return self.again.popleft()
        first.start += size
        return Range(first.start - size, first.start, first.is_single)

    def _size(self, left: int, crew: int) -> int:
        """Tasks for one batch: about BATCH_S of work, less where the rest must be spread over the crew."""
        if left == 1:
            return 1
        task_ns = self.pace.task_ns
        if task_ns is None:
            return self.chunk
        task_ns = max(task_ns, 1.0)
        wanted = min(BATCH_NS / task_ns, self.growth, POOL_BATCH_MAX_COUNT)
        fair = max(ceil(left / (2 * crew)), FLOOR_NS / task_ns)
        size = max(1, int(min(wanted, fair)))
        return max(self.chunk, size - size % self.chunk)

    def learn(self, count: int, elapsed_ns: int) -> None:
        """`count` tasks of this job took `elapsed_ns`."""
        self.pace.learn(elapsed_ns / count)
        self.growth = max(self.growth, count * POOL_BATCH_GROWTH)

    def is_tried_again(self, index: int, error: BaseException, *, by_exception: bool) -> bool:
        """Whether a task that failed with `error` is run once more; counts the try."""
        if self.rules.retries == 0 or (by_exception and not isinstance(error, self.rules.retry_on)):
            return False
        tries = self.tries.get(index, 0)
        if tries >= self.rules.retries:
            return False
        self.tries[index] = tries + 1
        return True

    def keep_for_cut(self, batch: Batch, position: int) -> int:
        """The first chunk border of the batch at or behind `position`."""
        over = (position - batch.start) % self.chunk
        return position if over == 0 else min(batch.stop, position + self.chunk - over)
