"""The pool's machine against a simulated crew: whatever happens in whatever order, each task is settled once."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from phalanx._base.errors import TaskTimeout
from phalanx._base.limits import POOL_BATCH_S, POOL_LOOK_S, POOL_SINGLES_AHEAD_COUNT, POOL_START_TRIES_COUNT
from phalanx._runtime import events as e
from phalanx._runtime.machine import HANDLERS, ImpossibleError, Machine, PoolState
from phalanx._runtime.shell import DEEDS

FAST_NS = 1000
"""What a task of the simulation takes."""


@dataclass
class SimulatedBatch:
    """A batch as the shell and a worker know it: its row, its record."""

    job: int
    start: int
    stop: int
    next: int
    worker: int | None = None
    position: int = 0
    """The task to begin next; `position - 1` is running if it is not below `next`."""


@dataclass
class Crew:
    """A shell and a crew without processes: obeys the machine, and notes what it is told."""

    machine: Machine
    now: float = 0.0
    channel: deque[int | None] = field(default_factory=deque)
    batches: dict[int, SimulatedBatch] = field(default_factory=dict)
    workers: dict[int, str] = field(default_factory=dict)
    settled: Counter[tuple[int, int]] = field(default_factory=Counter)
    failed: dict[tuple[int, int], BaseException] = field(default_factory=dict)
    ended_jobs: Counter[int] = field(default_factory=Counter)
    allowed: dict[int, int] = field(default_factory=dict)
    trimmed: dict[int, int] = field(default_factory=dict)
    killed: set[int] = field(default_factory=set)
    is_over: bool = False
    error: BaseException | None = None

    def tell(self, event: e.Event) -> None:
        events = deque([event])
        while events:
            for command in self.machine.handle(events.popleft(), self.now):
                self.obey(command, events)

    def obey(self, command: Any, events: deque[e.Event]) -> None:  # noqa: C901  # one case a command
        match command:
            case e.Post(number, job, start, stop):
                assert start < stop
                self.batches[number] = SimulatedBatch(job, start, stop, start, position=start)
                self.channel.append(number)
            case e.Repost(number):
                self.channel.append(number)
            case e.CloseBatch(number):
                del self.batches[number]
            case e.CutBatch(number, keep):
                batch = self.batches[number]
                batch.stop = min(batch.stop, max(batch.position, keep))
                events.appendleft(e.Cut(number, batch.stop))
            case e.Fail(job, index, error):
                self.settled[job, index] += 1
                self.failed[job, index] = error
            case e.Settle(job) | e.Abandon(job, _):
                self.ended_jobs[job] += 1
            case e.Read(job, count):
                self.allowed[job] = max(self.allowed.get(job, 0), count)
            case e.Trim(job, index):
                self.trimmed[job] = index
            case e.StartWorker(number):
                self.workers[number] = "starting"
            case e.Kill(number, _):
                self.killed.add(number)
            case e.Dismiss(count):
                self.channel.extend([None] * count)
            case e.Broke(error):
                self.error = error
            case e.Over():
                self.is_over = True

    # -- what workers do ---------------------------------------------------------------------------------------------

    def make_ready(self, number: int) -> None:
        self.workers[number] = "idle"
        self.tell(e.Ready(number))

    def take(self, number: int) -> None:
        """An idle worker takes a record; a copy of one that was claimed, or that is closed, it drops."""
        record = self.channel.popleft()
        if record is None:
            del self.workers[number]
            self.tell(e.Ended(number, RuntimeError("dismissed")))
            return
        batch = self.batches.get(record)
        if batch is not None and batch.worker is None:
            batch.worker = number
            self.workers[number] = "busy"

    def batch_of(self, number: int) -> tuple[int, SimulatedBatch] | None:
        return next(((n, batch) for n, batch in self.batches.items() if batch.worker == number), None)

    def run(self, number: int, count: int, *, raises: bool) -> None:
        """A busy worker runs some tasks of its batch and answers; the last one may raise."""
        found = self.batch_of(number)
        if found is None:  # its batch was abandoned
            self.workers[number] = "idle"
            return
        name, batch = found
        stop = min(batch.stop, batch.next + count)
        good = stop - 1 if raises and stop > batch.next else stop
        batch.position = stop
        for index in range(batch.next, good):
            self.settled[batch.job, index] += 1
        if stop == batch.stop:
            self.workers[number] = "idle"
        start, batch.next = batch.next, stop
        if good > start:
            self.tell(e.Ran(name, start, good, (good - start) * FAST_NS))
        if good < stop:
            self.tell(e.Raised(name, good, KeyError(good)))

    def die(self, number: int, *, is_running: bool, error: BaseException) -> None:
        """A worker dies, inside a task or between two, or with a record that it has not claimed."""
        held = []
        found = self.batch_of(number)
        if found is not None:
            name, batch = found
            if is_running and batch.position < batch.stop:
                batch.position += 1
            held.append(e.Held(name, batch.position > batch.next))
        del self.workers[number]
        gone = set(self.batches) - {n for n in self.channel if n is not None}
        taken = tuple(n for n in gone if self.batches[n].worker is None)
        self.tell(e.Ended(number, error, tuple(held), taken))

    def look(self, age_s: float) -> None:
        rows = tuple(e.Seen(n, b.worker, b.position, b.stop, age_s) for n, b in self.batches.items())
        idle = sum(state == "idle" for state in self.workers.values())
        self.tell(e.Looked(rows, idle))

    def work_until_over(self) -> None:
        """Let everybody do what there is to do."""
        for _ in range(100_000):
            if self.is_over or (not self.machine.jobs and self.machine.state is PoolState.RUNNING):
                return
            self.now += 1.0
            if self.machine.deadline is not None and self.machine.deadline <= self.now:
                self.tell(e.Ticked())
            for number, state in list(self.workers.items()):
                if number in self.killed:
                    self.die(number, is_running=False, error=RuntimeError("killed"))
                elif state == "starting":
                    self.make_ready(number)
                elif state == "busy":
                    self.run(number, 1 << 30, raises=False)
                elif self.channel:
                    self.take(number)
        raise AssertionError("the pool does not come to an end")


def start_crew(size: int) -> Crew:
    crew = Crew(Machine(size))
    for command in crew.machine.start(0.0):
        crew.obey(command, deque())
    return crew


def ready_crew(size: int) -> Crew:
    crew = start_crew(size)
    for number in list(crew.workers):
        crew.make_ready(number)
    return crew


def submit(crew: Crew, job: int, count: int, **more: Any) -> None:
    crew.tell(e.Submitted(job, count, more.pop("complete", True), more.pop("pace", e.Pace()), **more))


# -- everything, in any order -----------------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Jobs come, workers run, raise, die, are looked at; time passes."""

    @initialize(size=st.integers(1, 4))
    def start(self, size: int) -> None:
        self.crew = start_crew(size)
        self.counts: dict[int, int] = {}
        self.lazy: dict[int, int] = {}  # job: items supplied
        self.chunks: dict[int, int] = {}

    @property
    def is_running(self) -> bool:
        return self.crew.machine.state is PoolState.RUNNING

    @precondition(lambda self: self.is_running)
    @rule(
        count=st.integers(0, 40),
        chunk=st.integers(0, 5),
        retries=st.integers(0, 2),
        backoff=st.sampled_from([0.0, 0.5]),
    )
    def submit(self, count: int, chunk: int, retries: int, backoff: float) -> None:
        job = len(self.counts) + 1
        self.counts[job] = count
        rules = e.Rules(retries=retries, retry_on=(KeyError,), backoff_s=backoff)
        submit(self.crew, job, count, chunk=chunk, rules=rules)

    @precondition(lambda self: self.is_running)
    @rule(window=st.integers(1, 8), chunk=st.integers(0, 3))
    def submit_lazy(self, window: int, chunk: int) -> None:
        job = len(self.counts) + 1
        self.counts[job] = self.lazy[job] = 0
        self.chunks[job] = chunk or 1
        submit(self.crew, job, 0, complete=False, chunk=chunk, window=max(window, chunk))

    @precondition(lambda self: self.lazy)
    @rule(data=st.data(), chunks=st.integers(0, 4), complete=st.booleans())
    def supply(self, data: st.DataObject, chunks: int, complete: bool) -> None:
        job = data.draw(st.sampled_from(sorted(self.lazy)))
        allowed = self.crew.allowed[job]
        count = min(self.lazy[job] + chunks * self.chunks[job], max(self.lazy[job], allowed))
        self.lazy[job] = self.counts[job] = count
        self.crew.tell(e.Supplied(job, count, complete))
        if complete:
            del self.lazy[job]

    @precondition(lambda self: self.lazy)
    @rule(data=st.data())
    def consume(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.lazy)))
        done = sum(number for (j, _), number in self.crew.settled.items() if j == job)
        self.crew.tell(e.Consumed(job, done))
        needed = [batch.next for batch in self.crew.batches.values() if batch.job == job]
        assert self.crew.trimmed[job] <= min(needed, default=self.lazy[job])

    def one(self, data: st.DataObject, *states: str) -> int | None:
        numbers = sorted(n for n, state in self.crew.workers.items() if state in states)
        return data.draw(st.sampled_from(numbers)) if numbers else None

    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        number = self.one(data, "starting")
        if number is not None:
            self.crew.make_ready(number)

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        number = self.one(data, "idle")
        if number is not None and self.crew.channel:
            self.crew.take(number)

    @rule(data=st.data(), count=st.integers(1, 8), raises=st.booleans())
    def run(self, data: st.DataObject, count: int, raises: bool) -> None:
        number = self.one(data, "busy")
        if number is not None:
            self.crew.run(number, count, raises=raises)

    @rule(data=st.data(), is_running=st.booleans(), has_record=st.booleans())
    def die(self, data: st.DataObject, is_running: bool, has_record: bool) -> None:
        number = self.one(data, "idle", "busy")
        if number is not None:
            channel = self.crew.channel
            if has_record and self.crew.workers[number] == "idle" and channel and channel[0] is not None:
                channel.popleft()
            self.crew.die(number, is_running=is_running, error=RuntimeError("died"))

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        number = self.one(data, "busy")
        found = None if number is None else self.crew.batch_of(number)
        if number is not None and found is not None:
            name, batch = found
            batch.stop = batch.position
            self.crew.workers[number] = "idle"
            self.crew.tell(e.Cut(name, batch.stop))

    @rule(data=st.data())
    def return_whole(self, data: st.DataObject) -> None:
        number = self.one(data, "busy")
        found = None if number is None else self.crew.batch_of(number)
        if number is not None and found is not None and found[1].next == found[1].start:
            self.crew.workers[number] = "idle"
            self.crew.tell(e.Returned(found[0]))

    @rule(age_s=st.sampled_from([0.0, POOL_LOOK_S, 1.0]))
    def look(self, age_s: float) -> None:
        self.crew.look(age_s)

    @rule(seconds=st.sampled_from([0.0, 0.01, 1.0]))
    def pass_time(self, seconds: float) -> None:
        self.crew.now += seconds
        self.crew.tell(e.Ticked())

    @invariant()
    def nothing_is_missing(self) -> None:
        if hasattr(self, "crew"):
            self.crew.machine.validate()
            assert not self.crew.settled or max(self.crew.settled.values()) == 1

    def teardown(self) -> None:
        if not hasattr(self, "crew"):
            return
        for job, count in self.lazy.items():
            self.crew.tell(e.Supplied(job, count, complete=True))
        self.crew.tell(e.Closed())
        self.crew.work_until_over()
        self.crew.machine.validate()
        assert self.crew.is_over
        expected = {(job, index) for job, count in self.counts.items() for index in range(count)}
        assert set(self.crew.settled) == expected
        assert max(self.crew.settled.values(), default=1) == 1
        assert self.crew.ended_jobs == Counter(self.counts.keys())


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


# -- tables are whole ------------------------------------------------------------------------------------------------


def test_every_event_has_a_handler_and_every_command_a_deed() -> None:
    assert set(HANDLERS) == set(e.Event.__args__)  # type: ignore[attr-defined]
    assert set(DEEDS) == set(e.Command.__args__)  # type: ignore[attr-defined]


def test_an_impossible_event_tells_the_story() -> None:
    crew = ready_crew(1)
    submit(crew, 7, 1)
    with pytest.raises(ImpossibleError, match=r"batch 99 is not in flight(.|\n)*Submitted\(job=7") as caught:
        crew.tell(e.Ran(99, 0, 1, 0))
    assert "Ready(worker=1)" in str(caught.value)


def test_results_out_of_order_are_impossible() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 3, chunk=3)
    with pytest.raises(ImpossibleError, match=r"results of \[1, 2\)"):
        crew.tell(e.Ran(1, 1, 2, 0))


# -- batches ----------------------------------------------------------------------------------------------------------


def sizes(crew: Crew) -> list[int]:
    return [batch.stop - batch.start for batch in crew.batches.values()]


def test_batches_of_an_unknown_function_begin_with_one_task() -> None:
    crew = ready_crew(2)
    submit(crew, 1, 10_000)
    assert sizes(crew) == [1] * 6


def test_batches_grow_to_the_time_that_they_should_take() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 1_000_000)
    for _ in range(30):
        crew.take(1)
        crew.run(1, 1 << 30, raises=False)
    assert max(sizes(crew)) == POOL_BATCH_S * 1e9 / FAST_NS


def test_batches_of_slow_tasks_stay_small() -> None:
    crew = ready_crew(2)
    submit(crew, 1, 1000, pace=e.Pace(task_ns=1e9))
    assert sizes(crew) == [1] * 6


def test_chunks_stay_whole() -> None:
    crew = ready_crew(2)
    submit(crew, 1, 1000, chunk=7, pace=e.Pace(task_ns=FAST_NS))
    while crew.channel:
        for batch in crew.batches.values():
            assert batch.start % 7 == 0
            assert batch.stop % 7 == 0 or batch.stop == 1000
        crew.take(1)
        crew.run(1, 1 << 30, raises=False)
    assert len(crew.settled) == 1000


def test_the_last_tasks_are_spread() -> None:
    crew = ready_crew(2)
    submit(crew, 1, 8, pace=e.Pace(task_ns=POOL_BATCH_S * 1e9 / 100))
    assert max(sizes(crew)) <= 10  # not above the floor, whatever is left


def test_single_tasks_are_sent_at_once_up_to_a_bound() -> None:
    crew = ready_crew(1)
    for job in range(POOL_SINGLES_AHEAD_COUNT + 5):
        submit(crew, job, 1)
    assert len(crew.batches) == POOL_SINGLES_AHEAD_COUNT
    assert crew.machine.needs_collector
    crew.take(1)
    crew.run(1, 1, raises=False)
    assert len(crew.batches) == POOL_SINGLES_AHEAD_COUNT


def test_jobs_are_sent_in_their_order() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 100, pace=e.Pace(task_ns=1e9))
    submit(crew, 2, 1)
    assert {batch.job for batch in crew.batches.values()} == {1}


# -- lazily read jobs -------------------------------------------------------------------------------------------------


def test_an_iterable_is_read_a_window_ahead_of_the_consumer() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 0, complete=False, window=10)
    assert crew.allowed[1] == 10
    crew.tell(e.Consumed(1, 4))
    assert crew.allowed[1] == 14


def test_joining_lifts_the_window_as_far_as_tasks_are_settled() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 0, complete=False, window=10)
    crew.tell(e.Supplied(1, 10, complete=False))
    crew.tell(e.Closed())
    crew.tell(e.Drained())
    assert crew.allowed[1] == 10
    crew.take(1)
    crew.run(1, 1, raises=False)
    assert crew.allowed[1] == 11


# -- deaths -----------------------------------------------------------------------------------------------------------


def test_a_death_costs_the_task_that_ran_and_nothing_else() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 10, chunk=10)
    crew.take(1)
    crew.run(1, 3, raises=False)
    death = RuntimeError("died")
    crew.die(1, is_running=True, error=death)
    assert crew.failed == {(1, 3): death}
    crew.work_until_over()
    assert crew.settled == Counter({(1, index): 1 for index in range(10)})


def test_a_death_between_two_tasks_costs_nothing() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 10, chunk=10)
    crew.take(1)
    crew.run(1, 3, raises=False)
    crew.die(1, is_running=False, error=RuntimeError())
    crew.work_until_over()
    assert not crew.failed


def test_a_death_while_several_tasks_are_rebuilt_has_them_sent_one_by_one() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 3, chunk=3)
    crew.take(1)
    crew.tell(e.Ended(1, RuntimeError(), (e.Held(1, is_running=False, is_rebuilding=True),)))
    assert sorted((batch.start, batch.stop) for batch in crew.batches.values()) == [(0, 1), (1, 2), (2, 3)]
    assert not crew.failed


def test_a_death_while_one_task_is_rebuilt_costs_it() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 1)
    crew.take(1)
    death = RuntimeError()
    crew.tell(e.Ended(1, death, (e.Held(1, is_running=False, is_rebuilding=True),)))
    assert crew.failed == {(1, 0): death}


def test_a_record_that_died_with_its_taker_is_sent_again() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 1)
    crew.channel.popleft()
    crew.die(1, is_running=False, error=RuntimeError())
    assert list(crew.channel) == [1]


def test_a_dead_worker_is_replaced() -> None:
    crew = ready_crew(2)
    crew.die(1, is_running=False, error=RuntimeError())
    assert crew.workers == {2: "idle", 3: "starting"}


def test_a_task_is_tried_again_as_often_as_asked() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 1, rules=e.Rules(retries=2))
    for number in (1, 2, 3):
        crew.take(number)
        assert not crew.failed
        crew.die(number, is_running=True, error=RuntimeError())
        crew.make_ready(number + 1)
    assert set(crew.failed) == {(1, 0)}


def test_only_listed_exceptions_are_tried_again() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 1, rules=e.Rules(retries=5, retry_on=(OSError,)))
    crew.take(1)
    crew.run(1, 1, raises=True)
    assert set(crew.failed) == {(1, 0)}


def test_the_pause_between_two_tries_doubles() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 1, rules=e.Rules(retries=2, retry_on=(KeyError,), backoff_s=1.0))
    pauses = []
    for _ in range(2):
        crew.take(1)
        crew.run(1, 1, raises=True)
        assert crew.machine.deadline is not None
        pauses.append(crew.machine.deadline - crew.now)
        crew.now = crew.machine.deadline
        crew.tell(e.Ticked())
    assert pauses == [1.0, 2.0]


# -- slow tasks -------------------------------------------------------------------------------------------------------


def slow_batch() -> Crew:
    """A batch of ten in the hands of worker 1, which is in its fourth task and has sent nothing; worker 2 is idle."""
    crew = ready_crew(2)
    submit(crew, 1, 10, chunk=10)
    crew.take(1)
    crew.batches[1].position = 4
    crew.machine.jobs[1].chunk = 1
    return crew


def test_what_is_stuck_behind_a_slow_task_goes_to_the_idle() -> None:
    crew = slow_batch()
    crew.look(age_s=1.0)
    assert crew.batches[1].stop == 4
    crew.take(2)
    assert crew.batch_of(2) == (2, SimulatedBatch(1, 4, 5, 4, 2, 4))
    crew.run(2, 1, raises=False)
    assert crew.settled[1, 4] == 1


def test_what_is_stuck_before_a_slow_task_is_fetched() -> None:
    crew = slow_batch()
    commands = crew.machine.handle(e.Looked((e.Seen(1, 1, 4, 10, 1.0),), 0), 0.0)
    assert commands == [e.Peek(1, 1)]


def test_nothing_is_taken_while_nobody_is_idle() -> None:
    crew = slow_batch()
    crew.workers[2] = "busy"
    commands = crew.machine.handle(e.Looked((e.Seen(1, 1, 1, 10, 1.0),), 0), 0.0)
    assert commands == []


def test_looking_ends_when_there_is_nothing_to_gain() -> None:
    crew = slow_batch()
    assert crew.machine.look_at is not None
    crew.machine.handle(e.Looked((e.Seen(1, 1, 1, 1, 1.0),), 1), 0.0)
    assert crew.machine.look_at is None


def test_a_task_past_its_timeout_ends_its_worker_and_fails_alone() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 3, chunk=3, rules=e.Rules(timeout_s=2.0))
    crew.take(1)
    crew.batches[1].position = 1
    crew.look(age_s=1.9)
    assert not crew.killed
    crew.look(age_s=2.0)
    assert crew.killed == {1}
    crew.die(1, is_running=False, error=RuntimeError())
    assert set(crew.failed) == {(1, 0)}
    assert isinstance(crew.failed[1, 0], TaskTimeout)
    crew.work_until_over()
    assert len(crew.settled) == 3


def test_a_task_that_began_while_its_worker_was_ended_for_another_is_innocent() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 3, chunk=3, rules=e.Rules(timeout_s=2.0))
    crew.take(1)
    crew.batches[1].position = 1
    crew.look(age_s=2.0)
    crew.run(1, 1, raises=False)  # it ends in time after all
    crew.die(1, is_running=True, error=RuntimeError())
    crew.work_until_over()
    assert not crew.failed


def test_a_worker_that_does_not_end_is_killed_harder() -> None:
    crew = ready_crew(1)
    crew.tell(e.Terminated(RuntimeError()))
    assert crew.machine.deadline is not None
    crew.now = crew.machine.deadline
    commands = crew.machine.handle(e.Ticked(), crew.now)
    assert commands == [e.Kill(1, e.KillReason.GRACE_IS_OVER)]


# -- the crew's start and the pool's end ------------------------------------------------------------------------------


def test_an_initializer_that_keeps_failing_breaks_the_pool() -> None:
    crew = start_crew(2)
    submit(crew, 1, 5)
    failures = 0
    while crew.error is None:
        number = next(iter(crew.workers), None)
        if number is None:
            crew.now += 1.0
            crew.tell(e.Ticked())
            continue
        failures += 1
        crew.tell(e.InitializerFailed(number, KeyError(failures)))
        crew.die(number, is_running=False, error=RuntimeError())
    assert failures == 2 + POOL_START_TRIES_COUNT - 1
    assert isinstance(crew.error, KeyError)
    assert crew.ended_jobs == {1: 1}


def test_a_crash_in_the_initializer_breaks_the_pool_too() -> None:
    crew = start_crew(1)
    while crew.error is None:
        for number in list(crew.workers):
            crew.die(number, is_running=False, error=OSError("crashed"))
        crew.now += 1.0
        crew.tell(e.Ticked())
    assert isinstance(crew.error, OSError)
    assert crew.is_over


def test_one_that_starts_well_clears_the_others() -> None:
    crew = start_crew(2)
    for _ in range(20):
        dying, living = sorted(crew.workers)[-2:]
        crew.die(dying, is_running=False, error=OSError())
        crew.make_ready(living)
        crew.die(living, is_running=False, error=OSError())
        crew.now += 0.1
        crew.tell(e.Ticked())
    assert crew.error is None


def test_failures_long_ago_do_not_count() -> None:
    crew = start_crew(1)
    for _ in range(20):
        for number in list(crew.workers):
            crew.die(number, is_running=False, error=OSError())
        crew.now += 100.0
        crew.tell(e.Ticked())
    assert crew.error is None
    assert len(crew.workers) == 1


def test_close_lets_jobs_finish_then_dismisses_all() -> None:
    crew = ready_crew(2)
    submit(crew, 1, 20)
    crew.tell(e.Closed())
    assert None not in crew.channel
    crew.work_until_over()
    assert len(crew.settled) == 20
    assert crew.is_over


def test_terminate_abandons_every_job() -> None:
    crew = ready_crew(2)
    submit(crew, 1, 20)
    submit(crew, 2, 1)
    crew.tell(e.Terminated(RuntimeError("ended")))
    assert crew.ended_jobs == {1: 1, 2: 1}
    assert crew.killed == {1, 2}
    assert not crew.batches
    crew.work_until_over()
    assert crew.is_over


def test_a_job_after_the_end_is_abandoned() -> None:
    crew = ready_crew(1)
    crew.tell(e.Terminated(RuntimeError("ended")))
    submit(crew, 1, 1)
    assert crew.ended_jobs == {1: 1}


def test_history_keeps_no_exception_alive() -> None:
    crew = ready_crew(1)
    submit(crew, 1, 1)
    crew.take(1)
    error = KeyError("kept?")
    crew.tell(e.Raised(1, 0, error))
    assert all(getattr(event, "error", None) is not error for _, event in crew.machine.history)
    assert "kept?" in str(crew.machine._impossible("x"))
