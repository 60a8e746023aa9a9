"""Condition and Event: who is told, and that the dead cost nobody anything."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from phalanx import _native
from phalanx._base.errors import OwnerDied
from phalanx.synchronize import Condition, Event, Lock, RLock, Semaphore
from waits import LONG_S, SHORT_S, Interrupted, interrupting, run_in_child, running

# -- Condition --------------------------------------------------------------------------------------------------------

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
        assert condition.wait_for(list, timeout=SHORT_S) == []
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
    process.start()
    with pytest.raises(OwnerDied):
        wait_and_append(condition, [])
    process.join()
    process.close()


# -- Event ------------------------------------------------------------------------------------------------------------


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
    threads = [threading.Thread(target=lambda: (started.wait(), results.append(event.wait(LONG_S)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    while any(thread.is_alive() for thread in threads):  # a thread may not have begun to wait yet
        event.set()
        event.clear()
    for thread in threads:
        thread.join()
    assert results == [True] * 3
