"""Connections over sockets: frames, waiting, listeners and clients, the handshake."""

import array
import hmac
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from phalanx import connection, reduction
from phalanx._base import limits
from phalanx._connection import authentication
from phalanx._connection.stream import Connection
from phalanx.connection import (
    AuthenticationError,
    BufferTooShort,
    Client,
    Listener,
    answer_challenge,
    deliver_challenge,
)


@contextmanager
def running(function: Callable[..., object], *args: Any) -> Iterator[None]:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.fixture
def pair() -> Iterator[tuple[Connection, Connection]]:
    first, second = socket.socketpair()
    with Connection(first.detach()) as a, Connection(second.detach()) as b:
        yield a, b


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, Connection]]:
    first, second = socket.socketpair()
    with first, Connection(second.detach()) as conn:
        yield first, conn


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("obj", [None, 0, "text", b"bytes", [1, {"a": (2.5, None)}], "x" * 100_000])
def test_an_object_arrives_equal(pair: tuple[Connection, Connection], obj: object) -> None:
    a, b = pair
    a.send(obj)
    assert b.recv() == obj


@pytest.mark.parametrize("size", [0, 1, 3, limits.FRAME_JOIN_MAX_BYTES, limits.FRAME_JOIN_MAX_BYTES + 1, 5_000_000])
def test_bytes_of_any_size_arrive_whole(pair: tuple[Connection, Connection], size: int) -> None:
    a, b = pair
    payload = os.urandom(size)
    with running(a.send_bytes, payload):
        assert b.recv_bytes() == payload


def test_messages_keep_their_order_and_bounds(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    for part in (b"a", b"", b"bc"):
        a.send_bytes(part)
    assert [b.recv_bytes() for _ in range(3)] == [b"a", b"", b"bc"]


def test_what_cannot_be_pickled_raises_at_send_and_leaves_the_stream_intact(
    pair: tuple[Connection, Connection],
) -> None:
    a, b = pair
    with pytest.raises((AttributeError, TypeError, Exception), match="pickle"):
        a.send(threading.Lock())
    a.send("next")
    assert b.recv() == "next"


@pytest.mark.parametrize(
    ("offset", "size", "sent"), [(0, None, b"abcdef"), (2, None, b"cdef"), (2, 3, b"cde"), (6, None, b""), (6, 0, b"")]
)
def test_send_bytes_takes_a_slice(
    pair: tuple[Connection, Connection], offset: int, size: int | None, sent: bytes
) -> None:
    a, b = pair
    a.send_bytes(b"abcdef", offset, size)
    assert b.recv_bytes() == sent


@pytest.mark.parametrize(
    ("offset", "size", "text"),
    [
        (-1, None, "offset is negative"),
        (7, None, "buffer length < offset"),
        (4, -1, "size is negative"),
        (4, 3, r"buffer length < offset \+ size"),
    ],
)
def test_send_bytes_refuses_a_slice_outside(
    pair: tuple[Connection, Connection], offset: int, size: int | None, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        pair[0].send_bytes(b"abcdef", offset, size)


def test_send_bytes_counts_bytes_of_any_buffer(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    numbers = array.array("i", range(4))
    a.send_bytes(numbers, numbers.itemsize)
    assert b.recv_bytes() == numbers.tobytes()[numbers.itemsize :]
    with pytest.raises(TypeError):
        a.send_bytes("text")


def test_recv_bytes_into_writes_at_the_offset(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    buffer = array.array("i", [0] * 5)
    a.send_bytes(array.array("i", [1, 2]))
    assert b.recv_bytes_into(buffer, buffer.itemsize) == 2 * buffer.itemsize
    assert list(buffer) == [0, 1, 2, 0, 0]


def test_recv_bytes_into_too_short_a_buffer_gives_the_message(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    a.send_bytes(b"too long")
    with pytest.raises(BufferTooShort) as caught:
        b.recv_bytes_into(bytearray(3))
    assert caught.value.args == (b"too long",)


def test_recv_bytes_into_refuses_offsets_outside(pair: tuple[Connection, Connection]) -> None:
    with pytest.raises(ValueError, match="negative offset"):
        pair[0].recv_bytes_into(bytearray(3), -1)
    with pytest.raises(ValueError, match="offset too large"):
        pair[0].recv_bytes_into(bytearray(3), 4)


def test_the_end_comes_after_what_was_sent(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    a.send(1)
    a.close()
    assert b.recv() == 1
    assert b.poll()
    with pytest.raises(EOFError):
        b.recv()
    with pytest.raises(EOFError):
        b.recv_bytes()


# -- the state of a connection -----------------------------------------------------------------------------------------


def test_a_closed_connection_refuses_everything(pair: tuple[Connection, Connection]) -> None:
    conn = pair[0]
    conn.close()
    conn.close()
    assert conn.closed
    for call in (
        conn.fileno,
        conn.recv,
        conn.recv_bytes,
        conn.poll,
        lambda: conn.send(1),
        lambda: conn.send_bytes(b""),
    ):
        with pytest.raises(OSError, match="handle is closed"):
            call()


def test_a_one_way_connection_refuses_the_other_way() -> None:
    first, second = socket.socketpair()
    with Connection(first.detach(), writable=False) as reader, Connection(second.detach(), readable=False) as writer:
        assert (reader.readable, reader.writable) == (True, False)
        assert (writer.readable, writer.writable) == (False, True)
        for call in (lambda: reader.send(1), lambda: reader.send_bytes(b"")):
            with pytest.raises(OSError, match="connection is read-only"):
                call()
        for call in (writer.recv, writer.recv_bytes, writer.poll):
            with pytest.raises(OSError, match="connection is write-only"):
                call()


def test_a_connection_needs_a_descriptor_and_a_direction() -> None:
    with pytest.raises(ValueError, match="invalid handle"):
        Connection(-1)
    with pytest.raises(TypeError):
        Connection("7")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one of"):
        Connection(0, readable=False, writable=False)


def test_a_connection_that_is_dropped_is_closed() -> None:
    first, second = socket.socketpair()
    dropped = Connection(first.detach())
    with Connection(second.detach()) as other:
        del dropped
        with pytest.raises(EOFError):
            other.recv()


# -- bad streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [b"\xff\xff\xff\xfe", b"\x80\0\0\0"])
def test_a_negative_length_is_an_error_and_ends_reading(raw: tuple[socket.socket, Connection], header: bytes) -> None:
    stranger, conn = raw
    stranger.sendall(header + b"rest")
    with pytest.raises(OSError, match="bad message length"):
        conn.recv_bytes()
    with pytest.raises(OSError, match="write-only"):
        conn.recv_bytes()


def test_a_message_above_maxlength_is_an_error(raw: tuple[socket.socket, Connection]) -> None:
    stranger, conn = raw
    stranger.sendall(struct.pack("!i", 5) + b"12345")
    with pytest.raises(OSError, match="bad message length"):
        conn.recv_bytes(4)
    with pytest.raises(ValueError, match="negative maxlength"):
        Connection(os.dup(stranger.fileno())).recv_bytes(-1)


@pytest.mark.parametrize("header", [struct.pack("!i", 0x7FFFFFFF), struct.pack("!iQ", -1, 1 << 62)])
def test_a_huge_length_that_no_data_backs_costs_no_memory(raw: tuple[socket.socket, Connection], header: bytes) -> None:
    stranger, conn = raw
    stranger.sendall(header + b"some")
    stranger.close()
    with pytest.raises(OSError, match="got end of file during message"):
        conn.recv()


def test_a_long_header_may_announce_a_short_frame(raw: tuple[socket.socket, Connection]) -> None:
    stranger, conn = raw
    stranger.sendall(struct.pack("!iQ", -1, 3) + b"abc")
    assert conn.recv_bytes() == b"abc"


def test_an_end_inside_a_header_is_no_clean_end(raw: tuple[socket.socket, Connection]) -> None:
    stranger, conn = raw
    stranger.sendall(b"\0\0")
    stranger.close()
    with pytest.raises(OSError, match="got end of file during message"):
        conn.recv_bytes()


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_poll_and_wait_only_look_when_told_so(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    assert a.poll() is False
    assert a.poll(-1) is False
    assert connection.wait([a, b], 0) == []
    assert connection.wait([a, b], -1) == []
    assert connection.wait([], 0) == []


def test_wait_returns_what_is_ready_in_order(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    with socket.socket() as listening:
        listening.listen()
        a.send(1)
        b.send(1)
        assert connection.wait([b, listening, a.fileno(), a]) == [b, a.fileno(), a]
        with socket.create_connection(listening.getsockname()):
            assert connection.wait([listening]) == [listening]


def test_wait_wakes_for_a_message(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    with running(a.send, "x"):
        assert connection.wait([b]) == [b]
    assert b.recv() == "x"


def test_wait_refuses_what_is_no_descriptor() -> None:
    with pytest.raises(ValueError, match="Invalid file descriptor"):
        connection.wait([-1], 0)
    with pytest.raises(AttributeError):
        connection.wait([object()], 0)


# -- listeners and clients ---------------------------------------------------------------------------------------------


def connect(results: list[Any], *args: Any, **kwds: Any) -> None:
    try:
        results.append(Client(*args, **kwds))
    except Exception as error:
        results.append(error)


@pytest.mark.parametrize("family", connection.families)
@pytest.mark.parametrize("authkey", [None, b"", b"secret"])
def test_client_and_listener_talk(family: str, authkey: bytes | None) -> None:
    results: list[Any] = []
    with Listener(family=family, authkey=authkey) as listener:
        with running(lambda: connect(results, listener.address, authkey=authkey)), listener.accept() as server:
            server.send("welcome")
        with results[0] as client:
            assert client.recv() == "welcome"
    with pytest.raises(OSError, match="listener is closed"):
        listener.accept()
    with pytest.raises(OSError, match="listener is closed"):
        _ = listener.address


def test_a_unix_listener_removes_its_file() -> None:
    with Listener(family="AF_UNIX") as listener:
        path = listener.address
        assert os.path.exists(path)
    assert not os.path.exists(path)


def test_an_abstract_address_needs_no_file() -> None:
    name = "\0phalanx-test-" + os.urandom(8).hex()
    with Listener(name) as listener, Client(listener.address) as client, listener.accept() as server:
        client.send(1)
        assert server.recv() == 1


def test_an_address_in_use_is_refused() -> None:
    for family in connection.families:
        with Listener(family=family) as listener, pytest.raises(OSError, match="in use"):
            Listener(listener.address, family)


def test_many_clients_are_not_refused() -> None:
    with Listener(family="AF_INET", backlog=1) as listener:
        clients = [Client(listener.address) for _ in range(50)]
        for client in clients:
            client.send(1)
            with listener.accept() as server:
                assert server.recv() == 1
            client.close()


@pytest.mark.parametrize("address", ["\\\\.\\pipe", ("localhost", 0, 0)])
def test_wrong_addresses_are_refused(address: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Listener(address)


def test_wrong_families_and_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="Family AF_NONE is not recognized"):
        Listener(family="AF_NONE")
    with pytest.raises(TypeError, match="authkey should be a byte string"):
        Listener(authkey="text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="authkey should be a byte string"):
        Client("/nowhere", authkey="text")  # type: ignore[arg-type]


def test_the_xml_pair_carries_values() -> None:
    results: list[Any] = []
    with connection.XmlListener(authkey=b"k") as listener:
        with running(lambda: results.append(connection.XmlClient(listener.address, authkey=b"k"))):
            server = listener.accept()
        results[0].send([1, None, "\xe9"])
        assert server.recv() == [1, None, "\xe9"]
        results[0].close()
        server.close()


# -- the handshake -----------------------------------------------------------------------------------------------------


def test_a_wrong_key_fails_on_both_sides() -> None:
    results: list[Any] = []
    with Listener(authkey=b"right") as listener:
        with (
            running(lambda: connect(results, listener.address, authkey=b"wrong")),
            pytest.raises(AuthenticationError, match="digest received was wrong"),
        ):
            listener.accept()
        assert isinstance(results[0], AuthenticationError)


def test_nothing_is_unpickled_before_the_handshake() -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("unpickled",)

    results: list[Any] = []
    with Listener(authkey=b"key") as listener:
        with running(lambda: connect(results, listener.address)):
            results_ready = listener._accept_stranger()
        with results_ready, results[0] as client:
            client.send(Trap())
            with pytest.raises(AuthenticationError):
                listener._authenticate(results_ready)


def test_a_silent_client_does_not_block_accept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.05)
    with (
        Listener(authkey=b"key") as listener,
        Client(listener.address),
        pytest.raises(AuthenticationError, match="handshake not finished"),
    ):
        listener.accept()


def test_a_client_that_goes_away_is_an_error() -> None:
    with Listener(authkey=b"key") as listener:
        Client(listener.address).close()
        with pytest.raises((OSError, EOFError)):
            listener.accept()


class Peer:
    """A fake connection that says what it is told to."""

    def __init__(self, *messages: bytes) -> None:
        self.messages = list(messages)
        self.sent: list[bytes] = []

    def recv_bytes(self, size: int) -> bytes:
        return self.messages.pop(0)

    def send_bytes(self, data: bytes) -> None:
        self.sent.append(data)


def test_the_challenge_names_its_digest() -> None:
    peer = Peer(b"nonsense")
    with pytest.raises(AuthenticationError):
        deliver_challenge(peer, b"key")
    assert peer.sent[0].startswith(b"#CHALLENGE#{sha256}")
    assert peer.sent[1] == b"#FAILURE#"


def test_a_peer_up_to_3_11_is_understood() -> None:
    challenge = os.urandom(20)
    peer = Peer(b"#CHALLENGE#" + challenge, b"#WELCOME#")
    answer_challenge(peer, b"key")
    assert peer.sent == [hmac.digest(b"key", challenge, "md5")]


def test_a_peer_up_to_3_11_may_answer() -> None:
    class Legacy(Peer):
        def recv_bytes(self, size: int) -> bytes:
            return hmac.digest(b"key", self.sent[0].removeprefix(b"#CHALLENGE#"), "md5")

    peer = Legacy()
    deliver_challenge(peer, b"key")
    assert peer.sent[-1] == b"#WELCOME#"


@pytest.mark.parametrize("digest", ["md5", "sha256", "sha384", "sha3_256", "sha3_384"])
def test_every_digest_of_the_protocol_works(digest: str) -> None:
    challenge = b"{%s}%s" % (digest.encode(), b"r" * 40)
    response = authentication.create_response(b"key", challenge)
    authentication.verify_response(b"key", challenge, response)
    with pytest.raises(AuthenticationError):
        authentication.verify_response(b"other", challenge, response)


@pytest.mark.parametrize(
    "message", [b"", b"nonsense", b"#CHALLENGE#short", b"#CHALLENGE#{sha1}" + b"r" * 40, b"#CHALLENGE#" + b"r" * 200]
)
def test_bad_challenges_are_refused(message: bytes) -> None:
    with pytest.raises(AuthenticationError):
        answer_challenge(Peer(message, b"#WELCOME#"), b"key")


def test_a_rejected_answer_is_an_error() -> None:
    with pytest.raises(AuthenticationError, match="digest sent was rejected"):
        answer_challenge(Peer(b"#CHALLENGE#{sha256}" + b"r" * 40, b"#FAILURE#"), b"key")


def test_keys_are_bytes() -> None:
    for handshake in (deliver_challenge, answer_challenge):
        with pytest.raises(ValueError, match="Authkey must be bytes"):
            handshake(Peer(), "text")  # type: ignore[arg-type]


def test_the_stdlib_is_a_peer() -> None:
    import multiprocessing.connection as stdlib

    results: list[Any] = []
    with Listener(authkey=b"key") as listener:
        with running(lambda: results.append(stdlib.Client(listener.address, authkey=b"key"))):
            server = listener.accept()
        with server, results.pop() as client:
            client.send({"a": 1})
            assert server.recv() == {"a": 1}
    with stdlib.Listener(authkey=b"key") as listener:
        with running(lambda: connect(results, listener.address, authkey=b"key")):
            server = listener.accept()
        with server, results.pop() as client:
            server.send_bytes(b"x" * 100_000)
            assert client.recv_bytes() == b"x" * 100_000


# -- handing over ------------------------------------------------------------------------------------------------------


def test_a_connection_travels_over_a_connection(pair: tuple[Connection, Connection]) -> None:
    from phalanx import resource_sharer

    a, b = pair
    first, second = socket.socketpair()
    with first, Connection(second.detach()) as passed:
        a.send(passed)
        with b.recv() as received:
            passed.close()
            first.sendall(struct.pack("!i", 2) + b"ok")
            assert received.recv_bytes() == b"ok"
            assert type(received) is Connection
    resource_sharer.stop()


def test_a_descriptor_travels_over_a_connection(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    reader, writer = os.pipe()
    reduction.send_handle(a, writer, os.getpid())
    os.close(writer)
    received = reduction.recv_handle(b)
    os.write(received, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(received)
    os.close(reader)
