"""`wait`: which of several connections, sockets, sentinels and descriptors can be read."""

import select
from collections.abc import Iterable
from typing import Any

__all__ = ["wait"]


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """Those objects that can be read, or have ended, within `timeout` seconds; an empty list if none.

    An object is a `Connection`, a socket, the sentinel of a process, a file descriptor, or whatever has a `fileno`.
    They come back in their order in `object_list`. Without a timeout the wait has no limit; zero and less only ask.
    """
    objects = list(object_list)
    descriptors = [_fileno(obj) for obj in objects]
    poller = select.poll()
    for fd in descriptors:
        poller.register(fd, select.POLLIN)
    ready = {fd for fd, _ in poller.poll(None if timeout is None else max(0.0, timeout) * 1000)}
    return [obj for obj, fd in zip(objects, descriptors, strict=True) if fd in ready]


def _fileno(obj: Any) -> int:
    fd: int = obj if isinstance(obj, int) else obj.fileno()
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd
