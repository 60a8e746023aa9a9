"""Executors: calls, maps, cancelling, deaths, the end; and the stdlib's executor over this package's contexts."""

import concurrent.futures
import itertools
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import phalanx
from executor_tasks import (
    Numbers,
    Refuses,
    Unloadable,
    add,
    announce_and_wait,
    divide,
    end_abruptly,
    event_that_is_set,
    get_setting,
    keywords,
    make_refusing,
    make_unloadable,
    nested,
    raise_exit,
    refuse_to_start,
    set_up,
    square,
    wait_for,
)
from phalanx import futures
from phalanx.futures import BrokenProcessPool, ProcessPoolExecutor
from waits import LONG_S, SHORT_S

SOURCES = str(Path(phalanx.__file__).parents[1])


# -- calls -------------------------------------------------------------------------------------------------------------


def test_calls_and_their_results(context: Any) -> None:
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        assert executor.submit(square, 7).result(LONG_S) == 49
        assert executor.submit(add, 7, y=1).result(LONG_S) == 8
        assert executor.submit(keywords, 1, self=2, fn=3).result(LONG_S) == ((1,), {"self": 2, "fn": 3})
        assert executor.submit(Numbers(10).plus, 1).result(LONG_S) == 11
        assert [each.result() for each in [executor.submit(square, i) for i in range(50)]] == [i * i for i in range(50)]


def test_what_a_call_raises_comes_with_its_traceback(context: Any) -> None:
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        error = executor.submit(divide, 0).exception(LONG_S)
        assert isinstance(error, ZeroDivisionError)
        assert "12 // x" in str(error.__cause__)
        with pytest.raises(SystemExit):
            executor.submit(raise_exit, 3).result(LONG_S)
        assert executor.submit(square, 2).result(LONG_S) == 4


def test_what_cannot_be_pickled_is_that_calls_error() -> None:
    with ProcessPoolExecutor(1, mp_context=phalanx.get_context("fork")) as executor:
        with pytest.raises(LookupError, match="not me"):
            executor.submit(square, Refuses()).result(LONG_S)
        with pytest.raises(LookupError, match="not me"):
            executor.submit(make_refusing).result(LONG_S)
        assert executor.submit(square, 2).result(LONG_S) == 4


def test_what_cannot_be_unpickled_is_a_broken_pool_to_that_call_alone() -> None:
    with ProcessPoolExecutor(1, mp_context=phalanx.get_context("fork")) as executor:
        for fn, args in ((id, (Unloadable(),)), (make_unloadable, ())):
            with pytest.raises(BrokenProcessPool, match="unpickled") as caught:
                executor.submit(fn, *args).result(LONG_S)
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert executor.submit(square, 2).result(LONG_S) == 4


def test_locks_and_queues_travel_as_arguments() -> None:
    context = phalanx.get_context("spawn")
    semaphore = context.Semaphore(3)
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(semaphore.acquire).result(LONG_S) is True
        assert executor.submit(announce_and_wait, semaphore, event_that_is_set(context)).result(LONG_S) > 0
    assert semaphore.get_value() == 3


def test_wait_as_completed_callbacks_and_asyncio_hear_of_results() -> None:
    import asyncio

    with ProcessPoolExecutor(2, mp_context=phalanx.get_context("fork")) as executor:
        submitted = [executor.submit(square, i) for i in range(6)]
        done, left = futures.wait(submitted, LONG_S)
        assert len(done) == 6
        assert not left
        more = [executor.submit(square, i) for i in range(6)]
        assert {each.result() for each in futures.as_completed(more, LONG_S)} == {0, 1, 4, 9, 16, 25}
        called: list[Any] = []
        over = threading.Event()
        future = executor.submit(square, 5)
        future.add_done_callback(lambda each: (called.append(each.result()), over.set()))
        assert over.wait(LONG_S)
        assert called == [25]

        async def ask() -> int:
            return await asyncio.get_running_loop().run_in_executor(executor, square, 6)

        assert asyncio.run(ask()) == 36


def test_a_callback_may_use_the_executor() -> None:
    with ProcessPoolExecutor(1, mp_context=phalanx.get_context("fork")) as executor:
        chained: list[int] = []
        over = threading.Event()

        def go_on(future: Any) -> None:
            chained.append(executor.submit(square, future.result()).result(LONG_S))
            over.set()

        executor.submit(square, 2).add_done_callback(go_on)
        assert over.wait(LONG_S)
        assert chained == [16]


def test_a_timeout_does_not_end_the_call() -> None:
    context = phalanx.get_context("fork")
    gate = context.Event()
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        future = executor.submit(wait_for, gate)
        with pytest.raises(TimeoutError):
            future.result(SHORT_S)
        assert not future.done()
        gate.set()
        assert future.result(LONG_S) is True


def test_several_threads_wait_for_one_result() -> None:
    context = phalanx.get_context("fork")
    gate = context.Event()
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        future = executor.submit(wait_for, gate)
        got: list[Any] = []
        threads = [threading.Thread(target=lambda: got.append(future.result(LONG_S))) for _ in range(4)]
        for thread in threads:
            thread.start()
        gate.set()
        for thread in threads:
            thread.join()
    assert got == [True] * 4


# -- map ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"chunksize": 3}, {"chunksize": 50}, {"buffersize": 2}, {"chunksize": 3, "buffersize": 1}]
)
def test_map_gives_results_in_order(options: dict[str, Any]) -> None:
    with ProcessPoolExecutor(2, mp_context=phalanx.get_context("fork")) as executor:
        assert list(executor.map(square, range(20), **options)) == [i * i for i in range(20)]
        assert list(executor.map(add, range(20), range(5), **options)) == [0, 2, 4, 6, 8]
        assert list(executor.map(square, [], **options)) == []
        assert list(executor.map(square, **options)) == []


def test_map_raises_in_its_place_and_ends() -> None:
    with ProcessPoolExecutor(1, mp_context=phalanx.get_context("fork")) as executor:
        results = executor.map(divide, [1, 2, 0, 4])
        assert [next(results), next(results)] == [12, 6]
        with pytest.raises(ZeroDivisionError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)


def test_map_reads_no_further_than_its_buffer() -> None:
    with ProcessPoolExecutor(2, mp_context=phalanx.get_context("fork")) as executor:
        numbers = itertools.count()
        results = executor.map(square, numbers, buffersize=3)
        assert next(numbers) == 3
        assert [next(results) for _ in range(3)] == [0, 1, 4]


def test_map_has_a_time_limit() -> None:
    context = phalanx.get_context("fork")
    gate = context.Event()
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        with pytest.raises(TimeoutError):
            list(executor.map(wait_for, [gate], timeout=SHORT_S))
        gate.set()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"chunksize": 0}, ValueError, "chunksize must be >= 1"),
        ({"buffersize": 0}, ValueError, "buffersize must be None or > 0"),
        ({"buffersize": 2.0}, TypeError, "buffersize must be an integer or None"),
    ],
)
def test_map_refuses_wrong_sizes(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with ProcessPoolExecutor(1) as executor, pytest.raises(error, match=text):
        executor.map(square, [1], **options)


# -- workers -----------------------------------------------------------------------------------------------------------


def test_workers_are_started_as_they_are_needed() -> None:
    context = phalanx.get_context("spawn")
    gate = context.Event()
    with ProcessPoolExecutor(3, mp_context=context) as executor:
        for i in range(3):
            executor.submit(square, i).result(LONG_S)
        assert len(executor._processes) == 1
        waiting = [executor.submit(wait_for, gate) for _ in range(6)]
        assert len(executor._processes) == 3
        gate.set()
        assert all(each.result(LONG_S) for each in waiting)


def test_forked_workers_are_started_together() -> None:
    with ProcessPoolExecutor(3, mp_context=phalanx.get_context("fork")) as executor:
        executor.submit(square, 1).result(LONG_S)
        assert len(executor._processes) == 3


def test_nothing_is_started_before_the_first_call() -> None:
    executor = ProcessPoolExecutor(2)
    assert executor._processes == {}
    executor.shutdown()


def test_an_initializer_runs_in_each_worker(context: Any) -> None:
    with ProcessPoolExecutor(2, context, set_up, ("ready",)) as executor:
        assert set(executor.map(get_setting, range(8))) == {"ready"}


def test_an_initializer_that_raises_breaks_the_executor(context: Any) -> None:
    with ProcessPoolExecutor(2, context, refuse_to_start) as executor:
        with pytest.raises(BrokenProcessPool) as caught:
            executor.submit(square, 1).result(LONG_S)
        assert isinstance(caught.value.__cause__, LookupError)
        with pytest.raises(BrokenProcessPool):
            executor.submit(square, 1)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_is_replaced_after_its_tasks(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=phalanx.get_context(method), max_tasks_per_child=2) as executor:
        pids = [executor.submit(os.getpid).result(LONG_S) for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_a_limit_of_tasks_needs_another_start_method_than_fork() -> None:
    with pytest.raises(ValueError, match="fork"):
        ProcessPoolExecutor(1, phalanx.get_context("fork"), max_tasks_per_child=1)
    executor = ProcessPoolExecutor(1, max_tasks_per_child=1)
    assert executor._mp_context.get_start_method() == "spawn"


def test_a_worker_may_have_an_executor_of_its_own() -> None:
    with ProcessPoolExecutor(1, mp_context=phalanx.get_context("fork")) as executor:
        assert executor.submit(nested).result(LONG_S) == [0, 1, 4]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
        ({"initializer": 3}, TypeError, "initializer must be a callable"),
        ({"max_tasks_per_child": "3"}, TypeError, "max_tasks_per_child must be an integer"),
        ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child must be >= 1"),
        ({"on_worker_death": "ignore"}, ValueError, "on_worker_death must be"),
        ({"task_timeout": -1}, ValueError, "timeout must be positive"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ProcessPoolExecutor(**options)


def test_an_executor_is_of_no_use_in_a_forked_child() -> None:
    executor = ProcessPoolExecutor(1, phalanx.get_context("fork"))
    assert executor.submit(square, 2).result(LONG_S) == 4
    process = phalanx.get_context("fork").Process(target=use_in_child, args=(executor,))
    process.start()
    process.join(LONG_S)
    assert process.exitcode == 0
    executor.shutdown()


def use_in_child(executor: Any) -> None:
    with pytest.raises(RuntimeError, match="forked child"):
        executor.submit(square, 2)
    executor.shutdown()


# -- the end -----------------------------------------------------------------------------------------------------------


def test_after_shutdown_nothing_can_be_submitted() -> None:
    executor = ProcessPoolExecutor(1, phalanx.get_context("fork"))
    future = executor.submit(square, 3)
    executor.shutdown()
    executor.shutdown()
    assert future.result(0) == 9
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(square, 3)


def test_what_was_submitted_runs_after_a_shutdown_that_does_not_wait() -> None:
    executor = ProcessPoolExecutor(2, phalanx.get_context("fork"))
    submitted = [executor.submit(square, i) for i in range(20)]
    executor.shutdown(wait=False)
    assert [each.result(LONG_S) for each in submitted] == [i * i for i in range(20)]
    executor.shutdown()


def test_a_forgotten_executor_runs_what_it_has_and_goes() -> None:
    executor = ProcessPoolExecutor(2, phalanx.get_context("fork"))
    submitted = [executor.submit(square, i) for i in range(20)]
    thread, reference = executor._executor_manager_thread, weakref.ref(executor)
    del executor
    assert reference() is None
    assert [each.result(LONG_S) for each in submitted] == [i * i for i in range(20)]
    assert thread is not None
    thread.join(LONG_S)
    assert not thread.is_alive()


@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
def test_workers_can_be_ended_at_once(context: Any, how: str) -> None:
    announced, never = context.Semaphore(0), context.Event()
    executor = ProcessPoolExecutor(2, mp_context=context)
    waiting = [executor.submit(announce_and_wait, announced, never) for _ in range(5)]
    assert announced.acquire(timeout=LONG_S)
    processes = list(executor._processes.values())
    getattr(executor, how)()
    for each in waiting:
        with pytest.raises(BrokenProcessPool):
            each.result(LONG_S)
    with pytest.raises(RuntimeError):
        executor.submit(square, 1)
    for process in processes:
        process.join(LONG_S)
        assert not process.is_alive()


def test_ending_workers_that_were_never_started_is_nothing() -> None:
    executor = ProcessPoolExecutor(1)
    executor.kill_workers()
    with pytest.raises(RuntimeError):
        executor.submit(square, 1)
    with pytest.raises(ValueError, match="Unsupported operation"):
        executor._force_shutdown("ask nicely")


AT_EXIT = """
import sys, time
import phalanx
from phalanx.futures import ProcessPoolExecutor

def tell(text):
    time.sleep(0.2)
    print(text, flush=True)

if __name__ == "__main__":
    executor = ProcessPoolExecutor(2, phalanx.get_context(sys.argv[1]))
    executor.submit(tell, "done")
"""


def test_at_the_interpreters_end_what_was_submitted_still_runs(start_method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(AT_EXIT)
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    ended = subprocess.run(
        [sys.executable, str(program), start_method],
        capture_output=True, text=True, env=environment, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)


def test_the_stdlibs_package_is_not_loaded(start_method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(AT_EXIT + "    executor.shutdown()\n    print('multiprocessing' in sys.modules)\n")
    ended = subprocess.run(
        [sys.executable, str(program), start_method],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": SOURCES}, timeout=LONG_S, check=True,
    )  # fmt: skip
    assert ended.stdout == "done\nFalse\n"


# -- the stdlib's executor, not aliased --------------------------------------------------------------------------------


@pytest.fixture
def stdlibs(context: Any) -> Iterator[Any]:
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        yield executor


@pytest.mark.leaves("arena")
def test_the_stdlibs_executor_works_with_our_contexts(stdlibs: Any) -> None:
    assert stdlibs.submit(square, 7).result(LONG_S) == 49
    assert list(stdlibs.map(add, range(20), range(20), chunksize=3)) == [2 * i for i in range(20)]
    assert isinstance(stdlibs.submit(divide, 0).exception(LONG_S), ZeroDivisionError)
    with pytest.raises(LookupError):
        stdlibs.submit(square, Refuses()).result(LONG_S)
    submitted = [stdlibs.submit(square, i) for i in range(100)]
    assert [each.result(LONG_S) for each in submitted] == [i * i for i in range(100)]


@pytest.mark.leaves("arena")
def test_the_stdlibs_executor_notices_a_dead_worker(stdlibs: Any) -> None:
    with pytest.raises(concurrent.futures.process.BrokenProcessPool):
        stdlibs.submit(end_abruptly, 3).result(LONG_S)


def test_ours_takes_a_context_of_the_stdlib_by_its_start_method() -> None:
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert executor._mp_context.get_start_method() == "spawn"
        assert executor.submit(square, 3).result(LONG_S) == 9
