"""Queue, JoinableQueue and SimpleQueue: the core's channel under the stdlib's names.

`put` serialises at once, in the caller: an object that cannot be pickled raises there and then, and there is no feeder
thread that a process would have to wait for. What was put is delivered even if the process that put it has ended.
"""

from __future__ import annotations

from pickle import PicklingError
from queue import Empty, Full

from phalanx import _native
from phalanx._base.generic import Of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from phalanx._base.generic import T

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

_ = (Empty, Full)  # programs take them from here
_sentinel = object()  # loky takes it from here, for queues of its own


REFUSALS = (PicklingError, TypeError, RuntimeError, RecursionError, MemoryError)
"""What objects and pickle raise to say that something cannot be pickled (RuntimeError: this package's own objects)."""


def _was_raised_by_user_code(error: BaseException) -> bool:
    traceback, name = error.__traceback__, ""
    while traceback is not None:
        name = str(traceback.tb_frame.f_globals.get("__name__"))
        traceback = traceback.tb_next
    return not name.startswith("phalanx.")


class _End:
    """`_reader` or `_writer`: a side of the queue as a connection. Subclasses may put something else in its place."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __get__(self, queue: _native.Channel | None, owner: type) -> Any:
        if queue is None:
            return self
        from phalanx._queues import ends

        return getattr(ends, self._kind)(queue)


class Queue(_native.Channel, Of["T"]):
    """A queue for the processes of a tree, first in first out, of at most `maxsize` objects (0 or less: no bound).

    Differs from the stdlib's: `qsize`, `empty` and `full` are exact, also on macOS; `put` raises what pickling
    raises; `join_thread` returns at once; `get_many` and `put_many` move batches; objects of this package (locks,
    queues, values) may be put.
    """

    if TYPE_CHECKING:  # the core's own methods

        def put(self, obj: T, block: bool = True, timeout: float | None = None) -> None: ...
        def put_nowait(self, obj: T) -> None: ...
        def put_many(self, objs: Iterable[T], timeout: float | None = None) -> None: ...
        def get(self, block: bool = True, timeout: float | None = None) -> T: ...
        def get_nowait(self) -> T: ...
        def get_many(self, limit: int = 0, block: bool = True, timeout: float | None = None) -> list[T]: ...

    _reader = _End("QueueReader")
    _writer = _End("QueueWriter")

    def __init__(self, maxsize: int = 0, *, ctx: object = None) -> None:
        super().__init__(maxsize)

    def close(self) -> None:
        """No further `put` or `get` by this object: they raise ValueError. What was put stays for others to get."""
        super().close()
        self.__dict__.pop("_watch", None)

    def _terminate_broken(self) -> None:
        """For executors: nobody will read it any more. There is nothing here that could wait for a reader."""
        self.close()

    def join_thread(self) -> None:
        """Nothing to wait for: what was put is in the queue. AssertionError before `close()`, as the stdlib's."""
        assert self.closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Nothing to cancel: no process waits for its queues when it ends."""

    def _on_queue_feeder_error(self, e: Exception, obj: object) -> None:
        """For subclasses: `obj` could not be serialised. Prints the traceback, as the stdlib's. Called by `put`."""
        import traceback

        traceback.print_exception(e)

    def _on_unpicklable(self, error: Exception, obj: object) -> None:
        """An object that cannot be pickled raises here, in the caller.

        Two exceptions, for the sake of programs written for the stdlib, where nobody hears of either: a subclass that
        overrides the hook gets it called; and when an object's own code fails while it is pickled, other than by saying
        that it cannot be, the traceback is printed and the queue goes on.
        """
        is_overridden = type(self)._on_queue_feeder_error is not Queue._on_queue_feeder_error
        if not is_overridden and (isinstance(error, REFUSALS) or not _was_raised_by_user_code(error)):
            raise error
        self._on_queue_feeder_error(error, obj)


class JoinableQueue(Queue["T"]):
    """A Queue that counts what was put: `task_done` after each object that was taken, `join` until none is left."""


class SimpleQueue(_native.Channel, Of["T"]):
    """A Queue without bound and without the rest: `put`, `get`, `empty`, `close`."""

    if TYPE_CHECKING:  # the core's own methods

        def put(self, obj: T, block: bool = True, timeout: float | None = None) -> None: ...
        def get(self, block: bool = True, timeout: float | None = None) -> T: ...

    _reader = _End("QueueReader")
    _writer = _End("QueueWriter")

    def __init__(self, *, ctx: object = None) -> None:
        super().__init__()

    def close(self) -> None:
        """No further `put` or `get` by this object: they raise OSError."""
        super().close()
        self.__dict__.pop("_watch", None)

    @property
    def _closed_error(self) -> OSError:
        return OSError("handle is closed")

    def empty(self) -> bool:
        """Whether nothing is waiting; OSError once closed."""
        if self.closed:
            raise self._closed_error
        return super().empty()
