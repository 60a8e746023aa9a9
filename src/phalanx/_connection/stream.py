"""`Connection`: objects and byte strings as frames over one file descriptor."""

import operator
import os
from types import TracebackType
from typing import Any, Self

from phalanx import reduction
from phalanx._base.errors import BufferTooShort
from phalanx._connection import framing

__all__ = ["Connection", "rebuild_connection", "reduce_connection", "slice_of"]


class Connection:
    """One end of a stream of messages; made by `Pipe`, `Client` and `Listener.accept`.

    `handle` is a file descriptor, which the object owns from then on. Every call on a closed connection raises
    OSError. Calls from several threads at once need a lock round them, one for each direction.
    """

    __module__ = "phalanx.connection"

    _handle: int | None = None

    def __init__(self, handle: int, readable: bool = True, writable: bool = True) -> None:
        handle = operator.index(handle)
        if handle < 0:
            raise ValueError("invalid handle")
        if not readable and not writable:
            raise ValueError("at least one of `readable` and `writable` must be True")
        self._handle = handle
        self._readable = readable
        self._writable = writable

    def __del__(self) -> None:
        if self._handle is not None:
            self.close()

    @property
    def closed(self) -> bool:
        """True once `close` has been called."""
        return self._handle is None

    @property
    def readable(self) -> bool:
        """True if messages can be received."""
        return self._readable

    @property
    def writable(self) -> bool:
        """True if messages can be sent."""
        return self._writable

    def fileno(self) -> int:
        """The file descriptor; OSError if closed."""
        return self._open_handle()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def send(self, obj: Any) -> None:
        """Send an object, pickled. OSError; whatever pickling raises, and then nothing has been sent."""
        handle = self._writable_handle()
        framing.write_frame(handle, reduction.ForkingPickler.dumps(obj))

    def recv(self) -> Any:
        """The next object. EOFError when the other side has closed and nothing is left; whatever unpickling raises."""
        return reduction.ForkingPickler.loads(self._recv_frame(None))

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """Send the bytes of a buffer as one message: `size` of them from `offset` on, without a size all the rest.

        ValueError for an offset or size that is negative or beyond the buffer, TypeError for what is no buffer.
        """
        handle = self._writable_handle()
        framing.write_frame(handle, slice_of(buf, offset, size))

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """The next message as bytes.

        EOFError at the end. If it is longer than `maxlength`, OSError, and nothing more can be received.
        """
        self._readable_handle()
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        return self._recv_frame(maxlength)

    def recv_bytes_into(self, buf: Any, offset: int = 0) -> int:
        """Write the next message into a buffer, from byte `offset` on; the number of bytes.

        EOFError at the end, ValueError for an offset outside the buffer, `BufferTooShort` (with the whole message as
        its `args[0]`) if it does not fit.
        """
        self._readable_handle()
        with memoryview(buf) as view, view.cast("B") as octets:
            if offset < 0:
                raise ValueError("negative offset")
            if offset > len(octets):
                raise ValueError("offset too large")
            message = self._recv_frame(None)
            if len(message) > len(octets) - offset:
                raise BufferTooShort(message)
            octets[offset : offset + len(message)] = message
            return len(message)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether a message, or the end, can be received within `timeout` seconds (None: wait without a limit)."""
        return framing.poll_readable(self._readable_handle(), timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    def _recv_frame(self, max_bytes: int | None, deadline: float | None = None) -> bytes:
        try:
            return framing.read_frame(self._readable_handle(), max_bytes, deadline)
        except framing.BadFrame:
            self._stop_reading()
            raise

    def _stop_reading(self) -> None:
        """What follows in the stream is no frame any more."""
        if self._writable:
            self._readable = False
        else:
            self.close()

    def _open_handle(self) -> int:
        if self._handle is None:
            raise OSError("handle is closed")
        return self._handle

    def _readable_handle(self) -> int:
        handle = self._open_handle()
        if not self._readable:
            raise OSError("connection is write-only")
        return handle

    def _writable_handle(self) -> int:
        handle = self._open_handle()
        if not self._writable:
            raise OSError("connection is read-only")
        return handle


def slice_of(buf: Any, offset: int, size: int | None) -> memoryview:
    """The bytes of a buffer from `offset` on, `size` of them at most."""
    octets = memoryview(buf)
    if octets.itemsize != 1 or octets.ndim != 1:
        octets = octets.cast("B")
    if offset < 0:
        raise ValueError("offset is negative")
    if len(octets) < offset:
        raise ValueError("buffer length < offset")
    if size is None:
        return octets[offset:] if offset else octets
    if size < 0:
        raise ValueError("size is negative")
    if offset + size > len(octets):
        raise ValueError("buffer length < offset + size")
    return octets[offset : offset + size]


def reduce_connection(conn: Connection) -> tuple[Any, ...]:
    """How a connection is pickled: its descriptor is duplicated for the receiver."""
    return rebuild_connection, (reduction.DupFd(conn.fileno()), conn.readable, conn.writable)


def rebuild_connection(duplicate: Any, readable: bool, writable: bool) -> Connection:
    return Connection(duplicate.detach(), readable, writable)


reduction.register(Connection, reduce_connection)
