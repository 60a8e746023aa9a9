"""What the machine knows of one job: ranges of tasks, how large a batch should be, how often a task was tried."""

from collections import deque
from dataclasses import dataclass
from math import ceil

from phalanx._base.limits import (
    POOL_BATCH_FLOOR_S,
    POOL_BATCH_GROWTH,
    POOL_BATCH_MAX_COUNT,
    POOL_BATCH_S,
)
from phalanx._runtime.events import Submitted

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


class Job:
    """One job. Every task is unread, unsent, in `again`, delayed, in flight, or settled."""

    __slots__ = (
        "again",
        "chunk",
        "consumed",
        "delayed_count",
        "growth",
        "is_complete",
        "is_queued",
        "number",
        "pace",
        "rules",
        "sent",
        "settled",
        "supplied",
        "window",
    )

    def __init__(self, event: Submitted) -> None:
        self.number = event.job
        self.supplied = event.count  # items that are there
        self.is_complete = event.complete  # and there will be no more
        self.chunk = event.chunk or 1
        self.window = event.window
        self.pace = event.pace
        self.rules = event.rules
        self.sent = 0  # tasks that have been in a batch
        self.settled = 0
        self.consumed = 0  # results that the consumer has taken
        self.delayed_count = 0  # tasks that wait for the pause before their next try to pass
        task_ns = event.pace.task_ns
        self.growth = 1 if task_ns is None else int(BATCH_NS / POOL_BATCH_GROWTH / (task_ns + 1.0)) + 1
        self.is_queued = False
        self.again: deque[Range] | None = None  # tasks that were sent and have to be sent again; first in the queue

    @property
    def is_single(self) -> bool:
        """One task and no more to come."""
        return self.supplied == 1 and self.is_complete

    @property
    def is_settled(self) -> bool:
        return self.is_complete and self.settled >= self.supplied

    @property
    def has_unsent(self) -> bool:
        return self.sent < self.supplied or bool(self.again)

    def send_again(self, tasks: Range) -> None:
        if self.again is None:
            self.again = deque()
        self.again.append(tasks)

    def take(self, crew: int) -> Range | None:
        """The next tasks to be sent, as many as one batch should have; None when there are none."""
        if self.again:
            return self._take_again(self.again, crew)
        start, left = self.sent, self.supplied - self.sent
        if left <= 0:
            return None
        self.sent += min(left, self._size(left, crew))
        return Range(start, self.sent)

    def _take_again(self, again: deque[Range], crew: int) -> Range:
        first = again[0]
        left = first.stop - first.start
        size = 1 if first.is_single else min(left, self._size(left, crew))
        if size >= left:
            return again.popleft()
        first.start += size
        return Range(first.start - size, first.start, first.is_single)

    def _size(self, left: int, crew: int) -> int:
        """Tasks for one batch: about BATCH_S of work, less where the rest must be spread over the crew."""
        task_ns = self.pace.task_ns
        if left == 1 or task_ns is None:
            return self.chunk
        task_ns = max(task_ns, 1.0)
        wanted = min(BATCH_NS / task_ns, self.growth, POOL_BATCH_MAX_COUNT)
        fair = max(ceil(left / (2 * crew)), FLOOR_NS / task_ns)
        size = max(1, int(min(wanted, fair)))
        return max(self.chunk, size - size % self.chunk)

    def learn(self, count: int, elapsed_ns: int) -> None:
        """`count` tasks of this job took `elapsed_ns`."""
        self.pace.learn(elapsed_ns / count)
        if count * POOL_BATCH_GROWTH > self.growth:
            self.growth = count * POOL_BATCH_GROWTH

    def keep_for_cut(self, batch: Batch, position: int) -> int:
        """The first chunk border of the batch at or behind `position`."""
        over = (position - batch.start) % self.chunk
        return position if over == 0 else min(batch.stop, position + self.chunk - over)
