"""Locks and semaphores: in one process, between threads, and between processes."""

import os
import pickle
import signal
import threading
import weakref
from typing import Any

import pytest

from phalanx import _native, synchronize
from phalanx._base.errors import OwnerDied
from phalanx.synchronize import SEM_VALUE_MAX, BoundedSemaphore, Event, Lock, RLock, Semaphore
from waits import LONG_S, SHORT_S, Interrupted, interrupting, run_in_child, running

both_locks = pytest.mark.parametrize("kind", [Lock, RLock])
waitable = pytest.mark.parametrize("kind", [Lock, RLock, Semaphore, BoundedSemaphore])


def die_holding(lock: Any) -> None:
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


# -- what locks and semaphores have in common -------------------------------------------------------------------------


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


# -- Lock and RLock ---------------------------------------------------------------------------------------------------


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
    with lock, lock, running(fail_to_release, lock):
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
    with running(process.kill), pytest.raises(OwnerDied):
        lock.acquire(timeout=LONG_S)
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


# -- semaphores -------------------------------------------------------------------------------------------------------


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
