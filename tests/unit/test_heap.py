"""Raw bytes of the arena under the stdlib's names."""

import gc
import pickle
import sys
from typing import Any

import pytest

from phalanx import _native, heap


def test_zeroed_and_writable() -> None:
    for _ in range(3):  # used memory comes again
        wrapper = heap.BufferWrapper(100)
        view = wrapper.create_memoryview()
        assert len(view) == 100
        assert bytes(view) == bytes(100)
        view[:] = bytes(range(100))
        assert bytes(wrapper.create_memoryview()) == bytes(range(100))


def test_size_zero() -> None:
    assert len(heap.BufferWrapper(0).create_memoryview()) == 0


def test_impossible_sizes() -> None:
    with pytest.raises(ValueError, match="out of range"):
        heap.BufferWrapper(-1)
    with pytest.raises(OverflowError, match="too large"):
        heap.BufferWrapper(sys.maxsize)
    with pytest.raises(TypeError):
        heap.BufferWrapper("x")  # type: ignore[arg-type]


def test_the_view_keeps_the_bytes() -> None:
    view = heap.BufferWrapper(8).create_memoryview()
    gc.collect()
    others = [heap.BufferWrapper(8) for _ in range(50)]
    view[:] = b"12345678"
    assert all(bytes(other.create_memoryview()) == bytes(8) for other in others)


def test_freed_with_the_last_holder() -> None:
    before = _native.arena_stats()["blocks"]
    wrappers = [heap.BufferWrapper(1000) for _ in range(20)]
    assert _native.arena_stats()["blocks"] == before + 20
    del wrappers
    assert _native.arena_stats()["blocks"] == before


def test_freed_by_the_collector() -> None:
    before = _native.arena_stats()["blocks"]
    for _ in range(200):
        one: Any = heap.BufferWrapper(1)
        other: Any = heap.BufferWrapper(1)
        one.buddy, other.buddy = other, one
    del one, other
    gc.collect()
    assert _native.arena_stats()["blocks"] == before


def test_arena() -> None:
    arena = heap.Arena(4096)
    assert arena.size == len(arena.buffer) == 4096


def test_only_handed_over() -> None:
    with pytest.raises(RuntimeError, match="only be shared between processes through inheritance"):
        pickle.dumps(heap.BufferWrapper(1))


def write(wrapper: heap.BufferWrapper) -> None:
    wrapper.create_memoryview()[:5] = b"hello"


def test_shared_with_a_child(context: Any) -> None:
    wrapper = heap.BufferWrapper(5)
    process = context.Process(target=write, args=(wrapper,))
    process.start()
    process.join()
    assert process.exitcode == 0
    process.close()
    assert bytes(wrapper.create_memoryview()) == b"hello"
