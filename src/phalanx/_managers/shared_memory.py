"""The manager of named segments: it gives them out, and its end is theirs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from phalanx import resource_tracker, shared_memory
from phalanx._base import segments
from phalanx._managers.links import link_to
from phalanx._managers.manager import BaseManager, State
from phalanx._managers.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SharedMemoryManager", "SharedMemoryServer"]


class SharedMemoryServer(Server):
    """Keeps a list of segments, and removes those that are still there when it ends or its manager's process dies."""

    __module__ = "phalanx.managers"

    public = [*Server.public, "track_segment", "release_segment", "list_segments"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._segments: dict[str, None] = {}  # in the order of their making
        self._segments_lock = threading.Lock()

    def serve_forever(self) -> None:
        try:
            super().serve_forever()
        finally:
            self._remove_all()

    def shutdown(self, c: Any) -> Any:
        """Answer and end, after the segments have gone."""
        self._remove_all()
        return super().shutdown(c)

    def track_segment(self, c: Any, segment_name: str) -> None:
        """From here on that segment is the server's to remove."""
        with self._segments_lock:
            self._segments[segment_name] = None

    def release_segment(self, c: Any, segment_name: str) -> None:
        """Remove it now."""
        with self._segments_lock:
            self._segments.pop(segment_name, None)
        _remove(segment_name)

    def list_segments(self, c: Any) -> list[str]:
        with self._segments_lock:
            return list(self._segments)

    def _remove_all(self) -> None:
        with self._segments_lock:
            names, self._segments = list(self._segments), {}
        for name in names:
            _remove(name)


def _remove(name: str) -> None:
    try:
        segments.shm_unlink("/" + name)
    except FileNotFoundError:
        return
    resource_tracker.unregister("/" + name, "shared_memory")


class SharedMemoryManager(BaseManager):
    """Gives out named segments, all of which are removed when it is shut down, at the latest when its program ends.

    `with SharedMemoryManager() as manager:` starts it and shuts it down.
    """

    __module__ = "phalanx.managers"

    _Server = SharedMemoryServer

    def SharedMemory(self, size: int) -> shared_memory.SharedMemory:
        """A new segment of `size` bytes. ValueError if the manager has not been started."""
        self._expect_started()
        segment = shared_memory.SharedMemory(create=True, size=size)
        self._hand_over(segment)
        return segment

    def ShareableList(self, sequence: Iterable[Any] | None) -> shared_memory.ShareableList[Any]:
        """A new list with those items. ValueError if the manager has not been started."""
        self._expect_started()
        shared_list = shared_memory.ShareableList(sequence)
        self._hand_over(shared_list.shm)
        return shared_list

    def _expect_started(self) -> None:
        if self._state.value == State.INITIAL:
            raise ValueError("the manager has not been started")

    def _hand_over(self, segment: shared_memory.SharedMemory) -> None:
        try:
            link_to(self._address, self._authkey, self._serializer).call_server("track_segment", segment.name)
        except BaseException:
            segment.close()
            segment.unlink()
            raise
