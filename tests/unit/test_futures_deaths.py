"""Executors whose workers die, whose tasks take too long or are cancelled."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import phalanx
from executor_tasks import (
    announce_and_wait,
    die_once,
    end_abruptly,
    event_that_is_set,
    square,
    wait_for,
)
from phalanx import futures
from phalanx._base.errors import TaskTimeout, WorkerDied
from phalanx.futures import BrokenProcessPool, CancelledError, ProcessPoolExecutor
from phalanx.pool import RemoteTraceback
from waits import LONG_S

# -- deaths ------------------------------------------------------------------------------------------------------------


def test_a_dead_worker_breaks_the_executor(context: Any) -> None:
    gate = context.Event()
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        others = [executor.submit(wait_for, gate) for _ in range(3)]
        fatal = executor.submit(end_abruptly, 3) if context.get_start_method() != "fork" else None
        victim = next(iter(executor._processes.values()))
        os.kill(victim.pid, signal.SIGKILL)
        for each in [*others, *([fatal] if fatal else [])]:
            with pytest.raises(BrokenProcessPool, match="terminated abruptly"):
                each.result(LONG_S)
        with pytest.raises(BrokenProcessPool, match="terminated abruptly"):
            executor.submit(square, 1)
        with pytest.raises(BrokenProcessPool):
            executor.map(square, [1])


@pytest.mark.parametrize("code", [0, 3])
def test_a_task_that_ends_its_process_breaks_the_executor(code: int) -> None:
    with ProcessPoolExecutor(1, phalanx.get_context("fork")) as executor:
        future = executor.submit(end_abruptly, code)
        with pytest.raises(BrokenProcessPool) as caught:
            future.result(LONG_S)
        cause = caught.value.__cause__
        assert f"terminated abruptly with exit code {code}" in str(cause)
        assert isinstance(cause, RemoteTraceback)
        assert isinstance(cause.__cause__, WorkerDied)


def test_each_future_has_an_error_of_its_own() -> None:
    context = phalanx.get_context("fork")
    gate = context.Event()
    with ProcessPoolExecutor(1, context) as executor:
        waiting = [executor.submit(wait_for, gate) for _ in range(3)]
        os.kill(next(iter(executor._processes)), signal.SIGKILL)
        errors = [each.exception(LONG_S) for each in waiting]
    assert len({id(error) for error in errors}) == 3


def test_a_broken_pool_is_one_for_programs_that_know_the_stdlibs() -> None:
    from concurrent.futures.process import BrokenProcessPool as Theirs

    with ProcessPoolExecutor(1, phalanx.get_context("fork")) as executor:
        with pytest.raises(Theirs):
            executor.submit(end_abruptly, 1).result(LONG_S)
        with pytest.raises(BrokenProcessPool):
            executor.submit(square, 1)


def test_a_death_may_cost_its_task_alone(context: Any) -> None:
    with ProcessPoolExecutor(2, mp_context=context, on_worker_death="task") as executor:
        doomed = executor.submit(end_abruptly, 3)
        others = [executor.submit(square, i) for i in range(10)]
        with pytest.raises(WorkerDied):
            doomed.result(LONG_S)
        assert [each.result(LONG_S) for each in others] == [i * i for i in range(10)]
        assert executor.submit(square, 2).result(LONG_S) == 4


def test_a_task_is_tried_again_after_a_death(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, phalanx.get_context("fork"), retries=1) as executor:
        assert executor.submit(die_once, str(tmp_path / "mark")).result(LONG_S) == "second try"


def test_a_task_past_its_time_fails_alone() -> None:
    context = phalanx.get_context("fork")
    never = context.Event()
    with ProcessPoolExecutor(1, context, task_timeout=0.1) as executor:
        with pytest.raises(TaskTimeout):
            executor.submit(wait_for, never).result(LONG_S)
        assert executor.submit(square, 2).result(LONG_S) == 4
        with pytest.raises(TaskTimeout):
            list(executor.map(wait_for, [never]))


def test_options_are_for_calls_through_them_alone(tmp_path: Path) -> None:
    context = phalanx.get_context("fork")
    never = context.Event()
    with ProcessPoolExecutor(1, context, on_worker_death="task") as executor:
        hurried = executor.options(timeout=0.1)
        with pytest.raises(TaskTimeout):
            hurried.submit(wait_for, never).result(LONG_S)
        with pytest.raises(TaskTimeout):
            list(hurried.map(wait_for, [never]))
        stubborn = hurried.options(timeout=None, retries=1)
        assert stubborn.submit(die_once, str(tmp_path / "mark")).result(LONG_S) == "second try"
        with pytest.raises(WorkerDied):
            executor.submit(end_abruptly, 1).result(LONG_S)
        with pytest.raises(TypeError, match="unexpected"):
            executor.options(colour="red")


# -- cancelling --------------------------------------------------------------------------------------------------------


def test_a_task_can_be_cancelled_until_it_has_begun() -> None:
    context = phalanx.get_context("fork")
    announced, gate = context.Semaphore(0), context.Event()
    with ProcessPoolExecutor(1, context) as executor:
        first = executor.submit(announce_and_wait, announced, gate)
        second, third = executor.submit(square, 2), executor.submit(square, 3)
        assert announced.acquire(timeout=LONG_S)
        assert first.running()
        assert not first.cancel()
        assert not second.running()
        assert second.cancel()
        assert second.cancel()
        assert second.cancelled()
        with pytest.raises(CancelledError):
            second.result(LONG_S)
        assert futures.wait([second], LONG_S).done == {second}
        gate.set()
        assert first.result(LONG_S) > 0
        assert third.result(LONG_S) == 9
        assert not third.cancel()


def test_shutdown_may_cancel_what_waits() -> None:
    context = phalanx.get_context("fork")
    announced, gate = context.Semaphore(0), context.Event()
    executor = ProcessPoolExecutor(1, context)
    first = executor.submit(announce_and_wait, announced, gate)
    others = [executor.submit(square, i) for i in range(20)]
    mapped = executor.map(square, range(100))
    assert announced.acquire(timeout=LONG_S)
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(each.cancelled() for each in others)
    gate.set()
    executor.shutdown()
    assert first.result() > 0
    with pytest.raises(CancelledError):
        list(mapped)


def test_what_is_left_of_a_map_that_nobody_reads_is_cancelled() -> None:
    context = phalanx.get_context("fork")
    gate, seen = context.Event(), context.Semaphore(0)
    with ProcessPoolExecutor(1, context) as executor:
        results = executor.map(announce_and_wait, [seen] * 50, [event_that_is_set(context), *[gate] * 49])
        assert next(results) > 0
        assert seen.acquire(timeout=LONG_S)
        assert seen.acquire(timeout=LONG_S)
        results.close()  # type: ignore[attr-defined]
        next_one = executor.submit(square, 3)
        gate.set()
        assert next_one.result(LONG_S) == 9
    assert seen.get_value() < 50 - 2
