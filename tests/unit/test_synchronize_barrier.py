"""Barrier: all meet, or all learn that they will not."""

import os
import signal
import threading
from threading import BrokenBarrierError
from typing import Any

import pytest

from phalanx import _native
from phalanx.synchronize import Barrier, Semaphore
from waits import LONG_S, SHORT_S, Interrupted, interrupting, running

# -- Barrier ----------------------------------------------------------------------------------------------------------


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
