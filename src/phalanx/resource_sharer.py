"""Handing file descriptors to processes that run already: a duplicate waits here until its receiver asks for it.

One thread, started with the first descriptor shared, serves a socket without a file. A receiver names what it wants
by a secret number that only the pickle holds; each descriptor is given away once.
"""

from __future__ import annotations

import os
import socket
import threading

from phalanx import util

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DupFd", "DupSocket", "stop"]

_TOKEN_BYTES = 16


class DupFd:
    """A file descriptor on its way through a pickle."""

    def __init__(self, fd: int) -> None:
        self._ticket = _sharer.share(os.dup(fd))

    def detach(self) -> int:
        """The descriptor, once, in whatever process this has come to. OSError or EOFError if its sender is gone."""
        return _fetch(*self._ticket)


class DupSocket:
    """A socket on its way through a pickle."""

    def __init__(self, sock: socket.socket) -> None:
        self._duplicate = DupFd(sock.fileno())

    def detach(self) -> socket.socket:
        """The socket, once."""
        return socket.socket(fileno=self._duplicate.detach())


def _fetch(address: str, token: bytes) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(None)
        sock.connect(address)
        sock.send(token)
        data, fds, _, _ = socket.recv_fds(sock, 1, 1)
    if not data or not fds:
        raise EOFError("the file descriptor has been fetched already, or its sender has ended")
    os.set_inheritable(fds[0], False)
    return fds[0]


class _ResourceSharer:
    def __init__(self) -> None:
        self._forget()
        util.register_after_fork(self, _ResourceSharer._forget_inherited)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[bytes, int] = {}
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def _forget_inherited(self) -> None:
        """In a forked child: what waits there is the parent's to give, and its copies here must not keep it open."""
        for fd in self._waiting.values():
            os.close(fd)
        if self._listener is not None:
            self._listener.close()
        self._forget()

    def share(self, fd: int) -> tuple[str, bytes]:
        """Keep `fd` until it is asked for; the address and the token to ask with."""
        token = os.urandom(_TOKEN_BYTES)
        with self._lock:
            listener = self._listener or self._start()
            self._waiting[token] = fd
        return listener.getsockname(), token

    def _start(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.settimeout(None)
        listener.bind("")  # the kernel chooses a name in the abstract namespace
        listener.listen(128)
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="phalanx-sharer", daemon=True)
        self._thread.start()
        return listener

    def _serve(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                connection, _ = listener.accept()
            except OSError:  # shut down by `stop`, or out of descriptors for a moment
                continue
            threading.Thread(target=self._give, args=(connection,), daemon=True).start()

    def _give(self, connection: socket.socket) -> None:
        """A thread for each asker, so that one that says nothing keeps nobody waiting."""
        with connection:
            token = connection.recv(_TOKEN_BYTES)
            fd = self._waiting.pop(token, None)
            if fd is None:
                return
            try:
                socket.send_fds(connection, [b"\0"], [fd])
            finally:
                os.close(fd)

    def stop(self, timeout: float | None = None) -> None:
        """End the thread and close what nobody has asked for; `timeout` seconds at most are spent waiting."""
        with self._lock:
            listener, thread, waiting = self._listener, self._thread, self._waiting
            self._listener = self._thread = None
            self._waiting = {}
        if listener is None or thread is None:
            return
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout)
        listener.close()
        for fd in waiting.values():
            os.close(fd)


_sharer: Any = _ResourceSharer()
stop = _sharer.stop
