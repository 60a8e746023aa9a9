"""Pools of processes and of threads: what the documentation says of them, and what happens when things go wrong."""

import gc
import itertools
import os
import pickle
import signal
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import pytest

import phalanx
from phalanx import pool as pools
from phalanx._base.errors import ProcessError, RemoteError, TaskTimeout, TimeoutError, WorkerDied
from phalanx._base.limits import POOL_WINDOW_COUNT
from phalanx.pool import MaybeEncodingError, Pool, RemoteTraceback, ThreadPool
from waits import LONG_S

SHORT_S = 0.05


@contextmanager
def closed_at_end(pool: Pool) -> Iterator[Pool]:
    with pool:
        yield pool
        pool.close()
        pool.join()


@pytest.fixture
def pool(context: Any) -> Iterator[Pool]:
    with closed_at_end(context.Pool(2)) as made:
        yield made


@pytest.fixture(params=["fork", "spawn", "forkserver", "threads"])
def any_pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    made = ThreadPool(2) if request.param == "threads" else phalanx.get_context(request.param).Pool(2)
    with closed_at_end(made) as made:
        yield made


@pytest.fixture
def fork_pool() -> Iterator[Pool]:
    with closed_at_end(phalanx.get_context("fork").Pool(2)) as made:
        yield made


# -- functions of tasks ----------------------------------------------------------------------------------------------


def square(x: int) -> int:
    return x * x


def multiply(x: int, y: int = 10) -> int:
    return x * y


def raise_error(x: object) -> None:
    raise ValueError(x)


def raise_odd(x: int) -> int:
    if x % 2:
        raise KeyError(x)
    return x


def pid(_: object = None) -> int:
    return os.getpid()


def sleep_if(x: int, at: int, seconds: float) -> int:
    if x == at:
        time.sleep(seconds)
    return x


def sleep_at_three(x: int) -> int:
    return sleep_if(x, 3, 0.3)


def stuck_at_three(x: int) -> int:
    return sleep_if(x, 3, 1000)


def kill_at_three(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def exit_at_three(x: int) -> int:
    if x == 3:
        os._exit(7)
    return x


def leave(code: int) -> None:
    sys.exit(code)


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


class TwoArguments(Exception):
    """Pickles, and cannot be rebuilt: its __init__ wants more than `args`."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_two(_: object) -> None:
    raise TwoArguments(1, 2)


class WithLock(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("has a lock")
        self.lock = threading.Lock()


def raise_with_lock(_: object) -> None:
    raise WithLock


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("this one not")


class Unrebuildable:
    """Is pickled without a fault, and raises where it is unpickled."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


def give_unpicklable(x: int) -> Any:
    return Unpicklable() if x == 3 else x


def give_unrebuildable(x: int) -> Any:
    return Unrebuildable() if x == 3 else x


def identity(x: Any) -> Any:
    return x


def numbers_then_error(count: int) -> Iterator[int]:
    yield from range(count)
    raise LookupError("the iterable")


def values_with(at: int, other: Any, results: list[Any], count: int = 8) -> None:
    """All results are the items, but the one at `at`, which is an error of the kind of `other`."""
    assert [x for i, x in enumerate(results) if i != at] == [x for x in range(count) if x != at]
    assert isinstance(results[at], other)


# -- the calls --------------------------------------------------------------------------------------------------------


def test_apply(any_pool: Pool) -> None:
    assert any_pool.apply(square, (5,)) == 25
    assert any_pool.apply(multiply, (5,), {"y": 3}) == 15
    assert any_pool.apply(multiply, [5]) == 50
    assert any_pool.apply(dict) == {}
    with pytest.raises(ValueError, match=r"^7$"):
        any_pool.apply(raise_error, (7,))


def test_apply_async(any_pool: Pool) -> None:
    results = [any_pool.apply_async(square, (x,)) for x in range(20)]
    assert [result.get(LONG_S) for result in results] == [x * x for x in range(20)]
    assert all(result.ready() and result.successful() for result in results)
    failed = any_pool.apply_async(raise_error, ("no",))
    failed.wait(LONG_S)
    assert not failed.successful()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^no$"):
            failed.get()


@pytest.mark.parametrize("count", [0, 1, 2, 10, 5000])
@pytest.mark.parametrize("chunksize", [None, 1, 3, 10_000])
def test_map(fork_pool: Pool, count: int, chunksize: int | None) -> None:
    assert fork_pool.map(square, range(count), chunksize) == [x * x for x in range(count)]
    pairs = list(zip(range(count), range(count), strict=True))
    assert fork_pool.starmap(multiply, pairs, chunksize) == [x * x for x in range(count)]


def test_map_in_every_way(any_pool: Pool) -> None:
    expected = [x * x for x in range(100)]
    assert any_pool.map(square, range(100)) == expected
    assert any_pool.map_async(square, iter(range(100))).get(LONG_S) == expected
    assert any_pool.starmap(multiply, ([x, x] for x in range(100))) == expected
    assert any_pool.starmap_async(multiply, zip(range(100), range(100), strict=True)).get(LONG_S) == expected
    assert list(any_pool.imap(square, range(100))) == expected
    assert list(any_pool.imap(square, iter(range(100)), 7)) == expected
    assert sorted(any_pool.imap_unordered(square, range(100))) == expected
    assert sorted(any_pool.imap_unordered(square, iter(range(100)), chunksize=7)) == expected


def test_map_of_objects_and_arrays(pool: Pool) -> None:
    items: list[Any] = [{"a": [1, {2}]}, (1, [2]), 1j, "x" * 100_000, b"y" * 100_000, None, 2**100]
    assert pool.map(identity, items) == items
    arrays = [np.full(50_000, float(i)) for i in range(6)]
    results = pool.map(identity, arrays)
    assert all(np.array_equal(*pair) for pair in zip(arrays, results, strict=True))
    results[0][:] = 7  # writable, and nobody else's
    assert arrays[0][0] == 0


def test_lambdas_and_closures(pool: Pool) -> None:
    base = 5
    assert pool.map(lambda x: x + base, range(3)) == [5, 6, 7]
    base = 6
    assert pool.map(lambda x: x + base, range(3)) == [6, 7, 8]


def test_a_function_that_is_defined_after_the_pool_was_made(fork_pool: Pool) -> None:
    module = sys.modules[__name__]
    exec("def later(x):\n    return x + 1", module.__dict__)
    try:
        assert fork_pool.map(module.later, range(5)) == [1, 2, 3, 4, 5]
    finally:
        del module.later  # type: ignore[attr-defined]


def test_a_large_function_travels_beside_its_tasks(pool: Pool) -> None:
    import functools

    big = functools.partial(multiply, y=10**5000)
    assert pool.map(big, range(50)) == [x * 10**5000 for x in range(50)]


# -- results ----------------------------------------------------------------------------------------------------------


def test_get_with_a_timeout(fork_pool: Pool) -> None:
    result = fork_pool.apply_async(time.sleep, (0.2,))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(TimeoutError):
        result.get(timeout=0.001)
    with pytest.raises(phalanx.TimeoutError):
        result.get(0)
    assert result.get() is None


def test_polling_is_enough(fork_pool: Pool) -> None:
    result = fork_pool.map_async(square, range(100))
    while not result.ready():
        pass
    assert result.get() == [x * x for x in range(100)]


def test_callbacks_have_run_when_the_result_is_there(any_pool: Pool) -> None:
    values: list[Any] = []
    any_pool.apply_async(square, (3,), callback=values.append).wait()
    any_pool.map_async(square, [1, 2], callback=values.append).wait()
    any_pool.starmap_async(multiply, [(1, 2)], callback=values.append).wait()
    any_pool.apply_async(raise_error, (3,), callback=values.append, error_callback=values.append).wait()
    assert values[:3] == [9, [1, 4], [2]]
    assert isinstance(values[3], ValueError)


def test_callbacks_come_without_anybody_waiting(any_pool: Pool) -> None:
    has_come = threading.Event()
    any_pool.apply_async(square, (3,), callback=lambda value: has_come.set())
    assert has_come.wait(LONG_S)


def test_a_callback_may_use_the_pool(any_pool: Pool) -> None:
    second: list[Any] = []
    has_come = threading.Event()

    def go_on(value: int) -> None:
        second.append(any_pool.apply(square, (value,)))
        has_come.set()

    any_pool.apply_async(square, (3,), callback=go_on)
    assert has_come.wait(LONG_S)
    assert second == [81]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_raises_harms_nobody(any_pool: Pool) -> None:
    result = any_pool.apply_async(square, (3,), callback=raise_error)
    assert result.get(LONG_S) == 9
    assert any_pool.apply(square, (4,)) == 16


def test_results_from_many_threads(fork_pool: Pool) -> None:
    results: dict[int, list[int]] = {}

    def work(number: int) -> None:
        for _ in range(20):
            assert fork_pool.apply(multiply, (number, 2)) == number * 2
        results[number] = fork_pool.map(square, range(number * 100))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert results == {number: [x * x for x in range(number * 100)] for number in range(6)}


# -- iterators --------------------------------------------------------------------------------------------------------


def test_an_endless_iterable_is_read_a_window_ahead(any_pool: Pool) -> None:
    read = itertools.count()
    iterator = any_pool.imap(square, read, buffersize=10)
    assert [next(iterator) for _ in range(500)] == [x * x for x in range(500)]
    assert next(read) <= 500 + 10 + 1
    any_pool.terminate()


def test_the_first_window_runs_without_anybody_iterating(fork_pool: Pool) -> None:
    with closed_at_end(ThreadPool(1)) as threads:
        seen: list[int] = []
        iterator = threads.imap(seen.append, itertools.count(), buffersize=20)
        while len(seen) < 20:
            time.sleep(0.001)
        next(iterator)
        threads.terminate()


def test_close_and_join_run_everything(context: Any) -> None:
    pool = context.Pool(2)
    iterator = pool.imap(square, (x for x in range(500)), buffersize=5)
    pool.close()
    pool.join()
    assert list(iterator) == [x * x for x in range(500)]


def test_an_iterable_that_waits_for_its_own_results(any_pool: Pool) -> None:
    given: list[int] = []
    turn = threading.Semaphore(3)

    def items() -> Iterator[int]:
        for x in range(30):
            assert turn.acquire(timeout=LONG_S)
            yield x

    for value in any_pool.imap_unordered(identity, items()):
        given.append(value)
        turn.release()
    assert sorted(given) == list(range(30))


def test_next_with_a_timeout(fork_pool: Pool) -> None:
    iterator = fork_pool.imap(time.sleep, [0.2])
    with pytest.raises(TimeoutError):
        iterator.next(timeout=0.001)
    assert iterator.next() is None
    with pytest.raises(StopIteration):
        iterator.next(timeout=0)


def test_a_failed_item_raises_in_its_place(any_pool: Pool) -> None:
    iterator = any_pool.imap(raise_odd, range(6))
    values: list[Any] = []
    for _ in range(6):
        try:
            values.append(next(iterator))
        except KeyError as error:
            values.append(error.args)
    assert values == [0, (1,), 2, (3,), 4, (5,)]
    assert next(iterator, None) is None


@pytest.mark.parametrize(("chunksize", "expected"), [(1, 7), (2, 6), (4, 4), (100, 0)])
def test_an_iterable_that_raises(any_pool: Pool, chunksize: int, expected: int) -> None:
    iterator = any_pool.imap(identity, numbers_then_error(7), chunksize)
    assert [next(iterator) for _ in range(expected)] == list(range(expected))
    with pytest.raises(LookupError, match="the iterable") as caught:
        next(iterator)
    assert caught.value.__cause__ is None
    assert next(iterator, "end") == "end"


def test_what_is_no_iterable(fork_pool: Pool) -> None:
    with pytest.raises(TypeError):
        next(fork_pool.imap(square, 5))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        fork_pool.map(square, 5)  # type: ignore[arg-type]
    with pytest.raises(LookupError):
        fork_pool.map(square, numbers_then_error(3))


def test_a_container_that_changes_while_it_is_read(fork_pool: Pool) -> None:
    items = dict.fromkeys(range(POOL_WINDOW_COUNT * 2))
    iterator = fork_pool.imap(identity, items)
    del items[0]
    with pytest.raises(RuntimeError, match="changed size"):
        list(iterator)


# -- slow tasks -------------------------------------------------------------------------------------------------------


def test_a_slow_task_holds_nothing_back(any_pool: Pool) -> None:
    values = list(any_pool.imap_unordered(sleep_at_three, range(500)))
    assert values[-1] == 3
    assert sorted(values) == list(range(500))
    assert any_pool.map(sleep_at_three, range(500)) == list(range(500))
    assert any_pool.map(sleep_at_three, range(500), chunksize=50) == list(range(500))


def test_a_timeout_ends_its_task_alone(any_pool: Pool) -> None:
    results = any_pool.map(stuck_for_a_while, range(8), timeout=SHORT_S * 4, on_error="return")
    values_with(3, TaskTimeout, results)
    assert isinstance(results[3], phalanx.TimeoutError)
    assert any_pool.apply(square, (2,)) == 4


def stuck_for_a_while(x: int) -> int:
    return sleep_if(x, 3, 3.0)


def test_a_timeout_with_nobody_waiting(fork_pool: Pool) -> None:
    failed = threading.Event()
    fork_pool.apply_async(time.sleep, (1000,), error_callback=lambda error: failed.set(), timeout=SHORT_S)
    assert failed.wait(LONG_S)


def ignore_and_sleep(_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)


def test_a_timeout_of_a_task_that_ignores_sigterm(fork_pool: Pool) -> None:
    with pytest.raises(TaskTimeout):
        fork_pool.apply(ignore_and_sleep, (1,), timeout=SHORT_S)


# -- errors -----------------------------------------------------------------------------------------------------------


def test_a_remote_error_comes_as_itself_with_its_traceback(pool: Pool) -> None:
    with pytest.raises(ValueError, match=r"^7$") as caught:
        pool.apply(raise_error, (7,))
    cause = caught.value.__cause__
    assert type(cause) is RemoteTraceback
    assert "raise ValueError(x)" in cause.tb
    assert cause.tb in str(cause)


def test_errors_of_threads_are_not_wrapped() -> None:
    with closed_at_end(ThreadPool(1)) as pool, pytest.raises(ValueError, match=r"^7$") as caught:
        pool.apply(raise_error, (7,))
    assert caught.value.__cause__ is None


UNTRAVELLED = [(raise_two, "TwoArguments: 1 and 2"), (raise_with_lock, "WithLock: has a lock")]


@pytest.mark.parametrize(("task", "name"), UNTRAVELLED)
def test_an_exception_that_cannot_travel(pool: Pool, task: Callable[..., Any], name: str) -> None:
    with pytest.raises(RemoteError, match=name) as caught:
        pool.apply(task, (1,))
    assert task.__name__ in str(caught.value.__cause__)


def test_exits_and_interrupts_are_their_tasks_errors(any_pool: Pool) -> None:
    with pytest.raises(SystemExit) as caught:
        any_pool.apply(leave, (5,))
    assert caught.value.code == 5
    with pytest.raises(KeyboardInterrupt):
        any_pool.apply(interrupt, (1,))
    assert any_pool.apply(square, (2,)) == 4


def test_a_bad_argument_fails_alone(pool: Pool) -> None:
    values_with(3, RuntimeError, pool.map(identity, [0, 1, 2, Unpicklable(), 4, 5, 6, 7], on_error="return"))
    values_with(3, ValueError, pool.map(identity, [0, 1, 2, Unrebuildable(), 4, 5, 6, 7], 8, on_error="return"))
    with pytest.raises(RuntimeError, match="this one not"):
        pool.apply_async(identity, (Unpicklable(),)).get(LONG_S)


def test_a_bad_result_fails_alone(pool: Pool) -> None:
    results = pool.map(give_unpicklable, range(8), on_error="return")
    values_with(3, MaybeEncodingError, results)
    assert str(results[3]).startswith("Error sending result: '<")
    assert "this one not" in results[3].exc
    assert "Unpicklable object" in results[3].value
    values_with(3, ValueError, pool.map(give_unrebuildable, range(8), on_error="return"))


def test_a_function_that_cannot_be_sent(pool: Pool) -> None:
    lock = threading.Lock()
    result = pool.apply_async(lambda: lock)
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
        result.get(LONG_S)


def test_the_first_error_of_map_is_raised_after_all_have_run(any_pool: Pool) -> None:
    with pytest.raises(KeyError):
        any_pool.map(raise_odd, range(10))
    assert any_pool.map(raise_odd, range(0, 10, 2)) == [0, 2, 4, 6, 8]


def test_errors_as_results(any_pool: Pool) -> None:
    results = any_pool.map(raise_odd, range(4), on_error="return")
    assert results[::2] == [0, 2]
    assert [error.args for error in results[1::2]] == [(1,), (3,)]
    results = list(any_pool.imap(raise_odd, range(4), on_error="return"))
    assert [type(result) for result in results] == [int, KeyError, int, KeyError]


# -- deaths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "exitcode"), [(kill_at_three, -signal.SIGKILL), (exit_at_three, 7)])
def test_a_death_costs_its_task_alone(pool: Pool, task: Callable[[int], int], exitcode: int) -> None:
    for results in (
        pool.map(task, range(8), on_error="return"),
        pool.map(task, range(8), 8, on_error="return"),
        list(pool.imap(task, range(8), on_error="return")),
    ):
        values_with(3, WorkerDied, results)
        death = results[3]
        assert death.exitcode == exitcode
        assert death.signal == (-exitcode if exitcode < 0 else None)
        assert death.pid not in (None, os.getpid())
        assert death.task == f"{task.__name__}() of item 3"
    assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]


def test_a_death_while_one_waits_for_a_single_task(pool: Pool) -> None:
    with pytest.raises(WorkerDied, match=r"SIGKILL.*kill_at_three\(\)"):
        pool.apply(kill_at_three, (3,))


def test_an_idle_worker_that_dies_is_replaced(fork_pool: Pool) -> None:
    before = {fork_pool.apply(pid)}
    for process in fork_pool._pool:
        before.add(process.pid)
        os.kill(process.pid, signal.SIGKILL)
    assert fork_pool.apply(pid) not in before


def die_once(path: str) -> str:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "alive"
    os._exit(1)


def test_a_task_is_tried_again_after_a_death(fork_pool: Pool, tmp_path: Any) -> None:
    assert fork_pool.apply(die_once, (str(tmp_path / "x"),), retries=1) == "alive"
    with pytest.raises(WorkerDied):
        fork_pool.apply(exit_at_three, (3,), retries=2)


def raise_once(path: str) -> str:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "fine"
    raise ConnectionError


def test_a_task_is_tried_again_after_a_listed_exception(any_pool: Pool, tmp_path: Any) -> None:
    path = str(tmp_path / "x")
    with pytest.raises(ConnectionError):
        any_pool.apply(raise_once, (path,), retries=1, retry_on=KeyError)
    os.unlink(path)
    assert any_pool.apply(raise_once, (path,), retries=1, retry_on=OSError, backoff=0.01) == "fine"


# -- workers ----------------------------------------------------------------------------------------------------------

initialized: list[Any] = []


def initialize(*values: Any) -> None:
    initialized[:] = values


def what_was_initialized(_: object = None) -> list[Any]:
    return initialized


def test_initializer(context: Any) -> None:
    with closed_at_end(context.Pool(2, initialize, (1, "two"))) as pool:
        assert pool.map(what_was_initialized, range(4)) == [[1, "two"]] * 4


def fail_to_initialize() -> None:
    raise LookupError("no ground")


def crash_initially() -> None:
    os._exit(9)


def test_an_initializer_that_raises_fails_the_pool_with_its_traceback(context: Any) -> None:
    with context.Pool(2, fail_to_initialize) as pool:
        with pytest.raises(LookupError, match="no ground") as caught:
            pool.apply(square, (1,))
        assert "fail_to_initialize" in str(caught.value.__cause__)
        with pytest.raises(LookupError):
            pool.map(square, [1])


def test_an_initializer_that_crashes_fails_the_pool(context: Any) -> None:
    with context.Pool(1, crash_initially) as pool, pytest.raises(WorkerDied, match="exit code 9"):
        pool.map(square, range(10))


def test_an_initializer_of_threads_that_raises() -> None:
    with ThreadPool(1, fail_to_initialize) as pool, pytest.raises(LookupError):
        pool.apply(square, (1,))


def test_workers_are_replaced_after_their_tasks(context: Any) -> None:
    with closed_at_end(context.Pool(1, maxtasksperchild=3)) as pool:
        pids = pool.map(pid, range(9), chunksize=1)
        assert [pids.count(each) for each in dict.fromkeys(pids)] == [3, 3, 3]


def test_a_life_is_counted_in_chunks() -> None:
    with closed_at_end(phalanx.get_context("fork").Pool(1, maxtasksperchild=1)) as pool:
        pids = pool.map(pid, range(9), chunksize=3)
        assert [pids.count(each) for each in dict.fromkeys(pids)] == [3, 3, 3]
        assert len(set(pool.map(pid, range(1000)))) == 4
        assert len({pool.apply(pid) for _ in range(3)}) == 3
        values_with(3, KeyError, pool.map(raise_at_three, range(8), 1, on_error="return"))


def raise_at_three(x: int) -> int:
    if x == 3:
        raise KeyError(x)
    return x


def test_the_workers_names_and_daemons(fork_pool: Pool) -> None:
    assert all(process.name.startswith("ForkPoolWorker-") and process.daemon for process in fork_pool._pool)


def test_ctrl_c_is_the_parents(fork_pool: Pool) -> None:
    fork_pool.map(square, range(4))
    pids = {process.pid for process in fork_pool._pool}
    for each in pids:
        os.kill(each, signal.SIGINT)
    assert set(fork_pool.map(pid, range(200), 1)) <= pids


def pool_in_pool(x: int) -> list[int]:
    with phalanx.get_context("fork").Pool(2) as inner:
        return inner.map(square, range(x))


def test_pools_in_pools(fork_pool: Pool) -> None:
    assert fork_pool.map(pool_in_pool, [2, 3]) == [[0, 1], [0, 1, 4]]


# -- the pool's life --------------------------------------------------------------------------------------------------


def test_sizes() -> None:
    for size in (0, -1):
        with pytest.raises(ValueError, match="Number of processes must be at least 1"):
            Pool(size)
    with closed_at_end(Pool()) as pool:
        assert len(pool._pool) == phalanx.available_cpus()


@pytest.mark.parametrize("value", [0, -1, 0.5, "12"])
def test_maxtasksperchild_is_checked(value: Any) -> None:
    with pytest.raises(ValueError, match="maxtasksperchild must be a positive int or None"):
        Pool(1, maxtasksperchild=value)


def test_arguments_are_checked(fork_pool: Pool) -> None:
    with pytest.raises(TypeError, match="initializer must be a callable"):
        Pool(1, initializer=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Chunksize must be 1"):
        fork_pool.imap(square, [], chunksize=0)
    with pytest.raises(ValueError, match="buffersize"):
        fork_pool.imap(square, [], buffersize=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'timeot'"):
        fork_pool.map(square, [1], timeot=3)
    for wrong in ({"timeout": 0}, {"retries": -1}, {"backoff": -1}, {"on_error": "ignore"}, {"retries": 1.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fork_pool.map(square, [1], **wrong)
    with pytest.raises(TypeError, match="retry_on"):
        fork_pool.map(square, [1], retry_on="ValueError")


def test_states(context: Any) -> None:
    pool = context.Pool(3)
    assert repr(pool) == "<phalanx.pool.Pool state=RUN pool_size=3>"
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()
    with pytest.raises(NotImplementedError, match="cannot be passed between processes or pickled"):
        pickle.dumps(pool)
    result = pool.map_async(square, range(10))
    pool.close()
    for call in (pool.map, pool.apply, pool.imap, pool.map_async, pool.starmap_async, pool.imap_unordered):
        with pytest.raises(ValueError, match="Pool not running"):
            call(square, [1])
    pool.join()
    pool.join()
    assert result.get() == [x * x for x in range(10)]
    assert repr(pool) == "<phalanx.pool.Pool state=CLOSE pool_size=0>"
    with pytest.raises(ValueError, match="Pool not running"):
        pool.__enter__()


def test_terminate_ends_everything_with_an_error(any_pool: Pool) -> None:
    single = any_pool.apply_async(stuck_for_a_while, (3,))
    many = any_pool.map_async(stuck_for_a_while, [3] * 10)
    iterator = any_pool.imap(stuck_for_a_while, [3] * 10)
    any_pool.terminate()
    any_pool.join()
    for get in (single.get, many.get, iterator.next):
        with pytest.raises(ProcessError, match="terminated"):
            get()
    any_pool.terminate()


def test_threads_are_gone_after_join() -> None:
    begun, ended = threading.Event(), threading.Event()

    def task() -> None:
        begun.set()
        time.sleep(1.5)  # beyond the grace of a worker process
        ended.set()

    pool = ThreadPool(2)
    pool.apply_async(task)
    assert begun.wait(LONG_S)
    pool.terminate()
    pool.join()
    assert ended.is_set()


def test_terminate_while_another_thread_waits(fork_pool: Pool) -> None:
    errors = []

    def wait() -> None:
        try:
            fork_pool.map(stuck_at_three, range(10))
        except ProcessError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not fork_pool._shell.calls:
        time.sleep(0.001)
    fork_pool.terminate()
    thread.join(LONG_S)
    assert len(errors) == 1


def test_leaving_the_block_terminates(context: Any) -> None:
    with context.Pool(2) as pool:
        processes = pool._pool
        pool.apply_async(time.sleep, (1000,))
    assert all(process.exitcode == -signal.SIGTERM for process in processes)


def test_a_forgotten_pool_is_ended() -> None:
    pool = phalanx.get_context("fork").Pool(2)
    processes, forgotten = pool._pool, weakref.ref(pool)
    pool.map(square, range(10))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del pool
        gc.collect()
    assert [str(each.message).partition(" <")[0] for each in caught] == ["unclosed running multiprocessing pool"]
    caught.clear()  # the warning has the pool as its source
    gc.collect()
    assert forgotten() is None
    while processes:
        process = processes.pop()
        process.join(LONG_S)
        assert process.exitcode is not None


def test_arguments_and_results_are_let_go_of(any_pool: Pool) -> None:
    items = [Counted() for _ in range(10)]
    references = [weakref.ref(item) for item in items]
    results = any_pool.map(identity, items)
    assert len(results) == 10
    del items, results
    deadline = time.monotonic() + LONG_S
    while any(reference() is not None for reference in references) or Counted.count:
        gc.collect()
        assert time.monotonic() < deadline


class Counted:
    count = 0

    def __new__(cls) -> Self:
        cls.count += 1
        return super().__new__(cls)

    def __del__(self) -> None:
        type(self).count -= 1


# -- names that programs use ------------------------------------------------------------------------------------------


def test_names_of_the_stdlib() -> None:
    assert (pools.INIT, pools.RUN, pools.CLOSE, pools.TERMINATE) == ("INIT", "RUN", "CLOSE", "TERMINATE")
    assert pools.mapstar((square, [1, 2])) == [1, 4]
    assert pools.starmapstar((multiply, [(1, 2), (3, 4)])) == [2, 12]
    assert pools.AsyncResult is pools.ApplyResult
    assert callable(pools.worker)


def test_an_exception_with_its_traceback_survives_a_pickle() -> None:
    try:
        raise_error(1)
    except ValueError as error:
        packed = pools.ExceptionWithTraceback(error, error.__traceback__)
    rebuilt = pickle.loads(pickle.dumps(packed))
    assert isinstance(rebuilt, ValueError)
    assert "raise ValueError(x)" in rebuilt.__cause__.tb  # type: ignore[union-attr]
