"""Which child this thread is preparing right now: objects may be handed to that child, and only then."""

from __future__ import annotations

import sys
from _thread import _local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class SpawningPopen(Protocol):
        """The part of a start method's Popen that objects need while they are pickled for its child."""

        DupFd: Any

        def duplicate_for_child(self, fd: int) -> int: ...


__all__ = ["assert_spawning", "get_spawning_popen", "set_spawning_popen"]

_thread = _local()


def get_spawning_popen() -> SpawningPopen | None:
    """The Popen whose child this thread prepares, or None."""
    return getattr(_thread, "popen", None)


def set_spawning_popen(popen: SpawningPopen | None) -> None:
    """Begin (a Popen) or end (None) the preparation of a child in this thread.

    If the stdlib's package is loaded beside us, it is told too, so that its objects can be handed over as well.
    """
    _thread.popen = popen
    stdlib = sys.modules.get("multiprocessing.context")
    if stdlib is not None and not stdlib.__name__.startswith("phalanx."):
        stdlib.set_spawning_popen(popen)


def assert_spawning(obj: object) -> None:
    """RuntimeError unless a child is being prepared in this thread."""
    if get_spawning_popen() is None:
        raise RuntimeError(f"{type(obj).__name__} objects should only be shared between processes through inheritance")
