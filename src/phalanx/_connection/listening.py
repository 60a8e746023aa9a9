"""Listeners and clients: connections between processes that do not descend from one another."""

import os
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from phalanx import _native, util
from phalanx._base import limits
from phalanx._base.errors import AuthenticationError
from phalanx._connection import addresses
from phalanx._connection.authentication import answer_peer, challenge_peer
from phalanx._connection.stream import Connection

__all__ = ["Client", "ConnectionWrapper", "Listener", "SocketClient", "SocketListener", "XmlClient", "XmlListener"]


class Listener:
    """A bound socket that takes connections.

    `address` is a tuple (host, port), a path, or a name that starts with a NUL for Linux's abstract sockets; without
    one a free address of `family` ('AF_INET', 'AF_UNIX') is taken. `authkey` (bytes): only clients that have it are
    taken. Raises OSError, ValueError for an unknown family, TypeError for a key that is not bytes.

    `backlog` is raised to a floor: with the stdlib's 1 many clients at once are refused.
    """

    __module__ = "phalanx.connection"

    def __init__(
        self, address: Any = None, family: str | None = None, backlog: int = 1, authkey: bytes | None = None
    ) -> None:
        family = family or (addresses.default_family if address is None else addresses.address_type(address))
        addresses.validate_family(family)
        _check_key(authkey)
        self._listener: SocketListener | None = None
        self._listener = SocketListener(address or addresses.arbitrary_address(family), family, backlog)
        self._authkey = authkey

    def accept(self) -> Connection:
        """The next client's connection, after the handshake if there is a key.

        OSError if the listener is closed; AuthenticationError if the client does not have the key, or says nothing for
        `limits.HANDSHAKE_TIMEOUT_S`; EOFError or OSError if it goes away.
        """
        conn = self._accept_stranger()
        try:
            self._authenticate(conn)
        except BaseException:
            conn.close()
            raise
        return conn

    def close(self) -> None:
        """Close the socket, and remove its name from the file system; a second call does nothing."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    @property
    def address(self) -> Any:
        """The address that clients connect to. OSError if closed."""
        return self._open_listener().address

    @property
    def last_accepted(self) -> Any:
        """Where the connection accepted last came from: an address, or None if there is none or it has no name."""
        return self._open_listener().last_accepted

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    def _stop(self) -> None:
        """Close the listener for every process that has it, and end an `accept` under way in another thread."""
        if self._listener is not None:
            self._listener.shutdown()
            self.close()

    def _accept_stranger(self) -> Connection:
        """A connection that has not proved anything: nothing of it may be unpickled."""
        return self._open_listener().accept()

    def _authenticate(self, conn: Connection) -> None:
        if self._authkey is not None:
            bounded = _BoundedMessenger(conn, time.monotonic() + limits.HANDSHAKE_TIMEOUT_S)
            challenge_peer(bounded, self._authkey)
            slot = answer_peer(bounded, self._authkey)
            if slot:
                _offer_pipe(conn, slot)

    def _open_listener(self) -> "SocketListener":
        if self._listener is None:
            raise OSError("listener is closed")
        return self._listener


def Client(address: Any, family: str | None = None, authkey: bytes | None = None) -> Connection:
    """Connect to a `Listener`.

    Raises OSError, TypeError for a key that is not bytes, AuthenticationError if either side does not have the key.
    """
    family = family or addresses.address_type(address)
    addresses.validate_family(family)
    _check_key(authkey)
    conn = SocketClient(address, family)
    try:
        if authkey is not None:
            is_same_tree = answer_peer(conn, authkey) != 0
            challenge_peer(conn, authkey)
            if is_same_tree:
                _accept_pipe(conn)
    except BaseException:
        conn.close()
        raise
    return conn


class SocketListener:
    """The socket of a `Listener`."""

    def __init__(self, address: Any, family: str, backlog: int = 1) -> None:
        self._socket = socket.socket(getattr(socket, family))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(max(backlog, limits.LISTEN_BACKLOG_MIN_COUNT))
            self.address = self._socket.getsockname()
        except BaseException:
            self._socket.close()
            raise
        self.last_accepted: Any = None
        self._unlink = self._unlinker(address, family)

    def accept(self) -> Connection:
        client, self.last_accepted = self._socket.accept()
        return _connection_of(client)

    def shutdown(self) -> None:
        """Nothing is accepted any more, by no process."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        try:
            self._socket.close()
        finally:
            unlink, self._unlink = self._unlink, None
            if unlink is not None:
                unlink()

    def _unlinker(self, address: Any, family: str) -> Callable[[], Any] | None:
        """Whoever bound a path removes it, at the latest when its process exits."""
        if family != "AF_UNIX" or util.is_abstract_socket_namespace(address):
            return None
        return util.Finalize(self, os.unlink, args=(address,), exitpriority=0)


def SocketClient(address: Any, family: str | None = None) -> Connection:
    """A connection to a listening socket, without a handshake. OSError."""
    with socket.socket(getattr(socket, family or addresses.address_type(address))) as sock:
        sock.connect(address)
        return _connection_of(sock)


class ConnectionWrapper:
    """A connection whose `send` and `recv` use another serialiser than pickle."""

    def __init__(self, conn: Connection, dumps: Callable[[Any], bytes], loads: Callable[[bytes], Any]) -> None:
        self._conn = conn
        self._dumps = dumps
        self._loads = loads
        for name in ("fileno", "close", "poll", "recv_bytes", "send_bytes"):
            setattr(self, name, getattr(conn, name))

    def send(self, obj: Any) -> None:
        self._conn.send_bytes(self._dumps(obj))

    def recv(self) -> Any:
        return self._loads(self._conn.recv_bytes())


class XmlListener(Listener):
    """A `Listener` whose connections carry XML-RPC values instead of pickles."""

    __module__ = "phalanx.connection"

    def accept(self) -> Any:
        return xml_connection(super().accept())


def XmlClient(*args: Any, **kwds: Any) -> ConnectionWrapper:
    """A `Client` whose messages are XML-RPC values instead of pickles."""
    return xml_connection(Client(*args, **kwds))


def xml_connection(conn: Connection) -> ConnectionWrapper:
    return ConnectionWrapper(conn, _xml_dumps, _xml_loads)


def _xml_dumps(obj: Any) -> bytes:
    import xmlrpc.client

    return xmlrpc.client.dumps((obj,), allow_none=True).encode("utf-8")


def _xml_loads(data: bytes) -> Any:
    import xmlrpc.client

    (obj,), _ = xmlrpc.client.loads(data.decode("utf-8"))
    return obj


class _BoundedMessenger:
    """A connection during its handshake: receives byte strings only, and only until a deadline."""

    def __init__(self, conn: Connection, deadline: float) -> None:
        self._conn = conn
        self._deadline = deadline

    def send_bytes(self, buf: bytes, /) -> None:
        self._conn.send_bytes(buf)

    def recv_bytes(self, maxlength: int, /) -> bytes:
        try:
            return self._conn._recv_frame(maxlength, self._deadline)
        except TimeoutError as error:
            raise AuthenticationError(f"handshake not finished within {limits.HANDSHAKE_TIMEOUT_S} s") from error


def _offer_pipe(conn: Connection, slot: int) -> None:
    """Both sides are of one tree: from here on the messages go through the arena, where it has room."""
    other = Connection.__new__(Connection)
    try:
        conn_end = Connection.__new__(Connection)
        conn_end._attach_pair(other, True)
    except MemoryError:
        conn.send(None)
        return
    conn.send(_granted(other, slot))
    conn._attach(_granted(conn_end, _native.slot_self()))


def _granted(end: Connection, slot: int) -> tuple[Any, ...]:
    _native.granting_begin(slot)
    try:
        handles = end._grant()
        assert handles is not None
        return handles
    finally:
        _native.granting_end()


def _accept_pipe(conn: Connection) -> None:
    handles = conn.recv()
    if handles is not None:
        conn._attach(handles)


def _connection_of(sock: socket.socket) -> Connection:
    sock.setblocking(True)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Connection(sock.detach())


def _check_key(authkey: object) -> None:
    if authkey is not None and not isinstance(authkey, bytes):
        raise TypeError("authkey should be a byte string")
