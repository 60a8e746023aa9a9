"""Forks while other threads are inside something that takes a lock: the child works."""

import logging
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import phalanx
from phalanx import util
from phalanx.reduction import ForkingPickler
from waits import LONG_S

FORKS_COUNT = 20
"""Enough that one of them meets another thread inside."""

THREADS_COUNT = 3

ITEM = {"numbers": list(range(200)), "text": "x" * 1000}


def use_lock(shared: Any) -> None:
    with shared["lock"]:
        pass


def use_recursive_lock(shared: Any) -> None:
    with shared["rlock"], shared["rlock"]:
        pass


def use_queue(shared: Any) -> None:
    """A queue for each use: what a child gets is what it put."""
    queue = phalanx.Queue()
    queue.put(ITEM)
    assert queue.get() == ITEM


def use_shared_queue(shared: Any) -> None:
    shared["queue"].put(ITEM)
    assert shared["queue"].get(timeout=LONG_S) == ITEM


def use_pipe(shared: Any) -> None:
    first, second = phalanx.Pipe()
    with first, second:
        first.send(ITEM)
        assert second.recv() == ITEM


def use_event(shared: Any) -> None:
    event = phalanx.Event()
    event.set()
    assert event.wait(LONG_S)


def use_memory(shared: Any) -> None:
    assert list(phalanx.RawArray("i", 10_000)) == [0] * 10_000


def use_logging(shared: Any) -> None:
    shared["logger"].warning("a line")
    util.debug("a line")


def use_pickle(shared: Any) -> None:
    assert pickle.loads(bytes(ForkingPickler.dumps(ITEM))) == ITEM


def use_finalizers(shared: Any) -> None:
    util.Finalize(Owner(), int)


class Owner:
    pass


class Nowhere:
    """A stream without a buffer: that of a file has a lock of the interpreter's own, which a fork leaves locked."""

    def write(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


USES = {
    "lock": use_lock,
    "recursive lock": use_recursive_lock,
    "queue": use_queue,
    "shared queue": use_shared_queue,
    "pipe": use_pipe,
    "event": use_event,
    "memory": use_memory,
    "logging": use_logging,
    "pickle": use_pickle,
    "finalizers": use_finalizers,
}


@contextmanager
def busy_threads(use: Callable[[Any], None], shared: Any) -> Iterator[None]:
    """Other threads are inside, again and again; an error of one is raised at the end."""
    over = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not over.is_set():
                use(shared)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(THREADS_COUNT)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(LONG_S)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)


def make_shared() -> Any:
    logger = logging.Logger("busy")  # noqa: LOG001  # it must not stay registered
    logger.addHandler(logging.StreamHandler(Nowhere()))
    return {"lock": phalanx.Lock(), "rlock": phalanx.RLock(), "queue": phalanx.Queue(), "logger": logger}


def in_child(use: Callable[[Any], None], shared: Any) -> None:
    for _ in range(3):
        use(shared)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("name", USES)
def test_a_child_forked_while_threads_are_inside(name: str) -> None:
    context = phalanx.get_context("fork")
    shared = make_shared()
    USES[name](shared)  # a first import has a lock of the interpreter's own
    with busy_threads(USES[name], shared):
        for _ in range(FORKS_COUNT):
            child = context.Process(target=in_child, args=(USES[name], shared), daemon=True)
            child.start()
            child.join(LONG_S)
            assert child.exitcode == 0
            child.close()


def square(number: int) -> int:
    return number * number


def use_pool_of_own() -> None:
    with phalanx.get_context("fork").Pool(2) as pool:
        assert pool.map(square, range(10)) == [number * number for number in range(10)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_forked_while_threads_use_a_pool() -> None:
    context = phalanx.get_context("fork")
    with context.Pool(2) as pool, busy_threads(lambda _: pool.map(square, range(100)) and None, None):
        for _ in range(3):
            child = context.Process(target=use_pool_of_own)
            child.start()
            child.join(LONG_S)
            assert child.exitcode == 0
            child.close()


def test_a_worker_may_fork_without_a_warning() -> None:
    """The core starts no thread in a worker, so that newer interpreters have nothing to warn of there."""
    context = phalanx.get_context("fork")
    with context.Pool(1) as pool:
        assert pool.apply(count_threads) == 1


def count_threads() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        child = phalanx.get_context("fork").Process(target=square, args=(2,))
        child.start()
        child.join()
    return len(os.listdir("/proc/self/task"))
