"""What travels in a pool's two channels.

A record of tasks is one frame of bytes (`TASKS`, the function's pickle if it is inline, the items as plain values), or,
where an item is not plain, a pickle of (Head, items). A record of answers is bytes that begin with `ANSWER`, or, for a
result too large for an outbox, a tuple of (those bytes, pickle, buffers...). An empty record dismisses a worker.
"""

import pickle
from enum import IntEnum
from struct import Struct
from typing import Any

from phalanx import _native

__all__ = ["ANSWER", "DISMISSAL", "TASKS", "Answer", "Head", "Mode", "noted_head", "read_pickle"]

TASKS = Struct("<BBHIQIIQI")
"""Kind, mode, unused, row, sequence, count, chunk, number of the function, bytes of its pickle."""

ANSWER = Struct("<BBHIQIIIIQ")
"""Kind, flags, unused, row, sequence, first position, count, end, worker's place, nanoseconds."""

DISMISSAL = b""

EXHAUSTED = 1


class Mode(IntEnum):
    """How a task calls the function with its item."""

    ONE = 0  # function(item)
    STAR = 1  # function(*item)
    FULL = 2  # function(*item[0], **item[1])


class Answer(IntEnum):
    """The kinds of records in the result channel."""

    RESULTS = 1  # of [first, first + count)
    LARGE = 2  # one result, in a record of its own
    RAISED = 3  # the task at `first`; the failure follows
    GAVE_BACK = 4  # the batch ends at `end`
    UNREADABLE = 5  # the batch could not be rebuilt as a whole
    UNKNOWN_FUNCTION = 6  # the function could not be rebuilt; the failure follows
    READY = 7  # the worker's initializer is done
    INITIALIZER_FAILED = 8  # the failure follows
    ENDED = 9  # put by the parent itself: the worker `sequence` has ended
    NUDGE = 10  # put by the parent itself: look up


class Head:
    """The head of a pickled record: unpickled and noted first, so that a fault in the items is known to be theirs."""

    __slots__ = ("block", "data")

    def __init__(self, data: bytes, block: _native.Block | None) -> None:
        self.data = data
        self.block = block

    def __reduce__(self) -> tuple[Any, ...]:
        return _note, (self.data, self.block)


_noted: list[Head] = []


def _note(data: bytes, block: _native.Block | None) -> Head:
    head = Head(data, block)
    _noted[:] = [head]
    return head


def noted_head() -> Head | None:
    """The head of the record that was unpickled last, once."""
    return _noted.pop() if _noted else None


def read_pickle(data: bytes, index: int) -> Any:
    """How `decode_items` rebuilds the pickled value number `index`."""
    return pickle.loads(data)
