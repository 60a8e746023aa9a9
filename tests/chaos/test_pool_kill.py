"""Workers, and a pool's own process, are killed at every step: each task ends exactly once, nobody waits for ever.

The steps, and what a death at each leaves behind, are in native/row/README.md and native/channel/README.md.
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

import phalanx
from phalanx import _native
from phalanx._base.errors import WorkerDied
from phalanx.pool import Pool

LONG_S = 30.0
TASKS = 400
README = Path(__file__).parents[2] / "native" / "row" / "README.md"

BETWEEN_TASKS = ["row.taken", "row.claimed", "row.appended", "row.released"]
INSIDE_A_TASK = ["row.item", "row.called"]
REBUILDING = "row.rebuilding"
IN_A_CHANNEL = [
    "channel.put_locked",
    "channel.written",
    "channel.published",
    "channel.sent",
    "channel.take_locked",
    "channel.taken",
]


def identity(x: int) -> int:
    return x


def listed(x: int) -> list[Any]:
    return [x, {x}]


def first_item(array: Any) -> float:
    return float(array[0])


def test_every_step_of_a_row_is_tried() -> None:
    steps = set(re.findall(r"`(row\.[a-z]+)`", README.read_text()))
    assert steps - {"row.owner", "row.span"} - {name for name in steps if name.endswith("_ns")} == {
        *BETWEEN_TASKS,
        *INSIDE_A_TASK,
        REBUILDING,
    }


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return os._exit, (5,)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_who_dies_of_rebuilding_a_task_costs_that_task(method: str) -> None:
    with phalanx.get_context(method).Pool(2) as pool:
        results = pool.map(identity, [*range(7), Deadly(), *range(8, 20)], chunksize=20, on_error="return")
        assert [result for x, result in enumerate(results) if x != 7] == [x for x in range(20) if x != 7]
        assert isinstance(results[7], WorkerDied)
        with pytest.raises(WorkerDied):
            pool.apply(identity, (Deadly(),))
        assert pool.map(identity, range(10)) == list(range(10))


@contextmanager
def doomed_workers(point: str) -> Iterator[Pool]:
    """A pool each of whose workers is killed at the step, every time it has come to it so often."""
    pool = phalanx.get_context("fork").Pool(2, _native.set_kill_point, (point,))
    with pool:
        yield pool


@pytest.mark.parametrize("point", [f"{name}:{count}" for name in BETWEEN_TASKS + IN_A_CHANNEL for count in (9, 23)])
def test_a_death_between_two_tasks_loses_nothing(point: str) -> None:
    with doomed_workers(point) as pool:
        before = {process.pid for process in pool._pool}
        for _ in range(3):
            assert pool.map(identity, range(TASKS), chunksize=1) == list(range(TASKS))
            assert pool.map(listed, range(TASKS)) == [[x, {x}] for x in range(TASKS)]
        assert [pool.apply(identity, (x,)) for x in range(60)] == list(range(60))
        assert {process.pid for process in pool._pool} - before, "nobody was killed"


@pytest.mark.parametrize("count", [2, 4])
def test_a_death_with_a_large_argument_in_its_hands_loses_nothing(count: int) -> None:
    arrays = [np.full(20_000, float(x)) for x in range(60)]
    with doomed_workers(f"channel.claimed:{count}") as pool:
        before = {process.pid for process in pool._pool}
        assert pool.map(first_item, arrays, chunksize=1) == list(range(60))
        assert {process.pid for process in pool._pool} - before, "nobody was killed"


@pytest.mark.parametrize("point", [f"{name}:{count}" for name in INSIDE_A_TASK for count in (5, 150)])
def test_a_death_inside_a_task_costs_that_task(point: str) -> None:
    with doomed_workers(point) as pool:
        results = pool.map(identity, range(TASKS), chunksize=1, on_error="return")
        died = [x for x, result in enumerate(results) if isinstance(result, WorkerDied)]
        assert died
        living = [x for x in range(TASKS) if x not in died]
        assert [results[x] for x in living] == living
        assert all(results[x].exitcode == -signal.SIGKILL for x in died)
        assert pool.map(identity, range(TASKS), chunksize=1, retries=TASKS) == list(range(TASKS))


# -- a nemesis --------------------------------------------------------------------------------------------------------


def busy(x: int) -> int:
    return sum(range(x % 1000)) * 0 + x


class Nemesis:
    """Kills, stops and continues random workers of a pool, by a seed."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self._pool, self._random = pool, random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.kills = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        for process in self._pool._pool:
            self._send(process, signal.SIGCONT)

    def _run(self) -> None:
        while not self._over.wait(self._random.random() * 0.02):
            crew = self._pool._pool
            number = self._random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
            if crew and self._send(self._random.choice(crew), number):
                self.kills += number == signal.SIGKILL
            for process in crew:
                if self._random.random() < 0.6:
                    self._send(process, signal.SIGCONT)

    @staticmethod
    def _send(process: Any, number: int) -> bool:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return False
        return True


def test_a_nemesis() -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    pool = phalanx.get_context("fork").Pool(4)
    with pool, Nemesis(pool, seed) as nemesis:
        while nemesis.kills < 10:
            assert pool.map(busy, range(10_000), retries=10_000) == list(range(10_000))
        assert sorted(pool.imap_unordered(busy, range(3000), retries=10_000)) == list(range(3000))
        results = [pool.apply_async(busy, (x,), retries=10_000) for x in range(600)]
        assert [result.get(LONG_S) for result in results] == list(range(600))


# -- the pool's own process dies ---------------------------------------------------------------------------------------

PROGRAM = """
import sys, time
import phalanx

def sleep(seconds):
    time.sleep(seconds)

def pids(_):
    return phalanx.current_process().pid

if __name__ == "__main__":
    pool = phalanx.get_context(sys.argv[1]).Pool(3)
    result = pool.map_async(sleep, [1000] * 50, chunksize=1)
    print(*(process.pid for process in pool._pool), flush=True)
    result.get()
"""


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_no_worker_survives_the_parent(method: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    parent = subprocess.Popen([sys.executable, str(script), method], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 3
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + LONG_S
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
