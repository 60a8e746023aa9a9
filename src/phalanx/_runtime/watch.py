"""Sleeping until a worker ends."""

import os
import select
import threading

__all__ = ["Watch"]


class Watch:
    """Sleeps until a worker has ended or somebody calls: what the supervisor thread does."""

    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = threading.Lock()  # a number that was closed may be another's descriptor
        self._poller = select.poll()
        self._poller.register(self._bell, select.POLLIN)
        self._numbers: dict[int, int] = {}  # of workers, by their sentinel

    def add(self, sentinel: int, number: int) -> None:
        """From any thread: a running poll does not see it before it is rung."""
        self._numbers[sentinel] = number
        self._poller.register(sentinel, select.POLLIN)
        self.ring()

    def ring(self) -> None:
        with self._closing:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def wait(self) -> list[int]:
        """Numbers of workers that have ended, each told once; none if it was rung."""
        ended = []
        for fd, _ in self._poller.poll():
            number = self._numbers.pop(fd, None)
            if number is None:
                self._drain()
            else:
                self._poller.unregister(fd)
                ended.append(number)
        return ended

    def _drain(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            pass

    def close(self) -> None:
        with self._closing:
            bell, self._bell = self._bell, -1
            os.close(bell)
