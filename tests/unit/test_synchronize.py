"""Locks, semaphores, conditions, events and barriers: in one process, between threads, and between processes."""

import os
import pickle
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BrokenBarrierError
from typing import Any

import pytest

from phalanx import _native, synchronize
from phalanx._base.errors import OwnerDied
from phalanx.synchronize import (
    SEM_VALUE_MAX,
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
)

LONG_S = 30.0
"""A bound for what must happen at once: it fails a test instead of hanging it."""

SHORT_S = 0.02
"""How long a wait lasts that must end with its timeout."""

both_locks = pytest.mark.parametrize("kind", [Lock, RLock])
waitable = pytest.mark.parametrize("kind", [Lock, RLock, Semaphore, BoundedSemaphore])


class Interrupted(Exception):
    pass


@contextmanager
def interrupting(raises: bool = True) -> Iterator[list[int]]:
    """Signals for this thread until its handler has run once; the list has an item from then on."""
    runs: list[int] = []

    def handler(number: int, frame: Any) -> None:
        runs.append(number)
        if raises and len(runs) == 1:
            raise Interrupted

    def send() -> None:
        while not runs and not over.wait(0.005):
            os.kill(os.getpid(), signal.SIGUSR1)

    over = threading.Event()
    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield runs
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def running(target: Any, *args: Any) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=target, args=args)
    thread.start()
    yield thread
    thread.join(LONG_S)
    assert not thread.is_alive()


def run_in_child(context: Any, target: Any, *args: Any) -> int:
    process = context.Process(target=target, args=args)
    process.start()
    process.join(LONG_S)
    assert process.exitcode is not None
    exitcode: int = process.exitcode
    process.close()
    return exitcode


def die_holding(lock: Any) -> None:
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


# -- what locks and semaphores have in common --------------------------------------------------------------------------


@waitable
def test_acquire_and_release(kind: Any) -> None:
    lock = kind()
    assert not lock.locked()
    assert lock.acquire() is True
    assert lock.locked()
    assert lock.release() is None
    with lock as entered:
        assert entered is True
        assert lock.locked()
    assert not lock.locked()


@waitable
def test_waits_end(kind: Any) -> None:
    lock = kind()
    with running(lock.acquire) as thread:
        thread.join()
        for arguments in ((False,), (False, None), (False, LONG_S), (True, 0), (True, -1), (True, SHORT_S), (1, 0.0)):
            assert lock.acquire(*arguments) is False
        assert lock.acquire(block=False) is False
        assert lock.acquire(timeout=SHORT_S) is False
        assert lock.acquire(block=True, timeout=-5.0) is False
        assert lock.acquire(False, timeout=None) is False


@waitable
def test_wrong_arguments(kind: Any) -> None:
    lock = kind()
    for arguments, keywords in (((1, 2, 3), {}), ((), {"foo": 1}), ((True, "x"), {}), ((), {"timeout": "x"})):
        with pytest.raises(TypeError):
            lock.acquire(*arguments, **keywords)
    assert not lock.locked()
    with pytest.raises(TypeError):
        lock.release(1)
    with pytest.raises(TypeError):
        kind(foo=1)


@waitable
def test_context_is_accepted(kind: Any) -> None:
    assert not kind(ctx=object()).locked()


@waitable
def test_only_handed_over(kind: Any) -> None:
    with pytest.raises(RuntimeError, match="objects should only be shared between processes through inheritance"):
        pickle.dumps(kind())


@waitable
def test_subclass(kind: Any) -> None:
    class Own(kind):  # type: ignore[misc]
        def __init__(self, label: str) -> None:
            super().__init__()
            self.label = label

    own = Own("mine")
    with own:
        assert own.label == "mine"
    assert repr(own).startswith("<Own(")
    assert isinstance(own, synchronize.SemLock)
    assert weakref.ref(own)() is own


@waitable
def test_a_handler_that_raises_ends_the_wait(kind: Any) -> None:
    lock = kind()
    with running(lock.acquire) as thread:
        thread.join()
        with interrupting(), pytest.raises(Interrupted):
            lock.acquire()


@waitable
def test_a_handler_that_returns_does_not(kind: Any) -> None:
    lock, handled, held = kind(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            handled.wait(LONG_S)

    with running(hold):
        held.wait(LONG_S)
        with interrupting(raises=False) as runs, running(lambda: (wait_for_item(runs), handled.set())):
            assert lock.acquire(timeout=LONG_S)


def wait_for_item(items: list[int]) -> None:
    while not items:
        threading.Event().wait(0.001)


class Counter:
    """A count in the arena that is right only if increments never overlap."""

    def __init__(self) -> None:
        self.block = _native.Block(8)

    def increment(self) -> None:
        with memoryview(self.block).cast("q") as view:
            value = view[0]
            view[0] = value + 1

    def value(self) -> int:
        with memoryview(self.block).cast("q") as view:
            return int(view[0])


def count(lock: Any, counter: Counter, rounds: int) -> None:
    for _ in range(rounds):
        with lock:
            counter.increment()


@waitable
def test_excludes_processes(kind: Any, context: Any) -> None:
    lock, counter = kind(), Counter()
    processes = [context.Process(target=count, args=(lock, counter, 500)) for _ in range(2)]
    for process in processes:
        process.start()
    count(lock, counter, 500)
    for process in processes:
        process.join()
        assert process.exitcode == 0
        process.close()
    assert counter.value() == 1500


# -- Lock and RLock ------------------------------------------------------------------------------------------------------


def test_lock_is_released_once() -> None:
    lock = Lock()
    with pytest.raises(ValueError, match="semaphore or lock released too many times"):
        lock.release()
    lock.acquire()
    lock.release()
    with pytest.raises(ValueError, match="semaphore or lock released too many times"):
        lock.release()


def test_lock_is_released_by_anybody(context: Any) -> None:
    lock = Lock()
    lock.acquire()
    assert run_in_child(context, lock.release) == 0
    assert lock.acquire(timeout=LONG_S)


def test_rlock_is_its_threads() -> None:
    lock = RLock()
    with pytest.raises(AssertionError, match="attempt to release recursive lock not owned by thread"):
        lock.release()
    with lock, lock:
        with running(fail_to_release, lock):
            pass
    assert not lock.locked()


def fail_to_release(lock: RLock) -> None:
    expect_not_acquired(lock)
    with pytest.raises(AssertionError, match="not owned by thread"):
        lock.release()


@both_locks
def test_a_fork_does_not_inherit_the_holding(kind: Any, context: Any) -> None:
    lock = kind()
    with lock:
        assert run_in_child(context, expect_locked, lock) == 0


def expect_locked(lock: Any) -> None:
    assert lock.acquire(False) is False
    assert repr(lock) in ("<Lock(owner=SomeOtherProcess)>", "<RLock(SomeOtherProcess, nonzero)>")


def test_the_end_of_a_thread_is_no_death() -> None:
    for lock in (Lock(), RLock()):
        with running(lock.acquire):
            pass
        assert lock.acquire(timeout=SHORT_S) is False
        with running(expect_not_acquired, lock):
            pass


def expect_not_acquired(lock: Any) -> None:
    assert lock.acquire(False) is False


@both_locks
def test_owner_died(kind: Any, context: Any) -> None:
    lock = kind()
    assert run_in_child(context, die_holding, lock) == -signal.SIGKILL
    for arguments in ((), (False,), (True, SHORT_S), (True, LONG_S)):
        with pytest.raises(OwnerDied, match="recover"):
            lock.acquire(*arguments)
    with pytest.raises(OwnerDied), lock:
        pass
    assert lock.locked()
    lock.recover()
    lock.recover()
    assert not lock.locked()
    with lock:
        lock.recover()
        assert lock.locked()


@both_locks
def test_owner_died_unreaped(kind: Any) -> None:
    """A zombie is dead, although its pid still answers."""
    lock = kind()
    pid = os.fork()
    if pid == 0:
        lock.acquire()
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(OwnerDied):
            lock.acquire(timeout=LONG_S)
    finally:
        os.waitpid(pid, 0)
        _native.slot_end(_native.slot_of_last_fork())


@both_locks
def test_owner_death_takes_or_waits(kind: Any, context: Any) -> None:
    lock = kind(on_owner_death="take")
    assert run_in_child(context, die_holding, lock) == -signal.SIGKILL
    with lock:
        pass
    lock = kind(on_owner_death="wait")
    assert run_in_child(context, die_holding, lock) == -signal.SIGKILL
    assert lock.acquire(False) is False
    assert lock.acquire(timeout=SHORT_S) is False
    lock.recover()
    with lock:
        pass
    with pytest.raises(ValueError, match="on_owner_death"):
        kind(on_owner_death="cry")


def test_a_sleeper_learns_of_the_death(context: Any) -> None:
    lock, held = Lock(), Event()
    process = context.Process(target=hold_for_ever, args=(lock, held))
    process.start()
    assert held.wait(LONG_S)
    with running(process.kill):
        pytest.raises(OwnerDied, lock.acquire, timeout=LONG_S)
    process.join()
    process.close()


def hold_for_ever(lock: Lock, held: Event) -> None:
    lock.acquire()
    held.set()
    signal.pause()


def test_lock_repr() -> None:
    lock = Lock()
    assert repr(lock) == "<Lock(owner=None)>"
    with lock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
    texts: list[str] = []
    thread = threading.Thread(target=lambda: (lock.acquire(), texts.append(repr(lock))), name="T1")
    thread.start()
    thread.join()
    assert texts == ["<Lock(owner=MainProcess|T1)>"]
    assert repr(lock) == "<Lock(owner=SomeOtherThread)>"


def test_rlock_repr() -> None:
    lock = RLock()
    assert repr(lock) == "<RLock(None, 0)>"
    with lock, lock:
        assert repr(lock) == "<RLock(MainProcess, 2)>"
    with running(lock.acquire):
        pass
    assert repr(lock) == "<RLock(SomeOtherThread, nonzero)>"


# -- semaphores ----------------------------------------------------------------------------------------------------------


def test_semaphore_values() -> None:
    semaphore = Semaphore(2)
    assert semaphore.get_value() == 2
    semaphore.acquire()
    semaphore.acquire()
    assert semaphore.get_value() == 0
    assert semaphore.acquire(False) is False
    for value in (1, 2, 3):
        semaphore.release()
        assert semaphore.get_value() == value
    assert repr(semaphore) == "<Semaphore(value=3)>"


def test_bounded_semaphore_is_bounded() -> None:
    semaphore = BoundedSemaphore(2)
    assert repr(semaphore) == "<BoundedSemaphore(value=2, maxvalue=2)>"
    with semaphore:
        assert semaphore.get_value() == 1
    with pytest.raises(ValueError, match="semaphore or lock released too many times"):
        semaphore.release()
    assert semaphore.get_value() == 2


@pytest.mark.parametrize("kind", [Semaphore, BoundedSemaphore])
def test_semaphore_limits(kind: Any) -> None:
    semaphore = kind(SEM_VALUE_MAX)
    with pytest.raises(ValueError, match="too many times"):
        semaphore.release()
    assert semaphore.get_value() == SEM_VALUE_MAX == 2**31 - 1
    with pytest.raises(OSError, match="Invalid argument"):
        kind(-1)
    with pytest.raises(OverflowError):
        kind(SEM_VALUE_MAX + 1)
    with pytest.raises(TypeError):
        kind("x")


def answer(ping: Semaphore, pong: Semaphore, rounds: int) -> None:
    for _ in range(rounds):
        ping.acquire()
        pong.release()


def test_semaphore_hands_over(context: Any) -> None:
    ping, pong, rounds = Semaphore(0), Semaphore(0), 300
    process = context.Process(target=answer, args=(ping, pong, rounds))
    process.start()
    for _ in range(rounds):
        ping.release()
        assert pong.acquire(timeout=LONG_S)
    process.join()
    assert process.exitcode == 0
    process.close()


# -- Condition -----------------------------------------------------------------------------------------------------------

any_lock = pytest.mark.parametrize("make_lock", [Lock, RLock])


def waiting(condition: Condition) -> int:
    return int(repr(condition).rpartition(" ")[2].rstrip(")>"))


def until_waiting(condition: Condition, count: int) -> None:
    while True:
        with condition:
            if waiting(condition) == count:
                return


def wait_and_append(condition: Condition, results: list[bool], timeout: float = LONG_S) -> None:
    with condition:
        results.append(condition.wait(timeout))


@contextmanager
def waiters(condition: Condition, count: int) -> Iterator[list[bool]]:
    results: list[bool] = []
    threads = [threading.Thread(target=wait_and_append, args=(condition, results)) for _ in range(count)]
    for thread in threads:
        thread.start()
    until_waiting(condition, count)
    yield results
    for thread in threads:
        thread.join(LONG_S)
        assert not thread.is_alive()


@any_lock
def test_condition_needs_its_lock(make_lock: Any) -> None:
    condition = Condition(make_lock())
    with pytest.raises(AssertionError, match=r"must acquire\(\) condition before using wait\(\)"):
        condition.wait()
    with pytest.raises(AssertionError, match="lock is not owned"):
        condition.notify()
    with pytest.raises(AssertionError, match="lock is not owned"):
        condition.notify_all()
    with running(condition.acquire):
        pass
    with pytest.raises(AssertionError, match="must acquire"):
        condition.wait(0)


def test_condition_takes_only_locks() -> None:
    with pytest.raises(AttributeError, match="'int' object has no attribute 'acquire'"):
        Condition(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lock must be a Lock or RLock"):
        Condition(threading.Lock())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="__init__"):
        Condition.__new__(Condition).wait()


@any_lock
def test_condition_wait_ends(make_lock: Any) -> None:
    condition = Condition(make_lock())
    with condition:
        for timeout in (0, -1, SHORT_S):
            assert condition.wait(timeout) is False
        assert condition.wait(timeout=0) is False
        condition.notify()  # nobody waits: nothing is kept for later
        assert condition.wait(0) is False


@any_lock
def test_condition_notifies_as_many_as_asked(make_lock: Any) -> None:
    condition = Condition(make_lock())
    with waiters(condition, 5) as results:
        with condition:
            condition.notify(n=2)
            assert waiting(condition) == 3
            condition.notify(0)
            condition.notify(-1)
            assert waiting(condition) == 3
        until_length(results, 2)
        with condition:
            condition.notify()
            condition.notify_all()
            condition.notify_all()
            assert waiting(condition) == 0
    assert results == [True] * 5


def until_length(items: list[Any], length: int) -> None:
    while len(items) < length:
        threading.Event().wait(0.001)


def test_condition_gives_a_deep_lock_up() -> None:
    lock = RLock()
    condition = Condition(lock)
    with lock, lock, lock:
        with running(notify, condition):
            assert condition.wait(LONG_S)
        assert repr(lock) == "<RLock(MainProcess, 3)>"
    assert not lock.locked()


def notify(condition: Condition) -> None:
    until_waiting(condition, 1)
    with condition:
        condition.notify()


def test_condition_with_a_subclass_of_a_lock() -> None:
    calls: list[str] = []

    class Logged(RLock):
        def acquire(self, *args: Any, **kwargs: Any) -> bool:
            calls.append("acquire")
            return super().acquire(*args, **kwargs)

        def release(self) -> None:
            calls.append("release")
            super().release()

    condition = Condition(Logged())
    condition.acquire()
    condition.acquire()
    assert condition.wait(0) is False
    condition.release()
    condition.release()
    assert calls == ["acquire", "acquire", "release", "release", "acquire", "acquire", "release", "release"]


def test_condition_wait_for() -> None:
    condition, values = Condition(), [0, 0, "yes"]
    with condition:
        with running(notify_twice, condition):
            assert condition.wait_for(lambda: values.pop(0)) == "yes"
        assert condition.wait_for(lambda: [], timeout=SHORT_S) == []
        assert condition.wait_for(lambda: 7, timeout=0) == 7
        with pytest.raises(ZeroDivisionError):
            condition.wait_for(lambda: 1 / 0)


def notify_twice(condition: Condition) -> None:
    for _ in range(2):
        notify(condition)


@any_lock
def test_condition_comes_out_of_an_interrupted_wait_with_its_lock(make_lock: Any) -> None:
    condition = Condition(make_lock())
    with condition:
        with interrupting(), pytest.raises(Interrupted):
            condition.wait()
        assert waiting(condition) == 0
        assert condition.wait(0) is False


def test_condition_repr() -> None:
    condition = Condition()
    assert repr(condition) == "<Condition(<RLock(None, 0)>, 0)>"
    with waiters(condition, 2), condition:
        assert repr(condition) == "<Condition(<RLock(MainProcess, 1)>, 2)>"
        condition.notify_all()


def wait_once(condition: Condition, ready: Semaphore, done: Semaphore) -> None:
    with condition:
        ready.release()
        assert condition.wait(LONG_S)
    done.release()


def test_condition_between_processes(context: Any) -> None:
    condition, ready, done = Condition(Lock()), Semaphore(0), Semaphore(0)
    processes = [context.Process(target=wait_once, args=(condition, ready, done)) for _ in range(3)]
    for process in processes:
        process.start()
    for _ in processes:
        assert ready.acquire(timeout=LONG_S)
    for _ in processes:
        with condition:
            condition.notify()
        assert done.acquire(timeout=LONG_S)
    for process in processes:
        process.join()
        assert process.exitcode == 0
        process.close()


def wait_and_die(condition: Condition) -> None:
    _native.set_kill_point("condition.waiting")
    with condition:
        condition.wait()


def test_a_dead_waiter_costs_no_notification(context: Any) -> None:
    condition = Condition()
    for _ in range(2):
        assert run_in_child(context, wait_and_die, condition) == -signal.SIGKILL
    results: list[bool] = []
    with running(wait_and_append, condition, results):
        until_waiting(condition, 3)
        with condition:
            condition.notify()
            assert waiting(condition) == 0
    assert results == [True]


def notify_and_die(condition: Condition) -> None:
    until_waiting(condition, 1)
    with condition:
        condition.notify()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_notifier_that_died_with_the_lock(context: Any) -> None:
    condition = Condition()
    process = context.Process(target=notify_and_die, args=(condition,))
    with pytest.raises(OwnerDied), condition:
        process.start()
        condition.wait(LONG_S)
    process.join()
    process.close()


# -- Event ---------------------------------------------------------------------------------------------------------------


def test_event_alone() -> None:
    event = Event()
    assert event.is_set() is False
    for timeout in (0, -1, SHORT_S):
        assert event.wait(timeout) is False
    event.set()
    event.set()
    assert event.is_set()
    assert event.wait() is True
    assert event.wait(timeout=0) is True
    event.clear()
    assert event.is_set() is False
    with pytest.raises(TypeError):
        event.wait(1, 2)  # type: ignore[call-arg]
    with interrupting(), pytest.raises(Interrupted):
        event.wait()


def test_event_repr() -> None:
    event = Event()
    assert repr(event) == f"<Event at {id(event):#x} unset>"
    event.set()
    assert repr(event) == f"<Event at {id(event):#x} set>"


def meet_over_events(go: Event, come: Event, rounds: int) -> None:
    for _ in range(rounds):
        assert go.wait(LONG_S)
        go.clear()
        come.set()


def test_event_between_processes(context: Any) -> None:
    go, come, rounds = Event(), Event(), 100
    process = context.Process(target=meet_over_events, args=(go, come, rounds))
    process.start()
    for _ in range(rounds):
        go.set()
        assert come.wait(LONG_S)
        come.clear()
    process.join()
    assert process.exitcode == 0
    process.close()


def test_event_wakes_all_though_it_is_cleared_at_once() -> None:
    event, results = Event(), list[bool]()
    started = threading.Barrier(4)
    threads = [
        threading.Thread(target=lambda: (started.wait(), results.append(event.wait(LONG_S)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    started.wait()
    while any(thread.is_alive() for thread in threads):  # a thread may not have begun to wait yet
        event.set()
        event.clear()
    for thread in threads:
        thread.join()
    assert results == [True] * 3


# -- Barrier -------------------------------------------------------------------------------------------------------------


def pass_barrier(barrier: Barrier, arrivals: Semaphore, places: Semaphore, rounds: int) -> None:
    for round_number in range(1, rounds + 1):
        arrivals.release()
        if barrier.wait() == 0:
            places.release()
        assert arrivals.get_value() == round_number * barrier.parties
        barrier.wait()


def test_barrier_keeps_step(context: Any) -> None:
    barrier, arrivals, places, rounds = Barrier(3), Semaphore(0), Semaphore(0), 50
    arguments = (barrier, arrivals, places, rounds)
    processes = [context.Process(target=pass_barrier, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    pass_barrier(*arguments)
    for process in processes:
        process.join()
        assert process.exitcode == 0
        process.close()
    assert places.get_value() == rounds
    assert barrier.n_waiting == 0
    assert not barrier.broken


def meet_and_check(barrier: Barrier, acted: Semaphore) -> None:
    barrier.wait()
    assert acted.get_value() == 1


def test_barrier_action_runs_once(context: Any) -> None:
    acted = Semaphore(0)
    barrier = Barrier(2, action=acted.release)
    process = context.Process(target=meet_and_check, args=(barrier, acted))
    process.start()
    meet_and_check(barrier, acted)
    process.join()
    assert process.exitcode == 0
    process.close()
    assert acted.get_value() == 1


def fail() -> None:
    raise ZeroDivisionError


def test_barrier_action_fails() -> None:
    barrier, errors = Barrier(2, fail), []

    def meet() -> None:
        try:
            barrier.wait()
        except (BrokenBarrierError, ZeroDivisionError) as error:
            errors.append(type(error))

    with running(meet):
        meet()
    assert sorted(kind.__name__ for kind in errors) == ["BrokenBarrierError", "ZeroDivisionError"]
    assert barrier.broken


def test_barrier_alone() -> None:
    barrier = Barrier(1)
    assert [barrier.wait() for _ in range(3)] == [0, 0, 0]
    assert repr(barrier) == f"<phalanx.synchronize.Barrier at {id(barrier):#x}: waiters=0/1>"
    barrier.abort()
    assert repr(barrier) == f"<phalanx.synchronize.Barrier at {id(barrier):#x}: broken>"
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert barrier.wait() == 0
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (1, 0, False)


def test_barrier_wrong_arguments() -> None:
    for parties in (0, -1):
        with pytest.raises(ValueError, match="parties must be > 0"):
            Barrier(parties)
    for arguments in (("x",), (2, None, "x"), ()):
        with pytest.raises(TypeError):
            Barrier(*arguments)
    with pytest.raises(RuntimeError, match="__init__"):
        Barrier.__new__(Barrier).wait()


def test_barrier_times_out() -> None:
    barrier = Barrier(2, timeout=SHORT_S)
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    assert barrier.broken
    barrier.reset()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(timeout=0)
    barrier.reset()
    with running(barrier.wait, LONG_S):
        barrier.wait(LONG_S)


@pytest.mark.parametrize("end", [Barrier.abort, Barrier.reset])
def test_barrier_frees_its_waiters(end: Any) -> None:
    barrier, errors = Barrier(3), []

    def meet() -> None:
        try:
            barrier.wait()
        except BrokenBarrierError as error:
            errors.append(error)

    with running(meet), running(meet):
        while barrier.n_waiting < 2:
            threading.Event().wait(0.001)
        end(barrier)
    assert len(errors) == 2
    assert barrier.broken is (end is Barrier.abort)
    assert barrier.n_waiting == 0


def test_barrier_goes_on_after_an_interrupted_wait() -> None:
    barrier = Barrier(2)
    with interrupting(), pytest.raises(Interrupted):
        barrier.wait()
    assert not barrier.broken
    assert barrier.n_waiting == 0
    with running(barrier.wait):
        barrier.wait()


def meet_until_killed(barrier: Barrier, point: str) -> None:
    _native.set_kill_point(point)
    barrier.wait()


def test_barrier_breaks_when_a_waiter_dies(context: Any) -> None:
    barrier = Barrier(3)
    process = context.Process(target=meet_until_killed, args=(barrier, "barrier.waiting"))
    process.start()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(LONG_S)
    assert barrier.broken
    process.join()
    assert process.exitcode == -signal.SIGKILL
    process.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_barrier_breaks_when_the_action_kills_its_process(context: Any) -> None:
    barrier = Barrier(2, die)
    process = context.Process(target=come_last, args=(barrier,))
    process.start()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(LONG_S)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    process.close()


def come_last(barrier: Barrier) -> None:
    while barrier.n_waiting < 1:
        threading.Event().wait(0.001)
    barrier.wait()


def test_barrier_of_a_thousand() -> None:
    barrier = Barrier(1000)
    assert barrier.parties == 1000
    with pytest.raises(BrokenBarrierError):
        barrier.wait(SHORT_S)
