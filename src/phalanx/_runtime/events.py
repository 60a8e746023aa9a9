"""What can happen to a pool, and what can be done about it: plain data, no behaviour.

Indices are those of a job's tasks, ranges are [start, stop). `error` is whatever the shell wants to give to the caller.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

__all__ = [
    "Abandon",
    "Broke",
    "Cancelled",
    "CloseBatch",
    "Closed",
    "Command",
    "Consumed",
    "Cut",
    "CutBatch",
    "Dismiss",
    "Drained",
    "Ended",
    "Event",
    "Fail",
    "Held",
    "InitializerFailed",
    "Kill",
    "KillReason",
    "Looked",
    "Over",
    "Pace",
    "Peek",
    "Post",
    "Raised",
    "Ran",
    "Read",
    "Ready",
    "Repost",
    "Returned",
    "Rules",
    "Seen",
    "Settle",
    "StartFailed",
    "StartWorker",
    "Submitted",
    "Supplied",
    "Terminated",
    "Ticked",
    "Trim",
]


@dataclass(slots=True)
class Pace:
    """How long a task of one function takes, in nanoseconds: learned from its batches, shared by its jobs."""

    task_ns: float | None = None

    def learn(self, task_ns: float) -> None:
        self.task_ns = task_ns if self.task_ns is None else (self.task_ns + task_ns) / 2


@dataclass(slots=True, frozen=True)
class Rules:
    """What a job's tasks may do: seconds each may run, how often each is tried again, and after what."""

    timeout_s: float | None = None
    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = ()
    backoff_s: float = 0.0


PLAIN_RULES = Rules()


class KillReason(Enum):
    """Why a worker is ended."""

    TIMEOUT = auto()
    CANCEL = auto()
    TERMINATE = auto()
    GRACE_IS_OVER = auto()


# -- events ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Submitted:
    """A new job. `chunk` is 0 where the caller left it to us; `window` is 0 where all items are there already."""

    job: int
    count: int
    complete: bool
    pace: Pace
    chunk: int = 0
    window: int = 0
    rules: Rules = PLAIN_RULES


@dataclass(slots=True)
class Supplied:
    """The reader has `count` items in all now; `complete`: there will be no more."""

    job: int
    count: int
    complete: bool


@dataclass(slots=True)
class Consumed:
    """The consumer has taken `count` results in all now."""

    job: int
    count: int


@dataclass(slots=True)
class Ran:
    """Results of [start, stop) are there; `elapsed_ns` is the time they took, 0 where that is not known."""

    batch: int
    start: int
    stop: int
    elapsed_ns: int


@dataclass(slots=True)
class Raised:
    """The task `index` of a batch has failed; those before it have been reported."""

    batch: int
    index: int
    error: BaseException


@dataclass(slots=True)
class Cut:
    """The batch ends at `stop` now: the parent took its tail, or the worker gave it back."""

    batch: int
    stop: int


@dataclass(slots=True)
class Returned:
    """The batch could not be written or rebuilt as a whole: its tasks are sent again, one by one if `is_single`."""

    batch: int
    is_single: bool = True


@dataclass(slots=True)
class Cancelled:
    """The caller no longer wants the task; with `kill` also if it is running."""

    job: int
    index: int
    error: BaseException
    kill: bool = False


@dataclass(slots=True)
class Ready:
    """The worker's initializer is done."""

    worker: int


@dataclass(slots=True)
class InitializerFailed:
    """The worker's initializer raised; the worker ends now."""

    worker: int
    error: BaseException


@dataclass(slots=True)
class StartFailed:
    """The worker could not be started at all."""

    worker: int
    error: BaseException


@dataclass(slots=True)
class Held:
    """A batch that a dead worker had claimed.

    `is_running`: it was inside the task expected next; `is_rebuilding`: it was unpickling function and items.
    """

    batch: int
    is_running: bool
    is_rebuilding: bool = False


@dataclass(slots=True)
class Ended:
    """The worker's process has ended and all that it sent has been handled.

    `error` tells the death; `taken` are batches that were posted, that nobody has claimed, and whose record is gone.
    """

    worker: int
    error: BaseException
    held: tuple[Held, ...] = ()
    taken: tuple[int, ...] = ()


@dataclass(slots=True)
class Seen:
    """One row: `worker` is None while nobody has claimed it; `position` is the task to begin next."""

    batch: int
    worker: int | None
    position: int
    stop: int
    age_s: float


@dataclass(slots=True)
class Looked:
    """The rows of all batches in flight that are worth a look, and how many workers have nothing to do."""

    rows: tuple[Seen, ...]
    idle_count: int


@dataclass(slots=True)
class Ticked:
    """A deadline of the machine's has passed."""


@dataclass(slots=True)
class Closed:
    """No more jobs."""


@dataclass(slots=True)
class Drained:
    """Somebody joins a closed pool: lazily read jobs run to their end whether or not somebody consumes."""


@dataclass(slots=True)
class Terminated:
    """End everything; `error` is for whoever still waits."""

    error: BaseException


# -- commands --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Post:
    """Send tasks [start, stop) of the job as this batch."""

    batch: int
    job: int
    start: int
    stop: int


@dataclass(slots=True)
class Repost:
    """Send the record of a posted batch once more."""

    batch: int


@dataclass(slots=True)
class CloseBatch:
    """The batch is answered in full."""

    batch: int


@dataclass(slots=True)
class CutBatch:
    """Take the tasks from `keep` on away from the batch; answer with `Cut`."""

    batch: int
    keep: int


@dataclass(slots=True)
class Peek:
    """Read the results that the batch's worker has finished and not sent."""

    batch: int
    worker: int


@dataclass(slots=True)
class Fail:
    """The task has failed for good."""

    job: int
    index: int
    error: BaseException


@dataclass(slots=True)
class Settle:
    """Every task of the job is settled."""

    job: int


@dataclass(slots=True)
class Abandon:
    """The job ends here, with this error for everything in it that is not settled."""

    job: int
    error: BaseException


@dataclass(slots=True)
class Read:
    """The job's iterable may be read up to this many items in all."""

    job: int
    count: int


@dataclass(slots=True)
class Trim:
    """Items of the job before this index are not needed any more."""

    job: int
    index: int


@dataclass(slots=True)
class StartWorker:
    """Start a worker."""

    worker: int


@dataclass(slots=True)
class Kill:
    """Send the worker SIGTERM, or SIGKILL when its grace is over."""

    worker: int
    reason: KillReason


@dataclass(slots=True)
class Dismiss:
    """Put this many empty records: each makes one worker leave."""

    count: int


@dataclass(slots=True)
class Broke:
    """The pool can run nothing any more."""

    error: BaseException


@dataclass(slots=True)
class Over:
    """The last worker is gone, and so is the pool."""


Event: TypeAlias = (
    Submitted
    | Supplied
    | Consumed
    | Ran
    | Raised
    | Cut
    | Returned
    | Cancelled
    | Ready
    | InitializerFailed
    | StartFailed
    | Ended
    | Looked
    | Ticked
    | Closed
    | Drained
    | Terminated
)
Command: TypeAlias = (
    Post
    | Repost
    | CloseBatch
    | CutBatch
    | Peek
    | Fail
    | Settle
    | Abandon
    | Read
    | Trim
    | StartWorker
    | Kill
    | Dismiss
    | Broke
    | Over
)
