"""The arena's binding: blocks, slots, handing over, and what a process without memory or descriptors gets."""

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from killing import fork, held
from phalanx import _native

MAX_SIZE = 1 << 40


def run(program: str, **environment: str) -> str:
    """What a program of its own prints; it must end well and complain of nothing."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


# -- blocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 63, 64, 65, 4096, 65536, 65537, 1 << 20, (1 << 22) + 1])
def test_a_block_is_zeroed_writable_and_as_long_as_asked(size: int) -> None:
    for _ in range(2):  # the second time it is used memory
        block = _native.Block(size)
        view = memoryview(block)
        assert (len(block), view.nbytes, view.readonly) == (size, size, False)
        assert bytes(view) == bytes(size)
        view[:] = b"\xff" * size
        assert block.address % 64 == 0
        del view, block


@pytest.mark.parametrize("size", [0, -1])
def test_a_block_needs_a_size(size: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        _native.Block(size)


def test_too_large_a_block_tells_the_figures() -> None:
    with pytest.raises(MemoryError, match=r"cannot grow: \d+ bytes committed in \d+ blocks"):
        _native.Block(MAX_SIZE + 1)
    with pytest.raises(MemoryError):
        _native.Block(MAX_SIZE)
    with pytest.raises(OverflowError):
        _native.Block(1 << 70)


def test_a_view_keeps_its_block() -> None:
    before = held()
    view = memoryview(_native.Block(1000))
    view[0] = 1
    assert held() == (before[0] + 1, before[1] + 1, before[2])
    del view
    assert held() == before


def test_memory_is_given_out_again_and_given_back() -> None:
    before = _native.arena_stats()["committed_bytes"]
    for _ in range(20):
        block = _native.Block(8 << 20)
        del block
    assert _native.arena_stats()["committed_bytes"] - before <= 8 << 20


def test_a_limit_from_the_environment() -> None:
    program = """
        from phalanx import _native
        assert _native.arena_stats()["blocks"] == 0
        kept = _native.Block(6 << 20)
        try:
            _native.Block(6 << 20)
        except MemoryError as error:
            print("10000000" in str(error), _native.arena_stats()["blocks"])
        del kept
        _native.Block(6 << 20)
    """
    assert run(program, PHALANX_ARENA_BYTES="10000000") == "True 1"


def test_a_process_that_may_map_no_more_gets_a_memory_error() -> None:
    program = """
        import resource
        from phalanx import _native
        from phalanx.queues import Queue
        queues = [Queue() for _ in range(3)]
        kept = _native.Block(1000)
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), resource.RLIM_INFINITY))
        errors = 0
        for size in (16 << 20, 32 << 20):
            try:
                _native.Block(size)
            except MemoryError:
                errors += 1
        filler = []
        try:
            while True:
                filler.append(_native.Block(60000))
        except MemoryError:
            errors += 1
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        filler.clear()
        for each in queues:
            each.put(1)
            assert each.get() == 1
        print(errors, _native.arena_stats()["blocks"])
    """
    assert run(program) == "3 7"  # three queues with a segment each, and `kept`


def test_without_descriptors() -> None:
    program = """
        import os, resource
        from phalanx import _native
        from phalanx.queues import Queue
        queue = Queue()
        os.closerange(3, 100)
        queue.put(b"x" * 10_000_000)
        assert len(queue.get()) == 10_000_000
        try:
            _native.arena_fd()
        except OSError as error:
            print(error.errno)
        pid = os.fork()
        if pid == 0:
            queue.put(b"y" * 5_000_000)
            os._exit(0)
        os.waitpid(pid, 0)
        print(len(queue.get()))
    """
    assert run(program) == "9\n5000000"


# -- slots -------------------------------------------------------------------------------------------------------------


def test_a_fork_has_a_slot() -> None:
    mine = _native.slot_self()
    assert _native.slot_is_alive(mine)
    child = fork(lambda: None if _native.slot_self() not in (0, mine) and _native.slot_of_last_fork() == 0 else 1 / 0)
    assert _native.slot_of_last_fork() == child.slot != mine
    assert child.reap() == 0
    assert not _native.slot_is_alive(child.slot)
    _native.slot_end(child.slot)  # once is enough
    _native.slot_set_pid(child.slot, os.getpid())
    assert not _native.slot_is_alive(child.slot)


def test_slots_out_of_range() -> None:
    assert not _native.slot_is_alive(0)
    _native.slot_end(0)
    for wrong in (-1, 1 << 31, 1 << 80):
        with pytest.raises((ValueError, OverflowError)):
            _native.slot_is_alive(wrong)


def test_more_processes_than_are_let_go_of_at_once() -> None:
    before = held()
    for _ in range(50):
        assert fork(lambda: None).reap(tell=False) == 0
    assert held() == before


def test_a_thread_forks_while_others_allocate() -> None:
    stop = threading.Event()

    def allocate() -> None:
        while not stop.is_set():
            memoryview(_native.Block(100_000))[0] = 1

    threads = [threading.Thread(target=allocate) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            assert fork(lambda: memoryview(_native.Block(5000)).release()).reap() == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# -- handing over ------------------------------------------------------------------------------------------------------


def granted(obj: Any, slot: int) -> bytes:
    _native.granting_begin(slot)
    try:
        return pickle.dumps(obj)
    finally:
        _native.granting_end()


def test_a_handle_is_taken_once() -> None:
    before = held()
    block = _native.Block(100)
    memoryview(block)[:5] = b"hello"
    data = granted(block, _native.slot_self())
    del block
    again = pickle.loads(data)
    assert bytes(memoryview(again)[:5]) == b"hello"
    with pytest.raises(RuntimeError, match="gone, or its handle was used before"):
        pickle.loads(data)
    del again
    assert held() == before


def test_what_was_granted_to_a_process_that_never_started_goes_back() -> None:
    before = held()
    slot = _native.slot_reserve()
    data = granted([_native.Block(100), _native.Channel()], slot)
    _native.slot_end(slot)
    assert held() == before
    with pytest.raises(RuntimeError, match="gone"):
        pickle.loads(data)


def test_granting_to_a_process_that_has_ended_is_refused() -> None:
    slot = _native.slot_reserve()
    _native.slot_end(slot)
    with pytest.raises(RuntimeError, match="gone"):
        granted(_native.Block(100), slot)
    assert not _native.is_granting()


def test_nothing_is_pickled_outside_of_granting() -> None:
    with pytest.raises(RuntimeError, match="Block objects should only be shared between processes through inheritance"):
        pickle.dumps(_native.Block(10))
    with pytest.raises(RuntimeError, match="without granting_begin"):
        _native.granting_end()


def test_another_trees_handle_is_refused() -> None:
    data = granted(_native.Block(10), _native.slot_self())
    program = f"""
        import pickle
        from phalanx import _native
        _native.arena_open()
        try:
            pickle.loads({data!r})
        except RuntimeError as error:
            print(error)
    """
    assert run(program) == "the shared object belongs to another process tree"
    pickle.loads(data)


def test_something_that_is_no_arena_is_refused() -> None:
    program = """
        import os
        from phalanx import _native
        for size in (0, 1 << 30):
            fd = os.memfd_create("other")
            os.ftruncate(fd, size)
            try:
                _native.arena_attach(fd, 4097)
            except RuntimeError as error:
                print(error)
        print(_native.arena_is_open(), _native.Block(5) is not None)
    """
    wrong = "not an arena, or one of another version of phalanx"
    assert run(program) == f"{wrong}\n{wrong}\nFalse True"


def test_attaching_with_a_slot_that_has_ended_is_refused_whole() -> None:
    slot = _native.slot_reserve()
    _native.slot_end(slot)
    fd = os.dup(_native.arena_fd())
    program = f"""
        from phalanx import _native
        try:
            _native.arena_attach({fd}, {slot})
        except RuntimeError as error:
            print(_native.arena_is_open())
        print(_native.slot_self() == 0, _native.Block(5) is not None, _native.slot_self() != 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, pass_fds=[fd]
    )
    os.close(fd)
    assert (done.stdout, done.stderr) == ("False\nTrue True True\n", "")


# -- any sequence of calls ---------------------------------------------------------------------------------------------


class Blocks(RuleBasedStateMachine):
    """Blocks never overlap, keep what is written, and nothing is held that nobody holds."""

    blocks = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.before = held()
        self.alive: dict[int, tuple[Any, bytes]] = {}
        self.next = 0

    @rule(target=blocks, size=st.integers(1, 300) | st.integers(60_000, 140_000) | st.just(3 << 20))
    def make(self, size: int) -> int:
        block = _native.Block(size)
        assert not any(memoryview(block)[:: max(1, size // 50)])
        self.next += 1
        text = bytes([self.next % 255 + 1]) * size
        memoryview(block)[:] = text
        self.alive[self.next] = (block, text)
        return self.next

    @rule(name=consumes(blocks))
    def drop(self, name: int) -> None:
        block, text = self.alive.pop(name)
        assert memoryview(block) == text

    @rule(target=blocks, name=consumes(blocks))
    def hand_over(self, name: int) -> int:
        block, text = self.alive.pop(name)
        data = granted(block, _native.slot_self())
        del block
        self.alive[name] = (pickle.loads(data), text)
        return name

    @invariant()
    def nothing_overlaps(self) -> None:
        for block, text in self.alive.values():
            assert memoryview(block) == text
        gc.collect(0)
        assert _native.arena_stats()["blocks"] == self.before[0] + len(self.alive)

    def teardown(self) -> None:
        self.alive.clear()
        assert held() == self.before


TestBlocks = Blocks.TestCase
TestBlocks.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
