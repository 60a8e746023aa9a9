"""Connections between threads of one process, over a pair of queues."""

from queue import Queue
from types import TracebackType
from typing import Any, Self

__all__ = ["Client", "Listener", "Pipe"]

families = [None]


class Connection:
    """One end of a pipe between threads. Objects pass as they are; bytes are objects like any other.

    `close` does nothing: the threads at both ends use the same object, and one of them may go on.
    """

    def __init__(self, _in: "Queue[Any]", _out: "Queue[Any]") -> None:
        self._in = _in
        self._out = _out
        self.send = self.send_bytes = _out.put
        self.recv = self.recv_bytes = _in.get

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether an object can be received within `timeout` seconds (None: wait without a limit)."""
        with self._in.not_empty:
            return self._in.not_empty.wait_for(self._in._qsize, None if timeout is None else max(0.0, timeout)) > 0

    def close(self) -> None:
        """Does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()


class Listener:
    """Takes connections of `Client`s in this process; its address is a queue, which they must be given."""

    def __init__(self, address: Any = None, family: object = None, backlog: int = 1) -> None:
        self._backlog_queue: Queue[Any] | None = Queue(backlog)

    def accept(self) -> Connection:
        """The next client's connection. OSError if closed."""
        return Connection(*self._open_queue().get())

    def close(self) -> None:
        """Take no further connections."""
        self._backlog_queue = None

    @property
    def address(self) -> "Queue[Any] | None":
        """What a `Client` is given; None if closed."""
        return self._backlog_queue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    def _open_queue(self) -> "Queue[Any]":
        if self._backlog_queue is None:
            raise OSError("listener is closed")
        return self._backlog_queue


def Client(address: "Queue[Any]") -> Connection:
    """Connect to the `Listener` with that address; blocks while its backlog is full."""
    incoming: Queue[Any] = Queue()
    outgoing: Queue[Any] = Queue()
    address.put((outgoing, incoming))
    return Connection(incoming, outgoing)


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Two connected ends; both send and receive, whatever `duplex` says."""
    first: Queue[Any] = Queue()
    second: Queue[Any] = Queue()
    return Connection(first, second), Connection(second, first)
