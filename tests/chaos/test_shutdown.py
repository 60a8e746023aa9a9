"""The end of pools, queues and programs with work in hand: bounded, and whoever waits for a result gets an error."""

import gc
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import phalanx
from programs import POLL_S, Program
from waits import LONG_S

LEAVING = Path(__file__).parent / "programs" / "leaving.py"

ITEMS_COUNT = 1_000_000

TASKS_COUNT = 50


def stay(entered: Any) -> None:
    entered.release()
    threading.Event().wait()


def begin(entered: Any) -> None:
    global stay_entered
    stay_entered = entered


def stay_here(_: object = None) -> None:
    stay(stay_entered)


class Waiter(threading.Thread):
    """Waits for something, and keeps the error that it gets."""

    def __init__(self, wait: Callable[[], object]) -> None:
        super().__init__()
        self._wait = wait
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._wait()
        except BaseException as error:
            self.error = error

    def expect_error(self) -> None:
        self.join(LONG_S)
        assert not self.is_alive()
        assert isinstance(self.error, phalanx.ProcessError), repr(self.error)


def busy_pool(context: Any) -> tuple[Any, list[Callable[[], object]]]:
    """A pool whose workers are all inside a task that does not end, and what can be waited for there."""
    entered = context.Semaphore(0)
    pool = context.Pool(2, begin, (entered,))
    calls = [
        pool.map_async(stay_here, range(TASKS_COUNT), chunksize=1).get,
        pool.apply_async(stay_here).get,
        pool.starmap_async(stay_here, [(1,)] * TASKS_COUNT).get,
        pool.imap(stay_here, range(TASKS_COUNT)).next,
        pool.imap_unordered(stay_here, iter(range(TASKS_COUNT))).next,
    ]
    for _ in range(2):
        assert entered.acquire(timeout=LONG_S)
    return pool, calls


def test_terminate_tells_all_who_wait(context: Any) -> None:
    pool, calls = busy_pool(context)
    waiters = [Waiter(call) for call in calls]
    pool.terminate()
    pool.join()
    for waiter in waiters:
        waiter.expect_error()


def test_what_was_pending_is_an_error_afterwards_too(context: Any) -> None:
    pool, calls = busy_pool(context)
    pool.terminate()
    pool.join()
    for call in calls:
        with pytest.raises(phalanx.ProcessError):
            call()


def test_leaving_the_block_tells_all_who_wait(context: Any) -> None:
    pool, calls = busy_pool(context)
    with pool:
        waiters = [Waiter(call) for call in calls]
    for waiter in waiters:
        waiter.expect_error()


def test_terminate_while_another_thread_joins(context: Any) -> None:
    pool, calls = busy_pool(context)
    waiters = [Waiter(call) for call in calls]
    pool.close()
    joining = Waiter(pool.join)
    pool.terminate()
    joining.join(LONG_S)
    assert not joining.is_alive()
    for waiter in waiters:
        waiter.expect_error()


def count(number: int) -> int:
    return number


def test_a_forgotten_pool_ends(context: Any) -> None:
    """Its calls are finished: one that goes on keeps its pool, as with the stdlib."""
    threads = threading.active_count()
    pool = context.Pool(2)
    assert pool.map(count, range(10)) == list(range(10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del pool
        gc.collect()
    deadline = time.monotonic() + LONG_S
    while threading.active_count() > threads or phalanx.active_children():
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


def test_close_and_join_finish_the_work(context: Any) -> None:
    pool = context.Pool(2)
    results = pool.map_async(count, range(1000))
    unread = pool.imap(count, iter(range(10_000)))
    pool.close()
    pool.join()
    assert results.get() == list(range(1000))
    assert list(unread) == list(range(10_000))


@pytest.mark.parametrize("how", ["pool", "iterator", "waiter", "cycle", "failure"])
def test_a_program_ends_with_a_pool_at_work(start_method: str, how: str) -> None:
    with Program(LEAVING, start_method, how) as program:
        code = program.wait()
        program.expect_gone()
        said = program.rest()
    assert "Traceback" not in said, said
    assert code == (3 if how == "failure" else 0), said


@pytest.mark.parametrize("how", ["manager", "daemon", "queue"])
def test_a_program_ends_with_something_open(start_method: str, how: str) -> None:
    with Program(LEAVING, start_method, how) as program:
        assert program.wait() == 0, program.rest()
        program.expect_gone()
        assert "Traceback" not in program.rest()


def put_many(queue: Any) -> None:
    queue.put_many(range(ITEMS_COUNT))


def test_a_process_ends_though_nobody_reads_what_it_put(context: Any) -> None:
    queue = context.Queue()
    child = context.Process(target=put_many, args=(queue,))
    child.start()
    child.join(LONG_S)
    assert child.exitcode == 0
    assert queue.qsize() == ITEMS_COUNT
    assert [queue.get() for _ in range(3)] == [0, 1, 2]
    child.close()
    queue.close()
    queue.join_thread()
