"""Pipes between processes of one tree: messages through the arena, wakes and the end through the socket."""

import os
import pickle
import select
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from phalanx import _native, connection, reduction
from phalanx.connection import BufferTooShort, Connection, Pipe

TOO_LONG_TO_WAIT_S = 30


@pytest.fixture
def pair() -> Iterator[tuple[Connection, Connection]]:
    a, b = Pipe()
    with a, b:
        yield a, b


def is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "obj", [None, True, 0, -1, 1 << 80, 2.5, "text", "\ud800", b"", b"bytes", [1, {"a": (2.5, None)}], "x" * 100_000]
)
def test_an_object_arrives_equal(pair: tuple[Connection, Connection], obj: object) -> None:
    for sender, receiver in (pair, pair[::-1]):
        sender.send(obj)
        assert receiver.recv() == obj


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 5_000_000])
def test_bytes_of_any_size_arrive_whole(pair: tuple[Connection, Connection], size: int) -> None:
    payload = os.urandom(size)
    pair[0].send_bytes(payload)
    assert pair[1].recv_bytes() == payload


@pytest.mark.parametrize("obj", [5, b"bytes", "text", [1, 2], b"x" * 50_000])
def test_objects_and_bytes_may_be_mixed(pair: tuple[Connection, Connection], obj: object) -> None:
    a, b = pair
    a.send(obj)
    pickled = b.recv_bytes()
    assert pickle.loads(pickled) == obj
    a.send_bytes(pickled)
    assert b.recv() == obj


def test_what_cannot_be_pickled_raises_at_send_and_sends_nothing(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    with pytest.raises(Exception, match="pickle"):
        a.send(threading.Lock())
    assert not b.poll()


def test_what_cannot_be_unpickled_costs_one_message(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    a.send_bytes(b"no pickle")
    a.send("next")
    with pytest.raises(pickle.UnpicklingError):
        b.recv()
    assert b.recv() == "next"


def test_slices_and_their_errors(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    a.send_bytes(b"abcdef", offset=2, size=3)
    assert b.recv_bytes() == b"cde"
    for arguments, text in (
        ((-1,), "offset is negative"),
        ((7,), "buffer length < offset"),
        ((4, -1), "size is negative"),
        ((4, 3), r"buffer length < offset \+ size"),
    ):
        with pytest.raises(ValueError, match=text):
            a.send_bytes(b"abcdef", *arguments)
    with pytest.raises(TypeError):
        a.send_bytes("text")  # type: ignore[arg-type]
    assert not b.poll()


def test_receiving_into_a_buffer(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    buffer = bytearray(5)
    a.send_bytes(b"123")
    assert b.recv_bytes_into(buffer, 1) == 3
    assert buffer == b"\x00123\x00"
    a.send_bytes(b"too long")
    with pytest.raises(BufferTooShort) as caught:
        b.recv_bytes_into(buffer)
    assert caught.value.args == (b"too long",)
    for offset in (-1, 6):
        with pytest.raises(ValueError, match="offset"):
            b.recv_bytes_into(buffer, offset)


def test_a_message_above_maxlength_ends_receiving(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    a.send_bytes(b"12345")
    with pytest.raises(ValueError, match="negative maxlength"):
        b.recv_bytes(-1)
    with pytest.raises(OSError, match="bad message length"):
        b.recv_bytes(4)
    assert not b.readable
    b.send("the other way still works")
    assert a.recv() == "the other way still works"


@pytest.mark.parametrize("method", ["send", "recv", "send_bytes", "recv_bytes", "recv_bytes_into", "poll"])
def test_wrong_arguments_are_type_errors(pair: tuple[Connection, Connection], method: str) -> None:
    with pytest.raises(TypeError):
        getattr(pair[0], method)(1, 2, 3, 4)
    with pytest.raises(TypeError):
        getattr(pair[0], method)(nonsense=1)


# -- the state of an end -----------------------------------------------------------------------------------------------


def test_one_way_pipes() -> None:
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        writer.send(1)
        assert reader.recv() == 1
        assert (reader.readable, reader.writable, writer.readable, writer.writable) == (True, False, False, True)
        with pytest.raises(OSError, match="read-only"):
            reader.send(1)
        for call in (writer.recv, writer.recv_bytes, writer.poll):
            with pytest.raises(OSError, match="write-only"):
                call()


def test_a_closed_end_refuses_everything(pair: tuple[Connection, Connection]) -> None:
    a = pair[0]
    a.close()
    a.close()
    assert a.closed
    for call in (a.fileno, a.recv, a.recv_bytes, a.poll, lambda: a.send(1), lambda: a.send_bytes(b"")):
        with pytest.raises(OSError, match="handle is closed"):
            call()


def test_both_ends_are_connections(pair: tuple[Connection, Connection]) -> None:
    assert all(type(end) is Connection for end in pair)
    assert repr(pair[0]).startswith("<phalanx.connection.Connection object at 0x")


def test_the_end_comes_after_what_was_sent(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    a.send(1)
    a.close()
    assert b.recv() == 1
    assert b.poll()
    for receive in (b.recv, b.recv_bytes):
        with pytest.raises(EOFError):
            receive()
    with pytest.raises(BrokenPipeError):
        b.send(2)


def test_a_sender_learns_at_once_that_the_peer_has_closed(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    a.send(1)
    b.close()
    with pytest.raises(BrokenPipeError):
        a.send(2)


def test_an_end_closed_while_a_thread_waits_in_it(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    caught: list[BaseException] = []

    def receive() -> None:
        try:
            a.recv()
        except (OSError, EOFError) as error:
            caught.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    b.close()
    a.close()
    thread.join()
    assert len(caught) == 1


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_poll_only_looks_when_told_so(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    assert not b.poll()
    assert not b.poll(-1)
    assert not b.poll(0.001)
    a.send(1)
    assert b.poll(None)
    assert b.poll(timeout=0)


@pytest.mark.parametrize("before", [0, 1, 3])
def test_the_descriptor_is_readable_exactly_while_a_message_waits(
    pair: tuple[Connection, Connection], before: int
) -> None:
    a, b = pair
    for _ in range(2):  # the token rests in the socket
        a.send(0)
        b.recv()
    assert not b.poll(0.001)  # a receiver has slept: the token is out
    for number in range(before):
        a.send(number)
    fd = b.fileno()
    for number in range(before):
        assert is_readable(fd)
        assert b.recv() == number
    assert not is_readable(fd)
    a.send("more")
    assert is_readable(fd)
    assert b.recv() == "more"
    assert not is_readable(fd)
    a.close()
    assert is_readable(fd)


def test_wait_over_pipes_and_others(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    first, second = socket.socketpair()
    with first, second:
        assert connection.wait([a, b, first], 0) == []
        assert connection.wait([a, b, first], 0.001) == []
        a.send(1)
        assert connection.wait([first, a, b]) == [b]
        second.send(b"x")
        assert connection.wait([first, a, b]) == [first, b]
        assert b.recv() == 1
        assert connection.wait([a, b], -1) == []
        b.close()
        assert connection.wait([a, first]) == [a, first]


def test_a_sleeper_is_woken(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    for wait in (lambda: b.poll(TOO_LONG_TO_WAIT_S), lambda: connection.wait([b], TOO_LONG_TO_WAIT_S), b.recv):
        sender = threading.Timer(0.01, a.send, ("x",))
        sender.start()
        assert wait()
        sender.join()


def test_several_threads_may_receive(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    received: list[int] = []
    threads = [
        threading.Thread(target=lambda: received.extend(iter(b.recv, -1)))  # type: ignore[arg-type]
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for number in range(2000):
        a.send(number)
    for _ in threads:
        a.send(-1)
    for thread in threads:
        thread.join()
    assert sorted(received) == list(range(2000))


def test_a_sender_waits_for_room_and_a_big_message_never_does(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    big = b"x" * (16 << 20)
    a.send_bytes(big)
    sent: list[int] = []

    def send() -> None:
        for number in range(3):
            a.send_bytes(big)
            sent.append(number)

    thread = threading.Thread(target=send)
    thread.start()
    for _ in range(4):
        assert b.recv_bytes() == big
    thread.join()
    assert sent == [0, 1, 2]


def test_a_sender_that_waits_for_room_learns_of_the_end(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    a.send_bytes(b"x" * (16 << 20))
    closer = threading.Timer(0.01, b.close)
    closer.start()
    with pytest.raises(BrokenPipeError):
        a.send_bytes(b"more")
    closer.join()


# -- between processes -------------------------------------------------------------------------------------------------


def echo(conn: Connection) -> None:
    with conn:
        for message in iter(conn.recv, None):
            conn.send(message)


def send_and_end(conn: Connection, count: int) -> None:
    for number in range(count):
        conn.send(number)


def wait_for_ever(conn: Connection) -> None:
    conn.send(os.getpid())
    conn.recv()


def test_a_child_answers(context: Any) -> None:
    a, b = context.Pipe()
    child = context.Process(target=echo, args=(b,))
    child.start()
    b.close()
    with a:
        for message in (1, "text", [1, 2], b"x" * 1_000_000):
            a.send(message)
            assert a.recv() == message
        a.send(None)
        with pytest.raises(EOFError):
            a.recv()
    child.join()


def test_what_a_child_sent_is_received_after_its_end(context: Any) -> None:
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=send_and_end, args=(writer, 1000))
    child.start()
    writer.close()
    child.join()
    with reader:
        assert [reader.recv() for _ in range(1000)] == list(range(1000))
        with pytest.raises(EOFError):
            reader.recv()


def test_a_killed_peer_is_the_end(context: Any) -> None:
    a, b = context.Pipe()
    child = context.Process(target=wait_for_ever, args=(b,))
    child.start()
    b.close()
    with a:
        os.kill(a.recv(), signal.SIGKILL)
        with pytest.raises(EOFError):
            a.recv()
        child.join()
        with pytest.raises(BrokenPipeError):
            a.send(1)


def receive_an_end(conn: Connection) -> None:
    with conn, conn.recv() as passed:
        passed.send("through the passed end")


def test_an_end_travels_through_a_pipe(context: Any) -> None:
    from phalanx import resource_sharer

    a, b = context.Pipe()
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=receive_an_end, args=(b,))
    child.start()
    b.close()
    with a, reader:
        a.send(writer)
        writer.close()
        assert reader.recv() == "through the passed end"
        with pytest.raises(EOFError):
            reader.recv()
    child.join()
    resource_sharer.stop()


def test_an_end_does_not_travel_to_strangers(pair: tuple[Connection, Connection]) -> None:
    from phalanx import resource_sharer

    with pytest.raises(RuntimeError, match="should only be shared between processes through inheritance"):
        reduction.ForkingPickler.dumps(pair[0])
    resource_sharer.stop()


def test_descriptors_travel_beside_messages(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    reader, writer = os.pipe()
    for before in range(3):  # with messages, and so with tokens, round the descriptor
        for number in range(before):
            a.send(number)
        reduction.send_handle(a, writer, os.getpid())
        a.send("behind")
        assert [b.recv() for _ in range(before)] == list(range(before))
        received = reduction.recv_handle(b)
        assert is_readable(b.fileno())
        assert b.recv() == "behind"
        assert not b.poll()
        os.write(received, b"x")
        os.close(received)
        assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)


def test_a_byte_without_descriptor_is_an_error(pair: tuple[Connection, Connection]) -> None:
    a, b = pair
    os.write(a.fileno(), b"\0")
    with pytest.raises(RuntimeError):
        reduction.recv_handle(b)


# -- deaths ------------------------------------------------------------------------------------------------------------


def die_sending(conn: Connection, point: str) -> None:
    conn.send("before")
    _native.set_kill_point(point)
    conn.send("at the point")


@pytest.mark.parametrize("point", ["pipe.published", "pipe.rung", "channel.written", "channel.published"])
def test_a_sender_dies_at_every_step(point: str) -> None:
    import phalanx

    context = phalanx.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    with reader, writer:
        assert not reader.poll(0.001)  # armed: the first send rings
        child = context.Process(target=die_sending, args=(writer, point + (":2" if point == "pipe.rung" else "")))
        child.start()
        child.join()
        assert reader.recv() == "before"
        writer.send("from the survivor")
        received = reader.recv()
        if received == "at the point":
            received = reader.recv()
        assert received == "from the survivor"
        assert not reader.poll(0.001)


def die_receiving(conn: Connection, point: str) -> None:
    _native.set_kill_point(point)
    conn.recv()


@pytest.mark.parametrize("point", ["pipe.armed", "pipe.drained", "channel.taken"])
def test_a_receiver_dies_at_every_step(point: str) -> None:
    import phalanx

    context = phalanx.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    with reader, writer:
        if point == "channel.taken":
            writer.send("lost with the dead")
        child = context.Process(target=die_receiving, args=(reader, point))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        for _ in range(3):
            sender = threading.Timer(0.01, writer.send, ("after",))
            sender.start()
            assert reader.recv() == "after"
            sender.join()
