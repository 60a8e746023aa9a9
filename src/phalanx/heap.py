"""Raw bytes of the arena under the stdlib's names: `BufferWrapper` is a block, `Arena` and `Heap` make blocks."""

from __future__ import annotations

import sys

from phalanx._native import Block

__all__ = ["BufferWrapper"]


class Arena:
    """A block of `size` bytes, zeroed, as `buffer`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.buffer = memoryview(Block(size))


class Heap:
    """Where blocks come from. The core keeps the books, so this has no state of its own."""

    def malloc(self, size: int) -> Block:
        """A block of at least `size` bytes, zeroed; it is freed with its last holder in the tree.

        ValueError for a negative size, OverflowError for one that no block can have.
        """
        if size < 0:
            raise ValueError(f"Size {size:n} out of range")
        if size >= sys.maxsize:
            raise OverflowError(f"Size {size:n} too large")
        return Block(max(size, 1))


class BufferWrapper:
    """`size` bytes of the arena, zeroed. Other processes of the tree get the same bytes when they are handed one."""

    _heap = Heap()

    def __init__(self, size: int) -> None:
        self._block = self._heap.malloc(size)
        self._size = size

    @classmethod
    def over(cls, block: Block, size: int) -> BufferWrapper:
        """The first `size` bytes of a block that is there already."""
        wrapper = cls.__new__(cls)
        wrapper._block, wrapper._size = block, size
        return wrapper

    def create_memoryview(self) -> memoryview:
        """The bytes, writable; the block stays while the view is there."""
        return memoryview(self._block)[: self._size]
