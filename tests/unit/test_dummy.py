"""The interface over threads."""

import threading

import pytest

from phalanx import dummy
from phalanx.dummy import connection


def test_a_process_is_a_thread() -> None:
    done = []
    process = dummy.Process(target=done.append, args=(1,))
    assert process.exitcode is None
    process.start()
    process.join()
    assert done == [1]
    assert process.exitcode == 0
    assert isinstance(process, threading.Thread)


def test_only_the_maker_may_start_it() -> None:
    made = []
    maker = threading.Thread(target=lambda: made.append(dummy.Process()))
    maker.start()
    maker.join()
    with pytest.raises(RuntimeError, match="current_process is"):
        made[0].start()


def test_active_children_are_those_that_run() -> None:
    release = threading.Event()
    process = dummy.Process(target=release.wait)
    process.start()
    assert dummy.active_children() == [process]
    release.set()
    process.join()
    assert dummy.active_children() == []


def test_current_process_is_the_thread() -> None:
    assert dummy.current_process() is threading.current_thread()


def test_the_manager_is_the_module() -> None:
    manager = dummy.Manager()
    shared = manager.dict(a=manager.list([1]))
    shared["a"].append(2)
    assert shared == {"a": [1, 2]}
    manager.shutdown()


def test_values() -> None:
    assert repr(dummy.Namespace(a=1, _hidden=2)) == "Namespace(a=1)"
    value = dummy.Value("i", 3)
    value.value += 1
    assert repr(value) == "<Value('i', 4)>"
    assert list(dummy.Array("i", [1, 2])) == [1, 2]


def test_a_pipe_connects_threads() -> None:
    a, b = dummy.Pipe()
    with a, b:
        assert not b.poll()
        assert not b.poll(-1)
        a.send(1)
        assert b.poll(None)
        assert b.recv() == 1
        b.send_bytes(b"back")
        assert a.recv_bytes() == b"back"


def test_listener_and_client() -> None:
    with connection.Listener() as listener:
        client = connection.Client(listener.address)
        server = listener.accept()
        client.send("hello")
        assert server.recv() == "hello"
    with pytest.raises(OSError, match="listener is closed"):
        listener.accept()


def test_what_is_named_is_there() -> None:
    for name in dummy.__all__:
        assert hasattr(dummy, name)
    assert dummy.freeze_support() is None
