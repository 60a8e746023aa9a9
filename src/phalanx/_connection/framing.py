"""Frames on a file descriptor: a signed 4-byte length in network order, then the bytes.

A frame of 2 GiB or more has -1 in that place and an unsigned 8-byte length behind it. This is what the stdlib's
connections speak, so either side may be one of those. A frame leaves in one system call; it is read with two, because
a reader that took more than its own frame would rob the other processes that hold the same descriptor.
"""

import os
import select
import struct
import time
from io import BytesIO

from phalanx._base import limits

__all__ = ["BadFrame", "poll_readable", "read_frame", "write_frame"]

_SHORT = struct.Struct("!i")
_LONG = struct.Struct("!Q")
_LONG_FOLLOWS = -1
_SHORT_MAX_BYTES = 0x7FFFFFFF


class BadFrame(OSError):
    """The announced length is negative, or above what the reader takes: the stream cannot be read any further."""


def write_frame(fd: int, payload: bytes | memoryview) -> None:
    """Send one frame. `payload` is bytes, or a contiguous view of bytes. Raises OSError."""
    header = _header(len(payload))
    if len(payload) <= limits.FRAME_JOIN_MAX_BYTES:
        _write_all(fd, b"".join((header, payload)))
    else:
        _write_both(fd, header, payload)


def read_frame(fd: int, max_bytes: int | None = None, deadline: float | None = None) -> bytes:
    """Receive one frame.

    EOFError if the stream ends before it, OSError if it ends inside it, `BadFrame` for a length that is negative or
    above `max_bytes`, TimeoutError once `deadline` (`time.monotonic`) has passed. Memory is taken as the bytes come,
    never on the word of the sender.
    """
    (size,) = _SHORT.unpack(_read_exactly(fd, _SHORT.size, deadline, at_boundary=True))
    if size == _LONG_FOLLOWS:
        (size,) = _LONG.unpack(_read_exactly(fd, _LONG.size, deadline))
    if size < 0 or (max_bytes is not None and size > max_bytes):
        raise BadFrame("bad message length")
    return _read_exactly(fd, size, deadline)


def poll_readable(fd: int, timeout: float | None) -> bool:
    """Whether `fd` has something to read, or has ended, within `timeout` seconds (None: wait for it)."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(None if timeout is None else max(0.0, timeout) * 1000))


def _header(size: int) -> bytes:
    if size <= _SHORT_MAX_BYTES:
        return _SHORT.pack(size)
    return _SHORT.pack(_LONG_FOLLOWS) + _LONG.pack(size)


def _write_all(fd: int, data: bytes | memoryview) -> None:
    sent = os.write(fd, data)
    if sent < len(data):
        rest = memoryview(data)
        while sent < len(rest):
            sent += os.write(fd, rest[sent:])


def _write_both(fd: int, header: bytes, payload: bytes | memoryview) -> None:
    sent = os.writev(fd, (header, payload))
    if sent < len(header):
        _write_all(fd, header[sent:])
        sent = len(header)
    rest = memoryview(payload)[sent - len(header) :]
    if len(rest):
        _write_all(fd, rest)


def _read_exactly(fd: int, size: int, deadline: float | None, *, at_boundary: bool = False) -> bytes:
    data = _read_some(fd, size, deadline) if size else b""
    if len(data) == size:
        return data
    if not data:
        raise EOFError if at_boundary else OSError("got end of file during message")
    return _read_rest(fd, size, deadline, data)


def _read_rest(fd: int, size: int, deadline: float | None, first: bytes) -> bytes:
    parts = BytesIO()
    parts.write(first)
    while (missing := size - parts.tell()) > 0:
        data = _read_some(fd, missing, deadline)
        if not data:
            raise OSError("got end of file during message")
        parts.write(data)
    return parts.getvalue()


def _read_some(fd: int, size: int, deadline: float | None) -> bytes:
    if deadline is not None and not poll_readable(fd, deadline - time.monotonic()):
        raise TimeoutError("the other side has not sent its message in time")
    return os.read(fd, min(size, limits.READ_MAX_BYTES))
