"""A process is killed at each named step of each lock, semaphore, condition, event and barrier: the others go on.

The steps, and what a death at each leaves behind, are in native/sync/README.md.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import pytest

import phalanx
from phalanx import _native
from phalanx._base.errors import OwnerDied
from phalanx.sharedctypes import RawArray
from phalanx.synchronize import Barrier, Condition, Event, Lock, RLock, Semaphore

LONG_S = 30.0
"""A bound for what must happen at once: it fails a test instead of hanging it."""

ROUNDS = 200

README = Path(__file__).parents[2] / "native" / "sync" / "README.md"


def start_doomed(point: str, work: Callable[..., object], *args: Any) -> Any:
    """A child that does `work` and is killed at `point` by the way."""
    process = phalanx.get_context("fork").Process(target=doomed, args=(point, work, *args))
    process.start()
    return process


def doomed(point: str, work: Callable[..., object], *args: Any) -> None:
    _native.set_kill_point(point)
    work(*args)


def expect_killed(process: Any) -> None:
    process.join(LONG_S)
    assert process.exitcode == -signal.SIGKILL
    process.close()


# -- locks ------------------------------------------------------------------------------------------------------------

LOCK_STEPS = [
    "lock.claimed",
    "lock.acquired",
    "lock.acquired:50",
    "lock.releasing",
    "lock.released",
    "lock.released:50",
]


def use(lock: Any) -> None:
    for _ in range(ROUNDS):
        try:
            lock.acquire()
        except OwnerDied:
            lock.recover()
        else:
            lock.release()


@pytest.mark.parametrize("point", LOCK_STEPS)
def test_lock(point: str) -> None:
    lock = Lock()
    process = start_doomed(point, use, lock)
    use(lock)
    expect_killed(process)
    use(lock)
    assert lock.acquire(timeout=LONG_S)


@pytest.mark.parametrize("point", [*LOCK_STEPS, "rlock.acquired", "rlock.releasing"])
def test_rlock(point: str) -> None:
    lock = RLock()
    process = start_doomed(point, use, lock)
    use(lock)
    expect_killed(process)
    use(lock)
    with lock, lock:
        assert repr(lock) == "<RLock(MainProcess, 2)>"


def test_lock_with_a_dead_waiter() -> None:
    lock = Lock()
    with lock:
        expect_killed(start_doomed("lock.waiting", lock.acquire))
    use(lock)
    assert lock.acquire(timeout=LONG_S)


@pytest.mark.parametrize(("choice", "point"), [("take", "lock.taken_over"), ("raise", "lock.recovering")])
def test_the_heir_dies_too(choice: str, point: str) -> None:
    lock = Lock(on_owner_death=choice)
    expect_killed(start_doomed("lock.acquired", lock.acquire))
    expect_killed(start_doomed(point, use, lock))
    use(lock)
    assert lock.acquire(timeout=LONG_S)


# -- semaphores -------------------------------------------------------------------------------------------------------


def take_and_give(semaphore: Semaphore) -> None:
    for _ in range(ROUNDS):
        semaphore.acquire()
        semaphore.release()


@pytest.mark.parametrize(("point", "left"), [("semaphore.acquired", 1), ("semaphore.released", 2)])
def test_semaphore(point: str, left: int) -> None:
    semaphore = Semaphore(2)
    expect_killed(start_doomed(point, take_and_give, semaphore))
    take_and_give(semaphore)
    assert semaphore.get_value() == left


def test_semaphore_with_a_dead_waiter() -> None:
    semaphore, alive = Semaphore(0), Semaphore(0)
    expect_killed(start_doomed("semaphore.waiting", semaphore.acquire))
    process = phalanx.get_context("fork").Process(target=answer, args=(semaphore, alive))
    process.start()
    for _ in range(ROUNDS):
        semaphore.release()
        assert alive.acquire(timeout=LONG_S)
    process.join(LONG_S)
    assert process.exitcode == 0
    process.close()


def answer(semaphore: Semaphore, alive: Semaphore) -> None:
    for _ in range(ROUNDS):
        semaphore.acquire()
        alive.release()


# -- conditions and events --------------------------------------------------------------------------------------------


def wait(condition: Condition) -> None:
    with condition:
        condition.wait()


def wait_and_tell(condition: Condition, ready: Semaphore, told: Semaphore) -> None:
    with condition:
        ready.release()
        condition.wait(LONG_S)
        told.release()


@pytest.mark.parametrize("point", ["condition.seated", "condition.waiting", "condition.woken"])
def test_condition_with_a_dead_waiter(point: str) -> None:
    lock = RLock(on_owner_death="take")
    condition, ready, told = Condition(lock), Semaphore(0), Semaphore(0)
    dead = start_doomed(point, wait, condition)
    if point == "condition.woken":
        while dead.is_alive():
            with condition:
                condition.notify()
    expect_killed(dead)
    process = phalanx.get_context("fork").Process(target=wait_and_tell, args=(condition, ready, told))
    process.start()
    assert ready.acquire(timeout=LONG_S)
    with condition:
        condition.notify()
    assert told.acquire(timeout=LONG_S)
    process.join(LONG_S)
    process.close()
    assert repr(condition) == "<Condition(<RLock(None, 0)>, 0)>"


def notify(condition: Condition, ready: Semaphore) -> None:
    ready.acquire()
    with condition:
        condition.notify()


def test_condition_with_a_dead_notifier() -> None:
    condition, ready = Condition(), Semaphore(0)
    process = start_doomed("condition.notified", notify, condition, ready)
    with pytest.raises(OwnerDied):
        wait_and_tell(condition, ready, Semaphore(0))
    expect_killed(process)


def test_event() -> None:
    event = Event()
    expect_killed(start_doomed("event.waiting", event.wait))
    process = start_doomed("event.set", event.set)
    assert event.wait(LONG_S)
    expect_killed(process)


# -- barriers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["barrier.guarded", "barrier.seated", "barrier.waiting"])
def test_barrier(point: str) -> None:
    barrier = Barrier(3)
    process = start_doomed(point, barrier.wait)
    if point == "barrier.guarded":  # it died before it was known to have come
        expect_killed(process)
        with pytest.raises(BrokenBarrierError):
            barrier.wait(LONG_S)
    else:
        with pytest.raises(BrokenBarrierError):
            barrier.wait(LONG_S)
        expect_killed(process)
    assert barrier.broken
    barrier.reset()
    processes = [phalanx.get_context("fork").Process(target=barrier.wait) for _ in range(2)]
    for one in processes:
        one.start()
    barrier.wait(LONG_S)
    for one in processes:
        one.join(LONG_S)
        assert one.exitcode == 0
        one.close()


def test_barrier_whose_last_dies_after_the_end() -> None:
    barrier = Barrier(2)
    process = start_doomed("barrier.turned", come_last, barrier)
    assert barrier.wait(LONG_S) == 0
    expect_killed(process)
    assert not barrier.broken


def come_last(barrier: Barrier) -> None:
    while barrier.n_waiting == 0:
        os.sched_yield()
    barrier.wait()


# -- any time ----------------------------------------------------------------------------------------------------------

KILLS = 30
WORKERS = 3


class Everything:
    """One of each, and what each worker has done so far."""

    def __init__(self) -> None:
        self.lock, self.rlock, self.condition_lock = Lock(), RLock(), RLock()
        self.condition, self.event = Condition(self.condition_lock), Event()
        self.semaphore, self.barrier = Semaphore(10 * KILLS), Barrier(2)
        self.done = RawArray("Q", WORKERS)

    def use_lock(self) -> None:
        with self.lock:
            pass

    def use_rlock(self) -> None:
        with self.rlock, self.rlock:
            pass

    def use_semaphore(self) -> None:
        if self.semaphore.acquire(timeout=LONG_S):
            self.semaphore.release()

    def use_condition(self) -> None:
        with self.condition:
            self.condition.notify()
            self.condition.wait(0.002)

    def use_event(self) -> None:
        self.event.set()
        self.event.wait(LONG_S)
        self.event.clear()

    def use_barrier(self) -> None:
        try:
            self.barrier.wait(0.002)
        except BrokenBarrierError:
            self.barrier.reset()

    def work(self, number: int) -> None:
        choose = random.Random(os.getpid()).choice
        uses = [use for name, use in vars(type(self)).items() if name.startswith("use_")]
        while True:
            try:
                choose(uses)(self)
            except OwnerDied:
                for lock in (self.lock, self.rlock, self.condition_lock):
                    lock.recover()
            self.done[number] += 1


def test_survivors_go_on_whenever_one_is_killed() -> None:
    everything = Everything()
    context = phalanx.get_context("fork")

    def start(number: int) -> Any:
        process = context.Process(target=everything.work, args=(number,))
        process.start()
        return process

    processes = [start(number) for number in range(WORKERS)]
    for kill in range(KILLS):
        wait_for_progress(everything)
        number = kill % WORKERS
        processes[number].kill()
        expect_killed(processes[number])
        processes[number] = start(number)
    for process in processes:
        process.kill()
        expect_killed(process)


def wait_for_progress(everything: Everything) -> None:
    before = list(everything.done)
    deadline = time.monotonic() + LONG_S
    while any(now < then + 20 for now, then in zip(everything.done, before, strict=True)):
        assert time.monotonic() < deadline, vars(everything)
        os.sched_yield()


# -- and that these are all -------------------------------------------------------------------------------------------


def test_each_named_step_is_tested() -> None:
    sources = (README.parent.glob("*.[ch]"), [Path(__file__)])
    in_core, in_tests = ("".join(path.read_text(encoding="utf-8") for path in paths) for paths in sources)
    steps = {line.split('"')[1] for line in in_core.splitlines() if 'phx_kill_point("' in line}
    described = README.read_text(encoding="utf-8")
    assert steps
    for step in steps:
        assert f'"{step}' in in_tests, step
        assert f"`{step}`" in described, step


def test_the_environment_names_a_step_for_every_start_method(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Lock()
    monkeypatch.setenv("PHALANX_KILL_AT", "lock.acquired")
    process = context.Process(target=acquire_with_environment, args=(lock,))
    process.start()
    expect_killed(process)
    with pytest.raises(OwnerDied):
        lock.acquire(timeout=LONG_S)


def acquire_with_environment(lock: Lock) -> None:
    _native.set_kill_point(os.environ["PHALANX_KILL_AT"])  # a forked child does not read it by itself
    lock.acquire()
