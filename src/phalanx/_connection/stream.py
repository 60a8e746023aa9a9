"""`Connection`: one end of a stream of messages, over a pipe of the arena or over any file descriptor.

What both have in common is the core's `PipeEnd`. Here is what a plain descriptor needs: its frames.
"""

from __future__ import annotations

from phalanx import _native, reduction
from phalanx._connection import framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

__all__ = ["Connection", "rebuild_connection", "rebuild_pipe", "reduce_connection"]

_BELL = b"\a"  # PHX_BELL_BYTE of the core


class Connection(_native.PipeEnd):
    """One end of a stream of messages; made by `Pipe`, `Client` and `Listener.accept`.

    `handle` is a file descriptor, which the object owns from then on. Every call on a closed connection raises
    OSError. Over a plain descriptor, calls from several threads at once need a lock round them, one for each direction.
    """

    __module__ = "phalanx.connection"

    def __init__(self, handle: int, readable: bool = True, writable: bool = True) -> None:
        super().__init__(handle, readable, writable)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    # -- over a plain descriptor; the core has checked that it is open, and open in that direction --------------------

    def _stream_send(self, obj: Any) -> None:
        framing.write_frame(self._descriptor(), reduction.ForkingPickler.dumps(obj))

    def _stream_recv(self) -> Any:
        return reduction.ForkingPickler.loads(self._recv_frame(None))

    def _stream_send_bytes(self, octets: memoryview) -> None:
        framing.write_frame(self._descriptor(), octets)

    def _stream_recv_bytes(self, maxlength: int | None) -> bytes:
        return self._recv_frame(maxlength)

    def _stream_poll(self, timeout: float | None) -> bool:
        return framing.poll_readable(self._descriptor(), timeout)

    @staticmethod
    def _pickled(obj: Any) -> bytes:
        return bytes(reduction.ForkingPickler.dumps(obj))

    @staticmethod
    def _unpickled(message: bytes) -> Any:
        return reduction.ForkingPickler.loads(message)

    def _recv_frame(self, max_bytes: int | None, deadline: float | None = None) -> bytes:
        try:
            return framing.read_frame(self._descriptor(), max_bytes, deadline)
        except framing.BadFrame:
            self._stop_reading()
            raise

    def _descriptor(self) -> int:
        """The descriptor for use in this package: unlike `fileno`, asking for it changes nothing."""
        if self._handle is None:
            raise OSError("handle is closed")
        return self._handle

    # -- descriptors beside the messages ------------------------------------------------------------------------------

    def _before_sending_descriptors(self) -> None:
        self._expect_foreign()

    def _after_sending_descriptors(self) -> None:
        """Their receiver drops the bells in front of them: one goes behind them."""
        self._ring_again()

    def _before_receiving_descriptors(self) -> None:
        """Wait for what is no bell, dropping those in front of it."""
        import socket

        if self._is_attached:
            with socket.fromfd(self._descriptor(), socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                while sock.recv(1, socket.MSG_PEEK) == _BELL:
                    sock.recv(1)


def reduce_connection(conn: Connection) -> tuple[Any, ...]:
    """How a connection is pickled: its descriptor is duplicated for the receiver, the arena's part is leased to it."""
    duplicate = reduction.DupFd(conn._descriptor())
    if conn._is_attached:
        return rebuild_pipe, (duplicate, conn.readable, conn.writable, conn._grant())
    return rebuild_connection, (duplicate, conn.readable, conn.writable)


def rebuild_connection(duplicate: Any, readable: bool, writable: bool) -> Connection:
    return Connection(duplicate.detach(), readable, writable)


def rebuild_pipe(duplicate: Any, readable: bool, writable: bool, handles: tuple[Any, ...]) -> Connection:
    conn = Connection(duplicate.detach(), readable, writable)
    conn._attach(handles)
    return conn


reduction.register(Connection, reduce_connection)
