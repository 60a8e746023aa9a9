"""Limits of the system and of the arena: what cannot be had is told, and all else goes on."""

import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import leaks
import phalanx
from phalanx import _native
from programs import Program

LIMITED = Path(__file__).parent / "programs" / "limited.py"

SKIPPED = 77

MIB = 1 << 20

POOLS_COUNT = int(os.environ.get("PHALANX_POOLS", "100"))
"""How many pools are opened and closed; more find slower leaks."""

QUEUES_COUNT = 10_000

GROWTH_MAX_BYTES = 8 * MIB
"""What the allocators of C and of Python may have kept for later."""

ENVIRONMENT = {"full arena": {"PHALANX_ARENA_BYTES": str(32 * MIB)}}

LIMITS = [
    "no shm",
    "tiny shm",
    "few descriptors",
    "no descriptors",
    "few processes",
    "little address space",
    "no address space",
    "small files",
    "no files",
    "full arena",
]


@pytest.mark.parametrize("limit", LIMITS)
def test_limit(start_method: str, limit: str) -> None:
    with Program(LIMITED, start_method, limit, environment=ENVIRONMENT.get(limit, {})) as program:
        code = program.wait()
        said = program.rest()
        program.expect_gone()
    if code == SKIPPED:
        pytest.skip("this needs rights that the tests have not")
    assert said == "fine\n"
    assert code == 0


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def expect_no_more_than(before: leaks.Census) -> None:
    assert not leaks.settle(before, lambda: None)


def test_queues_made_and_dropped() -> None:
    def make(count: int) -> None:
        for number in range(count):
            queue = phalanx.Queue()
            queue.put(number)
            assert queue.get() == number

    make(100)
    before, bytes_before = leaks.Census(), resident_bytes()
    committed = _native.arena_stats()["committed_bytes"]
    make(QUEUES_COUNT)
    expect_no_more_than(before)
    assert _native.arena_stats()["committed_bytes"] <= committed + MIB
    assert resident_bytes() < bytes_before + GROWTH_MAX_BYTES


def square(number: int) -> int:
    return number * number


@pytest.mark.timeout(60 + POOLS_COUNT)
def test_pools_opened_and_closed() -> None:
    context = phalanx.get_context("fork")

    def use(count: int) -> None:
        for _ in range(count):
            with context.Pool(2) as pool:
                assert pool.map(square, range(10)) == [number * number for number in range(10)]

    use(10)
    before, bytes_before = leaks.Census(), resident_bytes()
    assert threading.active_count() <= 2
    use(POOLS_COUNT)
    expect_no_more_than(before)
    assert resident_bytes() < bytes_before + GROWTH_MAX_BYTES


class CannotFork:
    """In the place of what starts processes: it does so `count` times, and then there may be no more of them."""

    def __init__(self, start: Any, count: int) -> None:
        self._start = start
        self._left = count

    def __call__(self, *args: Any) -> Any:
        if self._left == 0:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self._left -= 1
        return self._start(*args)


@pytest.mark.parametrize("started", [0, 3])
@pytest.mark.parametrize(("method", "name"), [("fork", "os.fork"), ("spawn", "_posixsubprocess.fork_exec")])
def test_a_pool_that_cannot_start_all_its_workers(
    monkeypatch: pytest.MonkeyPatch, method: str, name: str, started: int
) -> None:
    import _posixsubprocess

    start = os.fork if method == "fork" else _posixsubprocess.fork_exec
    context = phalanx.get_context(method)
    with monkeypatch.context() as patch:
        patch.setattr(name, CannotFork(start, started))
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            context.Pool(5)
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            context.Process(target=square, args=(1,)).start()
    assert not phalanx.active_children()
    with context.Pool(2) as pool:
        assert pool.map(square, [2]) == [4]
