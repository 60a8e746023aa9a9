"""What a fork server and its clients say to each other: one packet each, with file descriptors beside it.

A request, over the socket that all clients share: `SLOT`, with the description's file, the report's socket, the
clients' socket for the child's own use, and what the child inherits.

A report, over a socket for this child alone: `started PID` from the child itself, before it runs anything, with its
lifeline; or `failed ERRNO` from the server, if it cannot fork; at last `ended EXITCODE` from the server, to which the
client answers `seen`, and then the server reaps the child.

Whoever can send a request has got the socket from its parent: there is no address, so there is nobody to keep out.
"""

from __future__ import annotations

import _socket
import array
import os

from phalanx._base import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Report", "open_socket", "pair", "receive", "send"]

_PACKET_MAX_BYTES = 64
_FD_BYTES = array.array("i").itemsize
_FDS_MAX_COUNT = limits.INHERITED_FDS_MAX_COUNT + 3

# The class below `socket.socket`: neither server nor child has to load that module for it.
Socket = _socket.socket


def pair() -> tuple[Socket, Socket]:
    """Two connected sockets that keep packets apart."""
    first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return open_socket(first.detach()), open_socket(second.detach())


def open_socket(fd: int) -> Socket:
    """The socket of that descriptor. A default time-out that the program has set for its own sockets is not for it."""
    sock = Socket(fileno=fd)
    sock.setblocking(True)
    return sock


def send(sock: Socket, packet: str, fds: Sequence[int] = ()) -> None:
    """Send one packet. OSError if the other side is gone."""
    beside = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([packet.encode()], beside, _socket.MSG_NOSIGNAL)


def receive(sock: Socket, flags: int = 0) -> tuple[str, list[int]]:
    """One packet and its file descriptors; an empty one if the other side is gone."""
    space = _socket.CMSG_SPACE(_FDS_MAX_COUNT * _FD_BYTES)
    try:
        packet, beside, _, _ = sock.recvmsg(_PACKET_MAX_BYTES, space, flags | _socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # it went with unread packets of ours
        return "", []
    fds = array.array("i")
    for level, kind, data in beside:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % _FD_BYTES])
    return packet.decode(), list(fds)


class Report:
    """The client's end of what is told about one child. Its descriptor is closed by number, with the child's others."""

    def __init__(self, sock: Socket) -> None:
        self._fd = sock.detach()

    def _receive(self) -> tuple[str, list[int]]:
        sock = open_socket(self._fd)
        try:
            return receive(sock)
        finally:
            sock.detach()

    def _send(self, packet: str) -> None:
        sock = open_socket(self._fd)
        try:
            send(sock, packet)
        finally:
            sock.detach()

    def wait_started(self) -> tuple[int, int] | None:
        """The child's pid and lifeline (-1 without pidfds); None if it will never run because the server has died.

        OSError if the server cannot fork.
        """
        packet, fds = self._receive()
        word, _, number = packet.partition(" ")
        if word == "started":
            return int(number), fds[0] if fds else -1
        if word == "failed":
            raise OSError(int(number), os.strerror(int(number)))
        return None

    def exit_code(self) -> int | None:
        """How the child ended, once it has; None if nobody says it any more."""
        packet, _ = self._receive()
        word, _, number = packet.partition(" ")
        if word != "ended":
            return None
        try:
            self._send("seen")
        except OSError:  # the server has ended meanwhile
            pass
        return int(number)

    def fileno(self) -> int:
        return self._fd
