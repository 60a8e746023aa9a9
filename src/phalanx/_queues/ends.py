"""The two sides of a queue, as connections: what programs reach for as `queue._reader` and `queue._writer`.

A queue is no pipe, but can be waited for like one: `select`, `selectors`, asyncio, `connection.wait` take its reader.
"""

from __future__ import annotations

import pickle

from phalanx import _native
from phalanx._base.waitable import Waitable
from phalanx.reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

__all__ = ["QueueReader", "QueueWriter"]

WATCH = "_watch"  # where a queue keeps its watch, once somebody has asked for a side


def watch_of(queue: _native.Channel) -> _native.Watch:
    """The queue's watch in this process."""
    attributes = queue.__dict__
    watch: _native.Watch | None = attributes.get(WATCH)
    return attributes.setdefault(WATCH, _native.Watch(queue)) if watch is None else watch


class QueueEnd:
    """One side of a queue. Two of the same side of one queue are equal."""

    __slots__ = ("_queue",)

    readable = False
    writable = False

    def __init__(self, queue: _native.Channel) -> None:
        self._queue = queue

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._queue is self._queue

    def __hash__(self) -> int:
        return hash((type(self), id(self._queue)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether this side, or the whole queue, was closed in this process."""
        return self._queue.closed or self._closed_mark in self._queue.__dict__

    @property
    def _closed_mark(self) -> str:
        return f"_{type(self).__name__}_closed"

    def _watch(self) -> _native.Watch:
        if self.closed:
            raise OSError("handle is closed")
        return watch_of(self._queue)

    def fileno(self) -> int:
        """A descriptor; OSError once closed. That of the reader is readable exactly while the queue is not empty."""
        return self._watch().fileno()

    def close(self) -> None:
        """No further use of this side in this process."""
        self._queue.__dict__[self._closed_mark] = True


class QueueReader(QueueEnd, Waitable):
    """The side of a queue that objects come out of."""

    __slots__ = ()

    readable = True

    def recv(self) -> Any:
        """Take an object out, waiting for it."""
        return _native.Channel.get(self._queue)

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """Take an object out, as a pickle. OSError if that has more than `maxlength` bytes."""
        data = bytes(ForkingPickler.dumps(self.recv()))
        if maxlength is not None and len(data) > maxlength:
            raise OSError("bad message length")
        return data

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether an object can be taken out within `timeout` seconds (None: wait without a limit)."""
        return self._is_ready() or self._watch().wait_items(timeout)

    def close(self) -> None:
        super().close()
        self._queue._close_for_get()
        self._queue.__dict__.pop(WATCH, None)

    def _arm(self) -> bool:
        return self._is_ready()

    def _is_ready(self) -> bool:
        # The watch first: it also sets the descriptor. The queue itself knows of objects that `get_many` keeps.
        return self._watch().has_items() or self._queue.qsize() > 0


class QueueWriter(QueueEnd):
    """The side of a queue that objects go into. Its descriptor is always writable."""

    __slots__ = ()

    writable = True

    def send(self, obj: Any) -> None:
        """Put an object."""
        _native.Channel.put(self._queue, obj)

    def send_bytes(self, buf: Any) -> None:
        """Put the object that `buf` is a pickle of."""
        self.send(pickle.loads(buf))

    def close(self) -> None:
        super().close()
        self._queue._close_for_put()
