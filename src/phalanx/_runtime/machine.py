"""The pool's decisions, without I/O: `handle(event, now)` gives the commands that follow from an event.

The machine knows jobs as ranges of tasks, batches and workers by number; functions, items, results, processes and
channels are the shell's. The same events at the same times give the same commands, so a bug report is a list of events.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from phalanx._base.limits import (
    POOL_AHEAD_COUNT,
    POOL_GRACE_S,
    POOL_HISTORY_COUNT,
    POOL_LOOK_S,
    POOL_SINGLES_AHEAD_COUNT,
    POOL_START_PAUSE_S,
    POOL_START_PERIOD_S,
    POOL_START_TRIES_COUNT,
)
from phalanx._runtime import events as e
from phalanx._runtime.jobs import Batch, Job, Range

__all__ = ["ImpossibleError", "Machine", "PoolState", "WorkerState"]

NEVER = float("inf")


class PoolState(Enum):
    """What a pool is doing."""

    RUNNING = auto()
    CLOSING = auto()  # no more jobs, those that are there go on
    LEAVING = auto()  # no job is left, the workers have been dismissed
    ENDING = auto()  # terminated or broken: jobs are settled with an error, workers are being killed
    OVER = auto()


class WorkerState(Enum):
    """What a worker is doing, as far as the machine needs to know."""

    STARTING = auto()
    WORKING = auto()
    FAILED = auto()  # its initializer raised
    DOOMED = auto()  # told to end, because of its task or of the pool


POOL_TABLE: dict[tuple[PoolState, str], PoolState] = {
    (PoolState.RUNNING, "closed"): PoolState.CLOSING,
    (PoolState.CLOSING, "closed"): PoolState.CLOSING,
    (PoolState.LEAVING, "closed"): PoolState.LEAVING,
    (PoolState.ENDING, "closed"): PoolState.ENDING,
    (PoolState.OVER, "closed"): PoolState.OVER,
    (PoolState.CLOSING, "idle"): PoolState.LEAVING,
    (PoolState.RUNNING, "ended"): PoolState.ENDING,
    (PoolState.CLOSING, "ended"): PoolState.ENDING,
    (PoolState.LEAVING, "ended"): PoolState.ENDING,
    (PoolState.ENDING, "ended"): PoolState.ENDING,
    (PoolState.OVER, "ended"): PoolState.OVER,
    (PoolState.LEAVING, "empty"): PoolState.OVER,
    (PoolState.ENDING, "empty"): PoolState.OVER,
}

WORKER_TABLE: dict[tuple[WorkerState, str], WorkerState] = {
    (WorkerState.STARTING, "ready"): WorkerState.WORKING,
    (WorkerState.STARTING, "raised"): WorkerState.FAILED,
    (WorkerState.STARTING, "killed"): WorkerState.DOOMED,
    (WorkerState.WORKING, "killed"): WorkerState.DOOMED,
    (WorkerState.FAILED, "killed"): WorkerState.DOOMED,
    (WorkerState.DOOMED, "ready"): WorkerState.DOOMED,
    (WorkerState.DOOMED, "raised"): WorkerState.DOOMED,
    (WorkerState.DOOMED, "killed"): WorkerState.DOOMED,
}

REPLACING = (PoolState.RUNNING, PoolState.CLOSING)


class ImpossibleError(RuntimeError):
    """An event that cannot happen, or a state that cannot be: a bug of phalanx. Its text has the last events."""


@dataclass(slots=True)
class Worker:
    """One worker, from the command to start it to its end."""

    number: int
    state: WorkerState = WorkerState.STARTING
    error: BaseException | None = None
    """Of its initializer; or, of a doomed one, what its task is to fail with."""
    batch: int | None = None
    """Of a doomed one: the batch and the task it is ended for."""
    index: int = -1


class Machine:
    """The decisions of one pool of `size` workers."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.state = PoolState.RUNNING
        self.jobs: dict[int, Job] = {}
        self.batches: dict[int, Batch] = {}
        self.workers: dict[int, Worker] = {}
        self.history: deque[tuple[float, e.Event]] = deque(maxlen=POOL_HISTORY_COUNT)
        self.look_at: float | None = None
        self.error: BaseException | None = None
        self._now = 0.0
        self._is_draining = False
        self._watched_count = 0
        self._reading_count = 0  # jobs whose supply is not complete
        self._queue: deque[Job] = deque()
        self._delayed: list[tuple[float, int, int]] = []  # a heap: when, job, task
        self._tries: dict[int, dict[int, int]] = {}  # how often tasks have failed, by job
        self._cancelled: set[tuple[int, int]] = set()  # job, task
        self._grace: dict[int, float] = {}  # when a doomed worker's time is over
        self._starts: deque[float] = deque()  # when a worker is to be started again
        self._failures: deque[float] = deque()  # when a worker failed to start
        self._last_worker = 0
        self._last_batch = 0
        self._commands: list[e.Command] = []

    # -- the door ----------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[e.Command]:
        """The commands that start the crew."""
        self._now = now
        self._commands = []
        for _ in range(self.size):
            self._start_worker()
        return self._commands

    def handle(self, event: e.Event, now: float) -> list[e.Command]:
        """What is to be done about an event, in this order. Raises ImpossibleError for one that cannot happen."""
        kind = type(event)
        self.history.append((now, _without_error(event) if kind in WITH_ERROR else event))
        self._now = now
        commands = self._commands = []
        HANDLERS[kind](self, event)
        return commands

    @property
    def deadline(self) -> float | None:
        """When `Ticked` (or, at `look_at`, `Looked`) is due, if nothing else happens before."""
        if not (self._grace or self._delayed or self._starts):
            return self.look_at
        times = list(self._grace.values())
        if self.look_at is not None:
            times.append(self.look_at)
        if self._delayed:
            times.append(self._delayed[0][0])
        if self._starts:
            times.append(self._starts[0])
        return min(times) if times else None

    @property
    def needs_collector(self) -> bool:
        """Whether the pool comes to a halt unless somebody collects: not while only single tasks are in flight."""
        return (
            self._watched_count > 0
            or bool(self._queue)
            or self.deadline is not None
            or (self.state is not PoolState.RUNNING and bool(self.workers))
            or self._reading_count > 0
        )

    # -- jobs --------------------------------------------------------------------------------------------------------

    def _on_submitted(self, event: e.Submitted) -> None:
        if self.state is not PoolState.RUNNING:
            self._emit(e.Abandon(event.job, self.error or RuntimeError("Pool not running")))
            return
        job = self.jobs[event.job] = Job(event)
        if not job.is_complete:
            self._reading_count += 1
            self._emit(e.Read(job.number, job.window))
        if job.is_single and not self._queue and len(self.batches) < POOL_SINGLES_AHEAD_COUNT:
            job.sent = 1
            self._post(job, 0, 1)
        elif job.supplied:
            self._enqueue(job)
        elif job.is_complete:
            self._settle_if_done(job)

    def _on_supplied(self, event: e.Supplied) -> None:
        job = self.jobs.get(event.job)
        if job is None:
            return
        job.supplied = event.count
        if event.complete and not job.is_complete:
            job.is_complete = True
            self._reading_count -= 1
        self._enqueue(job)
        self._settle_if_done(job)

    def _on_consumed(self, event: e.Consumed) -> None:
        job = self.jobs.get(event.job)
        if job is None or job.is_complete:
            return
        job.consumed = event.count
        self._read_on(job)
        self._emit(e.Trim(job.number, self._first_needed(job)))

    def _first_needed(self, job: Job) -> int:
        """The first task whose item may have to be sent (again)."""
        starts = [batch.next for batch in self.batches.values() if batch.job is job]
        starts += [tasks.start for tasks in job.again or ()]
        starts += [index for _, number, index in self._delayed if number == job.number]
        return min(starts, default=job.sent)

    def _read_on(self, job: Job) -> None:
        """Let the reader go on: a window ahead of the consumer, or, where nobody waits for one, of the workers."""
        ahead_of = max(job.consumed, job.settled) if self._is_draining else job.consumed
        self._emit(e.Read(job.number, ahead_of + job.window))

    def _enqueue(self, job: Job, *, first: bool = False) -> None:
        if not job.is_queued and job.has_unsent:
            job.is_queued = True
            if first:
                self._queue.appendleft(job)
            else:
                self._queue.append(job)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue and self.state in REPLACING:
            job = self._queue[0]
            ahead = POOL_SINGLES_AHEAD_COUNT if job.is_single else POOL_AHEAD_COUNT * self.size
            if len(self.batches) >= ahead:
                return
            tasks = job.take(self.size)
            if tasks is None:
                self._queue.popleft()
                job.is_queued = False
            else:
                self._post(job, tasks.start, tasks.stop)

    def _post(self, job: Job, start: int, stop: int) -> None:
        self._last_batch = number = self._last_batch + 1
        is_watched = stop - start > 1 or job.rules.timeout_s is not None
        self.batches[number] = Batch(number, job, start, stop, start, self._now, is_watched)
        if is_watched:
            self._watched_count += 1
            self._look_soon()
        self._commands.append(e.Post(number, job.number, start, stop))

    def _settle_if_done(self, job: Job) -> None:
        if job.is_complete and job.settled >= job.supplied and self.jobs.pop(job.number, None) is not None:
            if self._tries or self._cancelled:
                self._forget(job)
            self._commands.append(e.Settle(job.number))
            if self.state is PoolState.CLOSING:
                self._leave_if_idle()

    def _forget(self, job: Job) -> None:
        """The job has ended: so has what was noted of its tasks."""
        self._tries.pop(job.number, None)
        self._cancelled = {each for each in self._cancelled if each[0] != job.number}

    # -- answers -----------------------------------------------------------------------------------------------------

    def _on_ran(self, event: e.Ran) -> None:
        batch = self._batch(event.batch)
        start, stop = event.start, event.stop
        if not batch.next == start <= stop <= batch.stop:
            raise self._impossible(f"results of [{start}, {stop}) for {batch}")
        job = batch.job
        batch.next = stop
        job.settled += stop - start
        if event.elapsed_ns and stop > start:
            job.learn(stop - start, event.elapsed_ns)
        self._advance(batch)

    def _on_raised(self, event: e.Raised) -> None:
        batch = self._batch(event.batch)
        if event.index != batch.next:
            raise self._impossible(f"task {event.index} failed, {batch.next} was expected")
        batch.next += 1
        self._fail(batch.job, event.index, event.error, by_exception=True)
        self._advance(batch)

    def _on_cut(self, event: e.Cut) -> None:
        batch = self._batch(event.batch)
        if not batch.next <= event.stop <= batch.stop:
            raise self._impossible(f"{batch} was cut at {event.stop}")
        tail = Range(event.stop, batch.stop)
        batch.stop = event.stop
        self._send_again(batch.job, tail)
        self._advance(batch)

    def _on_returned(self, event: e.Returned) -> None:
        batch = self._batch(event.batch)
        rest = Range(batch.next, batch.stop, event.is_single)
        batch.stop = batch.next
        self._send_again(batch.job, rest)
        self._advance(batch)

    def _advance(self, batch: Batch) -> None:
        """Something has changed in a batch: close it if it is answered, post what there is room for now."""
        if batch.next >= batch.stop:
            self._close(batch)
        elif self._watched_count:
            self._look_soon()
        if self._is_draining and not batch.job.is_complete:
            self._read_on(batch.job)
        if self._queue:
            self._dispatch()
        self._settle_if_done(batch.job)

    def _close(self, batch: Batch) -> None:
        del self.batches[batch.number]
        self._watched_count -= batch.is_watched
        self._commands.append(e.CloseBatch(batch.number))

    def _send_again(self, job: Job, tasks: Range) -> None:
        if tasks.start < tasks.stop:
            job.send_again(tasks)
            self._enqueue(job, first=True)

    def _fail(self, job: Job, index: int, error: BaseException, *, by_exception: bool) -> None:
        """A task has failed: it is tried again, or settled with the error."""
        if job.rules.retries and self._is_tried_again(job, index, error, by_exception=by_exception):
            self._try_again(job, index)
        else:
            job.settled += 1
            self._emit(e.Fail(job.number, index, error))

    def _is_tried_again(self, job: Job, index: int, error: BaseException, *, by_exception: bool) -> bool:
        if (job.number, index) in self._cancelled or (by_exception and not isinstance(error, job.rules.retry_on)):
            return False
        tries = self._tries.setdefault(job.number, {})
        tries[index] = tries.get(index, 0) + 1
        return tries[index] <= job.rules.retries

    def _try_again(self, job: Job, index: int) -> None:
        pause_s = job.rules.backoff_s * 2 ** (self._tries[job.number][index] - 1)
        if pause_s > 0:
            job.delayed_count += 1
            heapq.heappush(self._delayed, (self._now + pause_s, job.number, index))
        else:
            self._send_again(job, Range(index, index + 1, is_single=True))

    def _on_cancelled(self, event: e.Cancelled) -> None:
        """Only single tasks: those that wait in the machine settle at once, a running one on request."""
        job = self.jobs.get(event.job)
        if job is None:
            return
        self._cancelled.add((event.job, event.index))
        if not any(batch.job is job for batch in self.batches.values()):
            self._abandon(job, event.error)

    # -- workers -----------------------------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        self._last_worker += 1
        self.workers[self._last_worker] = Worker(self._last_worker)
        self._emit(e.StartWorker(self._last_worker))

    def _move(self, worker: Worker, happening: str) -> None:
        state = WORKER_TABLE.get((worker.state, happening))
        if state is None:
            raise self._impossible(f"worker {worker.number} is {worker.state.name} and {happening}")
        worker.state = state

    def _on_ready(self, event: e.Ready) -> None:
        self._move(self._worker(event.worker), "ready")
        self._failures.clear()  # it can be done: whoever failed was unlucky

    def _on_initializer_failed(self, event: e.InitializerFailed) -> None:
        worker = self._worker(event.worker)
        self._move(worker, "raised")
        if worker.state is WorkerState.FAILED:
            worker.error = event.error

    def _on_start_failed(self, event: e.StartFailed) -> None:
        self._worker(event.worker)
        del self.workers[event.worker]
        self._replace_failed(event.error)

    def _on_ended(self, event: e.Ended) -> None:
        worker = self._worker(event.worker)
        del self.workers[event.worker]
        self._grace.pop(event.worker, None)
        for held in event.held:
            self._take_back(worker, held, event.error)
        for number in event.taken:
            if number in self.batches:
                self._emit(e.Repost(number))
        if worker.state in (WorkerState.STARTING, WorkerState.FAILED):
            self._replace_failed(worker.error or event.error)
        else:
            self._replace()

    def _take_back(self, worker: Worker, held: e.Held, error: BaseException) -> None:
        """A dead worker's batch: the task that ran has died with it, the rest is sent again."""
        batch = self.batches.get(held.batch)
        if batch is None:
            return
        job = batch.job
        # Who dies of rebuilding several tasks dies of one of them: which, shows when they are sent one by one.
        is_single = held.is_rebuilding and batch.stop - batch.next > 1
        if (held.is_running or (held.is_rebuilding and not is_single)) and batch.next < batch.stop:
            index = batch.next
            batch.next += 1
            if worker.batch == batch.number and worker.index == index and worker.error is not None:
                self._fail(job, index, worker.error, by_exception=False)
            elif worker.batch is not None:  # ended for another task that it had just left: this one is innocent
                self._send_again(job, Range(index, index + 1, is_single=True))
            else:
                self._fail(job, index, error, by_exception=False)
        rest = Range(batch.next, batch.stop, is_single)
        batch.stop = batch.next
        self._send_again(job, rest)
        self._advance(batch)

    def _replace(self) -> None:
        missing = self.size - len(self.workers) - len(self._starts)
        if self.state is PoolState.RUNNING or (self.state is PoolState.CLOSING and self.jobs):
            for _ in range(missing):
                self._start_worker()
        self._over_if_empty()

    def _replace_failed(self, error: BaseException) -> None:
        """A worker did not come to work: start another after a pause, or give up when that happens too often."""
        while self._failures and self._failures[0] < self._now - POOL_START_PERIOD_S:
            self._failures.popleft()
        self._failures.append(self._now)
        if self.state not in REPLACING:
            self._over_if_empty()
        elif len(self._failures) >= self.size + POOL_START_TRIES_COUNT - 1:
            self._break(error)
        else:
            self._starts.append(self._now + POOL_START_PAUSE_S)

    def _kill(self, worker: Worker, reason: e.KillReason) -> None:
        self._move(worker, "killed")
        if worker.number not in self._grace:
            self._grace[worker.number] = self._now + POOL_GRACE_S
            self._emit(e.Kill(worker.number, reason))

    # -- looking at the rows -----------------------------------------------------------------------------------------

    def _look_soon(self) -> None:
        if self.look_at is None:
            self.look_at = self._now + POOL_LOOK_S

    def _on_looked(self, event: e.Looked) -> None:
        self.look_at = None
        idle = 0 if self._queue or any(row.worker is None for row in event.rows) else event.idle_count
        next_look = NEVER
        for row in event.rows:
            batch = self.batches.get(row.batch)
            if batch is None:
                continue
            if row.worker is None:
                next_look = min(next_look, self._watch_posted(batch))
                continue
            if row.age_s >= POOL_LOOK_S and row.position - 1 > batch.next:
                self._emit(e.Peek(batch.number, row.worker))
            idle -= self._cut_tail(batch, row, idle)
            next_look = min(next_look, self._watch_running(batch, row))
        if next_look < NEVER:
            self.look_at = self._now + next_look

    def _watch_posted(self, batch: Batch) -> float:
        """A batch that nobody has claimed has a time limit to come."""
        return POOL_LOOK_S * 10 if batch.job.rules.timeout_s is not None else NEVER

    def _watch_running(self, batch: Batch, row: e.Seen) -> float:
        """Seconds to the next look at a batch that a worker has; a task whose time is over is ended here."""
        timeout_s = batch.job.rules.timeout_s
        is_running = row.position > batch.next
        if timeout_s is not None and is_running and row.worker is not None:
            if row.age_s >= timeout_s:
                self._time_out(batch, row.worker, row.position - 1, timeout_s)
                return NEVER
            return min(timeout_s - row.age_s, POOL_LOOK_S) if row.age_s < POOL_LOOK_S else timeout_s - row.age_s
        return POOL_LOOK_S if row.age_s < POOL_LOOK_S else NEVER

    def _time_out(self, batch: Batch, number: int, index: int, timeout_s: float) -> None:
        from phalanx._base.errors import TaskTimeout

        worker = self.workers.get(number)
        if worker is None or worker.state is WorkerState.DOOMED:
            return
        worker.batch, worker.index = batch.number, index
        worker.error = TaskTimeout(f"task {index} has run longer than its timeout of {timeout_s:g} s")
        self._kill(worker, e.KillReason.TIMEOUT)

    def _cut_tail(self, batch: Batch, row: e.Seen, idle: int) -> int:
        """Take the tail of a batch for idle workers; how many of them it serves."""
        is_slow = row.age_s >= POOL_LOOK_S
        if idle <= 0 or (not is_slow and self._now - batch.posted_at < 2 * POOL_LOOK_S):
            return 0
        left = row.stop - row.position
        keep = batch.job.keep_for_cut(batch, row.position if is_slow else row.position + left // 2)
        taken = row.stop - keep
        if taken <= 0:
            return 0
        self._emit(e.CutBatch(batch.number, keep))
        return min(idle, taken)

    # -- time --------------------------------------------------------------------------------------------------------

    def _on_ticked(self, event: e.Ticked) -> None:
        while self._delayed and self._delayed[0][0] <= self._now:
            _, number, index = heapq.heappop(self._delayed)
            job = self.jobs.get(number)
            if job is not None:
                job.delayed_count -= 1
                self._send_again(job, Range(index, index + 1, is_single=True))
        for number in [number for number, at in self._grace.items() if at <= self._now]:
            self._grace[number] = self._now + POOL_GRACE_S
            self._emit(e.Kill(number, e.KillReason.GRACE_IS_OVER))
        while self._starts and self._starts[0] <= self._now:
            self._starts.popleft()
            if len(self.workers) + len(self._starts) < self.size and self.state in REPLACING:
                self._start_worker()

    # -- the end -----------------------------------------------------------------------------------------------------

    def _change(self, happening: str) -> None:
        state = POOL_TABLE.get((self.state, happening))
        if state is None:
            raise self._impossible(f"the pool is {self.state.name} and {happening}")
        self.state = state

    def _on_closed(self, event: e.Closed) -> None:
        self._change("closed")
        self._leave_if_idle()

    def _on_drained(self, event: e.Drained) -> None:
        self._is_draining = True
        for job in self.jobs.values():
            if not job.is_complete:
                self._read_on(job)

    def _leave_if_idle(self) -> None:
        if self.state is PoolState.CLOSING and not self.jobs:
            self._change("idle")
            self._starts.clear()
            self._emit(e.Dismiss(len(self.workers)))
            self._over_if_empty()

    def _over_if_empty(self) -> None:
        if self.state in (PoolState.LEAVING, PoolState.ENDING) and not self.workers:
            self._change("empty")
            self._emit(e.Over())

    def _on_terminated(self, event: e.Terminated) -> None:
        if self.state is not PoolState.OVER:
            self._end(event.error)

    def _break(self, error: BaseException) -> None:
        self._emit(e.Broke(error))
        self._end(error)

    def _end(self, error: BaseException) -> None:
        self.error = self.error or error
        self._change("ended")
        self._starts.clear()
        for job in list(self.jobs.values()):
            self._abandon(job, error)
        for worker in list(self.workers.values()):
            self._kill(worker, e.KillReason.TERMINATE)
        self._over_if_empty()

    def _abandon(self, job: Job, error: BaseException) -> None:
        del self.jobs[job.number]
        self._reading_count -= not job.is_complete
        for batch in [batch for batch in self.batches.values() if batch.job is job]:
            self._close(batch)
        if job.is_queued:
            self._queue.remove(job)
            job.is_queued = False
        self._forget(job)
        self._emit(e.Abandon(job.number, error))
        self._leave_if_idle()

    # -- what must hold ----------------------------------------------------------------------------------------------

    def _emit(self, command: e.Command) -> None:
        self._commands.append(command)

    def _batch(self, number: int) -> Batch:
        batch = self.batches.get(number)
        if batch is None:
            raise self._impossible(f"batch {number} is not in flight")
        return batch

    def _worker(self, number: int) -> Worker:
        worker = self.workers.get(number)
        if worker is None:
            raise self._impossible(f"there is no worker {number}")
        return worker

    def _impossible(self, what: str) -> ImpossibleError:
        story = "\n".join(f"  {at:.6f} {event}" for at, event in self.history)
        return ImpossibleError(f"{what}; the last events of the pool:\n{story}")

    def validate(self) -> None:
        """Raise ImpossibleError unless every task of every job is in exactly one place."""
        for job in self.jobs.values():
            self._validate_job(job)
        watched = sum(batch.is_watched for batch in self.batches.values())
        if watched != self._watched_count:
            raise self._impossible(f"{watched} batches are watched, {self._watched_count} were counted")
        if self._reading_count != sum(not job.is_complete for job in self.jobs.values()):
            raise self._impossible(f"{self._reading_count} jobs are being read")
        if any(batch.job is not self.jobs.get(batch.job.number) for batch in self.batches.values()):
            raise self._impossible("a batch belongs to no job")
        if self.state is PoolState.OVER and (self.jobs or self.workers or self.batches):
            raise self._impossible("the pool is over and not empty")

    def _validate_job(self, job: Job) -> None:
        in_flight = sum(batch.stop - batch.next for batch in self.batches.values() if batch.job is job)
        again = sum(tasks.stop - tasks.start for tasks in job.again or ())
        placed = job.settled + in_flight + again + job.delayed_count
        if placed != job.sent:
            raise self._impossible(f"job {job.number}: {job.sent} tasks were sent, {placed} are somewhere")
        if job.is_queued != (job in self._queue):
            raise self._impossible(f"job {job.number} is not where it says")
        if job.has_unsent and not job.is_queued:
            raise self._impossible(f"job {job.number} waits for nobody")


def _without_error(event: Any) -> e.Event:
    """For the history: an exception keeps alive the frames it went through, and so the caller's objects."""
    return replace(event, error=RuntimeError(repr(event.error)))  # type: ignore[no-any-return]


WITH_ERROR = frozenset((e.Raised, e.Cancelled, e.InitializerFailed, e.StartFailed, e.Ended, e.Terminated))

HANDLERS: dict[type, Callable[[Machine, Any], None]] = {
    e.Submitted: Machine._on_submitted,
    e.Supplied: Machine._on_supplied,
    e.Consumed: Machine._on_consumed,
    e.Ran: Machine._on_ran,
    e.Raised: Machine._on_raised,
    e.Cut: Machine._on_cut,
    e.Returned: Machine._on_returned,
    e.Cancelled: Machine._on_cancelled,
    e.Ready: Machine._on_ready,
    e.InitializerFailed: Machine._on_initializer_failed,
    e.StartFailed: Machine._on_start_failed,
    e.Ended: Machine._on_ended,
    e.Looked: Machine._on_looked,
    e.Ticked: Machine._on_ticked,
    e.Closed: Machine._on_closed,
    e.Drained: Machine._on_drained,
    e.Terminated: Machine._on_terminated,
}
