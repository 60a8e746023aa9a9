"""Processes die at each named step of the arena, and at random: what they held goes back, and no memory is given twice.

The steps, and what a death at each leaves behind, are in native/memory/README.md.
"""

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from killing import die, fork, held
from phalanx import _native
from phalanx.queues import Queue

README = Path(__file__).parents[2] / "native" / "memory" / "README.md"

CHAOS_S = float(os.environ.get("PHALANX_CHAOS_S", "3"))

SIZES = [64, 3000, 65536, 200_000, 5_000_000]
"""Of one class each: small pieces, a whole run, a part of a unit, whole units."""


def make_and_drop(size: int) -> None:
    for _ in range(3):
        first, second = _native.Block(size), _native.Block(size)
        memoryview(first)[0] = 1
        del first, second


def fork_once(kept: Any) -> None:
    child = fork(lambda: memoryview(kept)[0])
    assert child.reap() == 0


STEPS: dict[str, Callable[[Any], None]] = {
    "arena.locked": lambda kept: make_and_drop(len(kept)),
    "arena.block_taken": lambda kept: make_and_drop(len(kept)),
    "arena.leased": lambda kept: make_and_drop(len(kept)),
    "arena.moving": lambda kept: make_and_drop(len(kept)),
    "arena.releasing": lambda kept: make_and_drop(len(kept)),
    "arena.child_taken": lambda kept: Queue().put(1),
    "fork.reserved": fork_once,
}
OTHER_STEPS = {"fork.adopted"}


def test_no_step_is_forgotten() -> None:
    told = set(re.findall(r"`((?:arena|fork)\.\w+)`", README.read_text()))
    assert told == set(STEPS) | OTHER_STEPS


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = held()
    yield
    assert held() == before


def expect_apart(size: int) -> None:
    """Blocks of that size, enough to cross the ends of what they are carved from, are not inside one another."""
    blocks = [_native.Block(size) for _ in range(24 if size < 1 << 20 else 4)]
    for number, block in enumerate(blocks, 1):
        memoryview(block)[:] = bytes([number]) * size
    for number, block in enumerate(blocks, 1):
        assert bytes(block) == bytes([number]) * size


@pytest.mark.parametrize("tell", [True, False], ids=["reaped", "found dead"])
@pytest.mark.parametrize("point", STEPS)
def test_death_at(point: str, tell: bool) -> None:
    for size in SIZES:
        kept = _native.Block(size)
        memoryview(kept)[:] = b"\xee" * size
        die(lambda kept=kept: STEPS[point](kept), point, tell)
        expect_apart(size)
        assert bytes(kept) == b"\xee" * size


@pytest.mark.parametrize("tell", [True, False], ids=["reaped", "found dead"])
def test_death_before_the_slot_is_adopted(tell: bool) -> None:
    kept = _native.Block(100)
    _native.set_kill_point("fork.adopted")
    try:
        child = fork(lambda: None)
    finally:
        _native.set_kill_point(None)
    assert child.reap(tell) == -9
    assert len(kept) == 100


def test_the_last_holder_dies() -> None:
    """What only a dead process held is there for others again."""
    ready = Queue()
    ready.put(0)
    assert ready.get() == 0
    before = held()

    def hold() -> None:
        blocks = [_native.Block(1_000_000) for _ in range(20)]
        ready.put(len(blocks))
        while True:
            time.sleep(60)

    child = fork(hold)
    assert ready.get() == 20
    assert _native.arena_stats()["blocks"] >= before[0] + 20
    child.kill()
    child.reap(tell=False)
    assert held() == before


def work(seed: int) -> None:
    chance = random.Random(seed)
    kept: list[Any] = []
    while True:
        action = chance.random()
        if action < 0.5:
            block = _native.Block(chance.choice(SIZES[:4]))
            memoryview(block)[:] = bytes([seed % 251 + 1]) * len(block)
            kept.append(block)
        elif action < 0.9 and kept:
            block = kept.pop(chance.randrange(len(kept)))
            assert bytes(block) == bytes([seed % 251 + 1]) * len(block)
        elif action < 0.95:
            kept.append(Queue())
            kept[-1].put([Queue()])
            kept.pop()
        elif action < 0.96:
            child = fork(lambda: make_and_drop(100))
            assert child.reap(chance.random() < 0.5) == 0
        if len(kept) > 20:
            kept.clear()


@pytest.mark.timeout(120 + CHAOS_S)
@pytest.mark.leaves("processes")  # grandchildren whose parent was killed end by themselves
def test_the_nemesis() -> None:
    seed = int(os.environ.get("PHALANX_CHAOS_SEED", random.SystemRandom().randrange(2**32)))
    print(f"the same again: PHALANX_CHAOS_SEED={seed}")
    chance, slots = random.Random(seed), held()[2]
    children = [fork(lambda number=number: work(seed + number)) for number in range(4)]
    until = time.monotonic() + CHAOS_S
    while time.monotonic() < until:
        time.sleep(chance.random() * 0.02)
        victim = children.pop(chance.randrange(len(children)))
        victim.kill()
        assert victim.reap(chance.random() < 0.5) == -9, "it found a fault by itself"
        number = chance.randrange(2**30)
        children.append(fork(lambda number=number: work(number)))
        expect_apart(64)
    for child in children:
        child.kill()
        assert child.reap() == -9
    while held()[2] > slots:  # grandchildren, whom their parents' deaths do not stop
        time.sleep(0.01)
    for size in SIZES[:4]:
        expect_apart(size)
