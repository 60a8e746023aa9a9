"""What travels in a pool's two channels.

A record of tasks is one frame of bytes (`TASKS`, the function's pickle if it is inline, the items as plain values), or,
where an item is not plain, a pickle of (Head, items). A record of answers is bytes that begin with `ANSWER`, or, for a
result too large for an outbox, a tuple of (those bytes, pickle, buffers...). An empty record dismisses a worker.
"""

import pickle
from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Any

from phalanx import _native

__all__ = ["ANSWER", "DISMISSAL", "TASKS", "Answer", "Head", "Mode", "StaleRecordError", "read_pickle", "receiver"]

TASKS = Struct("<BBHIQIIQI")
"""Kind, mode, unused, row, sequence, count, chunk, number of the function, bytes of its pickle."""

ANSWER = Struct("<BBHIQIIIIQ")
"""Kind, flags, unused, row, sequence, first position, count, end, worker's place, nanoseconds."""

DISMISSAL = b""

EXHAUSTED = 1
UNREADABLE = 2
"""Flags of an answer: the batch is exhausted; the failure is that the task could not be unpickled."""


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
    """The head of a pickled record: unpickled first, so that the batch is claimed before user code runs."""

    __slots__ = ("block", "data")

    def __init__(self, data: bytes, block: _native.Block | None) -> None:
        self.data = data
        self.block = block

    def __reduce__(self) -> tuple[Any, ...]:
        return _note, (self.data, self.block)


class StaleRecordError(Exception):
    """The batch of this record is another worker's, or has been answered: it is not unpickled any further."""


class Receiver:
    """What a worker does with a head before anything else of the record is unpickled."""

    def __init__(self) -> None:
        self.claim: Callable[[Head], bool] | None = None
        self.head: Head | None = None

    def take_head(self) -> Head | None:
        """The head of the record that is being unpickled, or was last; once."""
        head, self.head = self.head, None
        return head


receiver = Receiver()


def _note(data: bytes, block: _native.Block | None) -> Head:
    head = Head(data, block)
    if receiver.claim is not None and not receiver.claim(head):
        raise StaleRecordError
    receiver.head = head
    return head


def read_pickle(data: bytes, index: int) -> Any:
    """How `decode_items` rebuilds the pickled value number `index`."""
    return pickle.loads(data)
