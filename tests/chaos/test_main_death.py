"""The main process is killed: its tree ends with it, but for processes that are to live on."""

import os
import signal
from pathlib import Path

import pytest

from programs import Program

TREE = Path(__file__).parent / "programs" / "tree.py"

WORKING = {"nested": 4}
"""How many processes say that they are at work, where it is not two."""


def pair(line: str) -> tuple[int, int]:
    """A process at work, and which has started it."""
    pid, parent = map(int, line.split())
    return pid, parent


def start(method: str, shape: str, **environment: str) -> Program:
    return Program(TREE, method, shape, environment=environment)


@pytest.mark.parametrize("shape", ["daemons", "asked", "pool", "busy", "replaced", "nested", "manager"])
def test_no_process_is_left(start_method: str, shape: str) -> None:
    with start(start_method, shape) as program:
        program.lines(WORKING.get(shape, 2))
        program.kill()
        program.expect_gone()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_workers_of_another_user_end_too(start_method: str) -> None:
    with start(start_method, "nobody") as program:
        program.lines(2)
        program.kill()
        program.expect_gone()


def test_no_named_segment_is_left(start_method: str) -> None:
    with start(start_method, "segment") as program:
        name, *_ = program.lines(3)
        assert name in os.listdir("/dev/shm")
        program.kill()
        program.expect_gone()
        assert name not in os.listdir("/dev/shm")


def test_processes_that_are_not_daemonic_live_on(start_method: str) -> None:
    with start(start_method, "others") as program:
        working = {pair(line)[0] for line in program.lines(2)}
        program.kill()
        program.expect_gone(besides=working)
        assert working <= set(program.tree())


def test_a_process_ends_that_is_still_starting() -> None:
    """Its main module takes its time."""
    with start("spawn", "daemons", SLOW_IMPORT="1") as program:
        program.lines(2)
        program.kill()
        program.expect_gone()


def test_the_workers_of_a_killed_worker_end(start_method: str) -> None:
    with start(start_method, "nested") as program:
        workers = dict(pair(line) for line in program.lines(4))
        victim = next(iter(workers.values()))
        os.kill(victim, signal.SIGKILL)
        # Not "all but": the pool above starts another worker, with workers of its own.
        program.expect_gone(of={pid for pid, parent in workers.items() if parent == victim})
        assert program.process.poll() is None


def test_the_end_of_a_thread_is_nobodys_death(start_method: str) -> None:
    with start(start_method, "thread") as program:
        assert program.lines(1) == ["alive"]
        program.lines(2)
        program.kill()
        program.expect_gone()
