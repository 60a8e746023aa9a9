"""Picklers that are used again: to make one costs several times what it takes to pickle a small object."""

from __future__ import annotations

import pickle

from phalanx._base import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Reducers = dict[type, Callable[[Any], str | tuple[Any, ...]]]

__all__ = ["dumps"]


class _Pickler:
    """A pickler, and the file that it writes to, which is itself.

    Buffers of at least `OUT_OF_BAND_BYTES` stay outside the pickle, unless `in_band`.
    """

    __slots__ = ("_buffers", "_chunks", "_pickler", "write")

    def __init__(self, in_band: bool) -> None:
        self._chunks: list[Any] = []
        self._buffers: list[memoryview] = []
        self.write = self._chunks.append
        callback = None if in_band else self._is_in_band
        self._pickler = pickle.Pickler(self, pickle.HIGHEST_PROTOCOL, buffer_callback=callback)

    def _is_in_band(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < limits.OUT_OF_BAND_BYTES:
            return True
        self._buffers.append(raw)
        return False

    def dumps(self, obj: Any, reducers: Reducers) -> tuple[bytes, list[memoryview]]:
        """After an error the pickler must not be used again."""
        self._pickler.dispatch_table = reducers
        self._pickler.dump(obj)
        self._pickler.clear_memo()  # it keeps alive what has been pickled
        chunks = self._chunks
        data = chunks.pop() if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if not self._buffers:
            return data, []
        buffers, self._buffers = self._buffers, []
        return data, buffers


# Taken out while in use: a reducer may pickle something itself, and so may other threads. pop and append are atomic.
_idle: dict[bool, list[_Pickler]] = {True: [], False: []}


def dumps(obj: Any, reducers: Reducers, in_band: bool) -> tuple[bytes, list[memoryview]]:
    """The pickle of `obj`, by those reducers, and the buffers that it does not contain (none if `in_band`)."""
    idle = _idle[in_band]
    try:
        pickler = idle.pop()
    except IndexError:
        pickler = _Pickler(in_band)
    data, buffers = pickler.dumps(obj, reducers)
    # The table of what a pickler has seen never shrinks, and is wiped as a whole each time.
    if len(data) <= limits.PICKLER_KEEP_MAX_BYTES:
        idle.append(pickler)
    return data, buffers
