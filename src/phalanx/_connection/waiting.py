"""`wait`: which of several connections, sockets, sentinels and descriptors can be read."""

import select
import time
from collections.abc import Iterable
from typing import Any

from phalanx import _native
from phalanx._base import limits
from phalanx._base.waitable import Waitable

__all__ = ["wait"]


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """Those objects that can be read, or have ended, within `timeout` seconds; an empty list if none.

    An object is a `Connection`, a socket, the sentinel of a process, a file descriptor, or whatever has a `fileno`.
    They come back in their order in `object_list`. Without a timeout the wait has no limit; zero and less only ask.
    """
    objects = list(object_list)
    descriptors = [_descriptor_of(obj) for obj in objects]
    knowing = [obj for obj in objects if _knows_itself(obj)]
    poller = select.poll()
    for fd in descriptors:
        poller.register(fd, select.POLLIN)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        armed = [obj._arm() for obj in knowing]
        left = _next_sleep(deadline) if not any(armed) else 0.0
        readable = {fd for fd, _ in poller.poll(left * 1000)}
        ready = [obj for obj, fd in zip(objects, descriptors, strict=True) if _is_ready(obj, fd in readable)]
        if ready or (deadline is not None and deadline <= time.monotonic()):
            return ready


def _descriptor_of(obj: Any) -> int:
    fd: int
    if isinstance(obj, int):
        fd = obj
    elif isinstance(obj, _native.PipeEnd) and obj._handle is not None:
        fd = obj._handle  # fileno() would keep the descriptor readable from now on, at a price
    else:
        fd = obj.fileno()
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd


def _next_sleep(deadline: float | None) -> float:
    if deadline is None:
        return limits.POLL_MAX_S
    return min(max(0.0, deadline - time.monotonic()), limits.POLL_MAX_S)


def _is_ready(obj: Any, is_readable: bool) -> bool:
    return obj._is_ready() if _knows_itself(obj) else is_readable


def _knows_itself(obj: Any) -> bool:
    """Whether it is ready is not for the descriptor alone to say: a pipe's end that receives, a queue's reader."""
    return isinstance(obj, Waitable) or (isinstance(obj, _native.PipeEnd) and obj._is_attached and obj.readable)
