"""Processes die at each named step of a channel, and at random: the others go on, and nothing comes twice.

The steps, and what a death at each leaves behind, are in native/channel/README.md.
"""

import os
import queue
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from killing import Child, die, fork, held
from phalanx import _native
from phalanx.queues import JoinableQueue, Queue

README = Path(__file__).parents[2] / "native" / "channel" / "README.md"

CHAOS_S = float(os.environ.get("PHALANX_CHAOS_S", "3"))
"""How long the nemesis is at work; longer runs find more."""

BIG_BYTES = 100_000
"""Such a message lies in a block of its own."""

PUT_STEPS = ["channel.put_locked", "channel.written", "channel.published", "channel.counted", "channel.sent"]
GROW_STEPS = ["channel.grown", "channel.linked", "channel.moving", "arena.child_taken"]
TAKE_STEPS = ["channel.take_locked", "channel.taken"]
CLAIM_STEPS = ["channel.claimed"]
LINK_STEPS = ["channel.retiring"]
ALL_STEPS = [*PUT_STEPS, *GROW_STEPS, *TAKE_STEPS, *CLAIM_STEPS, *LINK_STEPS]

told = pytest.mark.parametrize("tell", [True, False], ids=["reaped", "found dead"])


def in_all_ways(check: Callable[[str, bytes, bool], None]) -> Callable[[str], None]:
    """With records that hold all and such that refer to a block; with a death that is told and one that is found."""

    def test(point: str) -> None:
        for pad in (b"", b"x" * BIG_BYTES):
            for tell in (True, False):
                check(point, pad, tell)

    test.__name__ = check.__name__
    return test


def test_no_step_is_forgotten() -> None:
    assert set(re.findall(r"`(channel\.\w+)`", README.read_text())) == {
        s for s in ALL_STEPS if s.startswith("channel.")
    }


@pytest.fixture(autouse=True)
def nothing_stays() -> Any:
    before = held()
    yield
    assert held() == before


def drain(channel: Any) -> list[Any]:
    got = []
    while True:
        try:
            got.append(channel.get_nowait()[0])
        except queue.Empty:
            assert channel.qsize() == 0
            assert channel.empty()
            return got


# -- a death at each step ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", PUT_STEPS)
@in_all_ways
def test_a_producer_dies(point: str, pad: bytes, tell: bool) -> None:
    channel = Queue(4)
    channel.put((1, pad))
    die(lambda: channel.put((2, pad)), point, tell)
    channel.put((3, pad))
    got = drain(channel)
    assert got in ([1, 2, 3], [1, 3])
    for number in range(4):
        channel.put_nowait((number, pad))
    assert channel.full()
    assert drain(channel) == [0, 1, 2, 3]


@pytest.mark.parametrize("point", PUT_STEPS)
@in_all_ways
def test_a_producer_dies_and_nobody_puts_again(point: str, pad: bytes, tell: bool) -> None:
    channel = JoinableQueue()
    channel.put((1, pad))
    die(lambda: channel.put((2, pad)), point, tell)
    got = drain(channel)
    assert got in ([1, 2], [1])
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.01)
    for _ in got:
        channel.task_done()
    assert channel.join() is not False
    with pytest.raises(ValueError, match="too many"):
        channel.task_done()


@told
@pytest.mark.parametrize("point", GROW_STEPS)
def test_a_producer_dies_while_the_channel_grows(point: str, tell: bool) -> None:
    channel = Queue()
    numbers = 100
    die(lambda: [channel.put((i, b"x" * 1000)) for i in range(numbers)], point, tell)
    got = drain(channel)
    assert got == list(range(len(got)))
    others = [_native.Block(65536) for _ in range(3)]  # a segment that was freed too early would be among these
    for block in others:
        memoryview(block)[:] = b"\xff" * 65536
    for number in range(numbers):
        channel.put((number, b"x" * 1000))
    assert drain(channel) == list(range(numbers))
    assert all(bytes(block) == b"\xff" * 65536 for block in others)


@pytest.mark.parametrize("point", [*TAKE_STEPS, *CLAIM_STEPS])
@in_all_ways
def test_a_consumer_dies(point: str, pad: bytes, tell: bool) -> None:
    if point in CLAIM_STEPS and not pad:
        return  # nothing to claim
    channel = Queue(3)
    for number in (1, 2, 3):
        channel.put((number, pad))
    die(channel.get, point, tell)
    if point == "channel.taken":
        assert channel.qsize() == 2
        channel.put_nowait((4, pad))  # the room is there, although the dead one did not say so
        assert drain(channel) == [2, 3, 4]
    else:
        got = drain(channel)
        assert got in ([1, 2, 3], [2, 3])
        assert got == [1, 2, 3] or point in CLAIM_STEPS


@told
@pytest.mark.parametrize("point", [*LINK_STEPS, "channel.retiring:2", "channel.taken:70"])
def test_a_consumer_dies_where_a_segment_ends(point: str, tell: bool) -> None:
    channel = Queue()
    for number in range(200):
        channel.put((number, b"x" * 1000))

    def take() -> None:
        for number in range(200):
            assert channel.get()[0] == number

    die(take, point, tell)
    got = drain(channel)
    assert got == list(range(200 - len(got), 200))
    for number in range(200):
        channel.put((number, b"x" * 1000))
    assert drain(channel) == list(range(200))


@pytest.mark.parametrize("point", PUT_STEPS)
def test_who_waits_for_an_item_gets_the_next(point: str) -> None:
    channel, started = Queue(), Queue()

    def consume() -> None:
        started.put(None)
        assert channel.get() in ((2, b""), (3, b""))

    consumer = fork(consume)
    started.get()
    die(lambda: channel.put((2, b"")), point)
    channel.put((3, b""))
    assert consumer.reap() == 0
    assert drain(channel) in ([], [3])


@pytest.mark.parametrize("point", TAKE_STEPS)
def test_who_waits_for_room_gets_it(point: str) -> None:
    channel, started = Queue(1), Queue()
    channel.put((1, b""))

    def produce() -> None:
        started.put(None)
        channel.put((2, b""))

    producer = fork(produce)
    started.get()
    die(channel.get, point, tell=False)
    if point == "channel.take_locked":
        assert channel.get()[0] == 1
    assert producer.reap() == 0  # if the dead one took it, nobody else need look at the queue
    assert drain(channel) == [2]


@told
def test_shared_objects_of_the_dead_go_back(tell: bool) -> None:
    channel = Queue()
    die(lambda: channel.put((1, [Queue() for _ in range(20)])), "channel.written", tell)
    channel.put((2, Queue()))
    assert drain(channel) == [2]


# -- at random ---------------------------------------------------------------------------------------------------------


class Crowd:
    """Producers and consumers over one queue, and what each has done for certain."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.channel = Queue(self.random.choice([0, 5, 50]))
        self.put_counts = [memoryview(_native.Block(8)).cast("Q") for _ in range(4000)]
        self.ledger = Queue()
        self.producers: dict[int, Child] = {}
        self.consumers: list[Child] = []
        self.stop = memoryview(_native.Block(8)).cast("Q")
        self.finished: set[int] = set()
        self.latest: dict[tuple[int, int], int] = {}
        self.killed_consumers = 0

    def produce(self, name: int) -> None:
        number = 0
        chance = random.Random(name)
        while not self.stop[0]:
            size = chance.choice([0, 0, 0, 0, 500, 20_000])
            if chance.random() < 0.2:
                self.channel.put_many([(name, number + i, b"x" * size) for i in range(5)])
                number += 5
            else:
                self.channel.put((name, number, b"x" * size))
                number += 1
            self.put_counts[name][0] = number

    def consume(self) -> None:
        chance = random.Random(os.getpid())
        while True:
            items = self.channel.get_many(3) if chance.random() < 0.2 else [self.channel.get()]
            for position, item in enumerate(items):
                if item is None:
                    self.channel.put_many(items[position + 1 :])  # the others' signs to stop
                    return
                self.ledger.put((os.getpid(), *item[:2]))

    def add_producer(self) -> None:
        name = len(self.producers)
        self.producers[name] = fork(lambda: self.produce(name))

    def add_consumer(self) -> None:
        self.consumers.append(fork(self.consume))

    def kill_one(self) -> None:
        alive = [name for name in self.producers if name not in self.finished]
        if self.random.random() < 0.5:
            name = self.random.choice(alive)
            self.producers[name].kill()
            assert self.producers[name].reap(self.random.random() < 0.5) == -9
            self.finished.add(name)
            self.add_producer()
        else:
            consumer = self.consumers.pop(self.random.randrange(len(self.consumers)))
            consumer.kill()
            assert consumer.reap(self.random.random() < 0.5) == -9
            self.killed_consumers += 1
            self.add_consumer()


def collect(crowd: Crowd, seen: dict[int, list[int]]) -> None:
    """What the consumers have reported; each sees the numbers of one producer in their order."""
    try:
        while True:
            consumer, name, number = crowd.ledger.get_nowait()
            assert number > crowd.latest.get((consumer, name), -1)
            crowd.latest[consumer, name] = number
            seen.setdefault(name, []).append(number)
    except queue.Empty:
        pass


def end(crowd: Crowd, seen: dict[int, list[int]]) -> None:
    """Let the living finish, and take what is left."""
    crowd.stop[0] = 1
    for name, producer in crowd.producers.items():
        if name not in crowd.finished:
            assert producer.reap() == 0
    for _ in crowd.consumers:
        crowd.channel.put(None)
    for consumer in crowd.consumers:
        while True:
            collect(crowd, seen)
            pid, status = os.waitpid(consumer.pid, os.WNOHANG)
            if pid:
                assert status == 0
                _native.slot_end(consumer.slot)
                break
            time.sleep(0.002)
    collect(crowd, seen)


def check(crowd: Crowd, seen: dict[int, list[int]]) -> None:
    missing = 0
    for name in crowd.producers:
        got, certain = seen.get(name, []), crowd.put_counts[name][0]
        assert len(set(got)) == len(got), f"producer {name}: something came twice"
        missing += len(set(range(certain)) - set(got))
        assert max(got, default=-1) < certain + 5, f"producer {name}: more came than was put"
    # A killed consumer had a batch of three in its hands at most, and one more on its way to the ledger.
    assert missing <= 3 * crowd.killed_consumers
    assert crowd.channel.empty()


@pytest.mark.timeout(120 + CHAOS_S)
def test_the_nemesis() -> None:
    seed = int(os.environ.get("PHALANX_CHAOS_SEED", random.SystemRandom().randrange(2**32)))
    print(f"the same again: PHALANX_CHAOS_SEED={seed}")
    crowd = Crowd(seed)
    seen: dict[int, list[int]] = {}
    for _ in range(4):
        crowd.add_producer()
        crowd.add_consumer()
    until = time.monotonic() + CHAOS_S
    while time.monotonic() < until:
        time.sleep(crowd.random.random() * 0.03)  # lets them work: what is killed when is left to chance
        crowd.kill_one()
        collect(crowd, seen)
    end(crowd, seen)
    check(crowd, seen)
