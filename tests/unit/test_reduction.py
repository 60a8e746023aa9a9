"""Pickling for other processes, errors that say where, file descriptors on their way."""

import copyreg
import io
import os
import pickle
import socket
import sys
import threading
import types
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import phalanx
from phalanx import reduction, resource_sharer
from phalanx.reduction import ForkingPickler


@pytest.fixture(autouse=True)
def stopped_sharer() -> Iterator[None]:
    yield
    resource_sharer.stop()


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def method(self) -> str:
        return "called"


class Slotted:
    __slots__ = ("inner",)


class Registered:
    pass


def rebuild(text: str) -> str:
    return text


# -- pickling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("obj", [1, "text", [1, (2, {3})], Plain, len, partial(int, "7"), list.append])
def test_objects_survive(obj: Any) -> None:
    loaded = ForkingPickler.loads(ForkingPickler.dumps(obj))
    assert getattr(loaded, "func", loaded) == getattr(obj, "func", obj)


def test_bound_methods_survive() -> None:
    assert ForkingPickler.loads(ForkingPickler.dumps(Plain().method))() == "called"


def test_a_registered_reducer_decides() -> None:
    ForkingPickler.register(Registered, lambda obj: (rebuild, ("registered",)))
    try:
        assert ForkingPickler.loads(ForkingPickler.dumps([Registered()])) == ["registered"]
        file = io.BytesIO()
        reduction.dump(Registered(), file)
        assert pickle.loads(file.getvalue()) == "registered"
    finally:
        del ForkingPickler._extra_reducers[Registered]
    assert isinstance(ForkingPickler.loads(ForkingPickler.dumps(Registered())), Registered)


def test_copyregs_reducers_count_from_the_moment_they_are_registered() -> None:
    copyreg.pickle(Registered, lambda obj: (rebuild, ("copyreg",)))
    try:
        assert ForkingPickler.loads(ForkingPickler.dumps(Registered())) == "copyreg"
    finally:
        del copyreg.dispatch_table[Registered]


def test_reducers_given_to_the_stdlib_are_honoured_but_for_its_own(monkeypatch: Any) -> None:
    stdlib: Any = types.ModuleType("multiprocessing.reduction")
    own = lambda obj: (rebuild, ("the stdlib's",))  # noqa: E731
    own.__module__ = "multiprocessing.reduction"
    extra = {Registered: lambda obj: (rebuild, ("a library's",)), Plain: own}
    stdlib.ForkingPickler = types.SimpleNamespace(_extra_reducers=extra)
    monkeypatch.setitem(sys.modules, "multiprocessing.reduction", stdlib)
    assert ForkingPickler.loads(ForkingPickler.dumps(Registered())) == "a library's"
    assert isinstance(ForkingPickler.loads(ForkingPickler.dumps(Plain())), Plain)


def test_big_buffers_stay_outside() -> None:
    data = bytearray(b"x" * 100_000)
    pickled, buffers = ForkingPickler.dumps_with_buffers(pickle.PickleBuffer(data))
    assert len(pickled) < 100
    assert all(isinstance(buffer, pickle.PickleBuffer) for buffer in buffers)
    assert ForkingPickler.loads(pickled, buffers=buffers) == data


# -- errors that say where ---------------------------------------------------------------------------------------------


def slotted(inner: object) -> Slotted:
    obj = Slotted()
    obj.inner = inner
    return obj


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (Plain(handler=Plain(lock=LOCK)), "Plain object.handler.lock"),
        ({"key": [1, 2, 3, LOCK]}, "dict object['key'][3]"),
        (slotted((LOCK,)), "Slotted object.inner[0]"),
        ([Plain(lock=LOCK).method], "list object[0].__self__.lock"),
        (partial(int, LOCK), "partial object"),
        ({LOCK}, "set object.pop(): <unlocked _thread.lock"),
    ],
)
def test_an_error_names_the_attribute_at_fault(obj: object, path: str) -> None:
    with pytest.raises(TypeError, match=r"cannot pickle '_thread.lock' object \(found at ") as caught:
        ForkingPickler.dumps(obj)
    assert path in str(caught.value)


def test_an_object_at_fault_by_itself_needs_no_path() -> None:
    with pytest.raises(TypeError) as caught:
        ForkingPickler.dumps(LOCK)
    assert str(caught.value) == "cannot pickle '_thread.lock' object"


def test_the_type_of_the_error_is_kept() -> None:
    for obj in ([lambda: None], {"x": Plain(function=lambda: None)}):
        with pytest.raises((pickle.PicklingError, AttributeError), match="found at") as caught:
            ForkingPickler.dumps(obj)
        with pytest.raises(type(caught.value)):
            pickle.dumps(obj)


def test_an_endless_structure_is_searched_in_bounded_time() -> None:
    endless: list[Any] = [LOCK]
    for _ in range(5000):
        endless = [1, endless]
    with pytest.raises((TypeError, RecursionError)):
        ForkingPickler.dumps(endless)


# -- file descriptors --------------------------------------------------------------------------------------------------


def test_descriptors_go_over_a_socket() -> None:
    first, second = socket.socketpair()
    reader, writer = os.pipe()
    with first, second:
        reduction.sendfds(first, [writer, reader])
        received = reduction.recvfds(second, 2)
        assert not any(map(os.get_inheritable, received))
        os.write(received[0], b"through")
        assert os.read(reader, 100) == b"through"
        for fd in (*received, reader, writer):
            os.close(fd)


def test_missing_descriptors_are_an_error() -> None:
    first, second = socket.socketpair()
    with first, second:
        first.send(b"\1")
        with pytest.raises(RuntimeError, match="received 0 file descriptors"):
            reduction.recvfds(second, 1)
        first.close()
        with pytest.raises(EOFError):
            reduction.recvfds(second, 1)


def test_handles_go_over_a_connection() -> None:
    first, second = socket.socketpair()
    reader, writer = os.pipe()
    with first, second:
        reduction.send_handle(first, writer, os.getpid())
        received = reduction.recv_handle(second)
    os.close(writer)
    os.write(received, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(received)
    os.close(reader)


def test_a_socket_is_pickled_for_any_process_and_taken_once() -> None:
    first, second = socket.socketpair()
    pickled = bytes(ForkingPickler.dumps(first))
    with first, second:
        with pickle.loads(pickled) as copy:
            copy.send(b"through")
            assert second.recv(100) == b"through"
        with pytest.raises(EOFError):
            pickle.loads(pickled)


def write_to(fd: Any, text: bytes) -> None:
    os.write(fd.detach(), text)


class WithDescriptor:
    """Hands over its descriptor when it is pickled, and only then."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return identity, (reduction.DupFd(self.fd),)


def identity(obj: Any) -> Any:
    return obj


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_descriptor_is_inherited_by_a_child_that_is_not_forked(method: str) -> None:
    reader, writer = os.pipe()
    child = phalanx.get_context(method).Process(target=write_to, args=(WithDescriptor(writer), b"inherited"))
    child.start()
    child.join()
    assert child.exitcode == 0
    child.close()
    assert os.read(reader, 100) == b"inherited"
    os.close(reader)
    os.close(writer)


def test_stopping_the_sharer_closes_what_nobody_fetched() -> None:
    reader, writer = os.pipe()
    waiting = resource_sharer.DupFd(writer)
    os.close(writer)
    resource_sharer.stop()
    assert os.read(reader, 1) == b""
    os.close(reader)
    with pytest.raises(OSError, match="refused"):
        waiting.detach()
