"""The leak check itself: each kind of thing left behind is seen and named, and nothing else."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import leaks


@contextmanager
def an_open_file() -> Iterator[str]:
    read, write = os.pipe()
    yield "pipe:"
    os.close(read)
    os.close(write)


@contextmanager
def a_child() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        yield str(child.pid)
        child.kill()


@contextmanager
def a_thread() -> Iterator[str]:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="left-alone")
    thread.start()
    yield "left-alone"
    done.set()
    thread.join()


@contextmanager
def a_name() -> Iterator[str]:
    name = f"phalanx-test-{os.getpid()}"
    with open(f"/dev/shm/{name}", "x"):
        pass
    yield name
    os.unlink(f"/dev/shm/{name}")


@pytest.mark.parametrize(
    ("kind", "leak"), [("fds", an_open_file), ("processes", a_child), ("threads", a_thread), ("shm", a_name)]
)
def test_each_kind_is_seen(kind, leak):
    before = leaks.Census()
    with leak() as said:
        seen = leaks.Census().grown_since(before)
        assert said in " ".join(seen[kind])
        assert kind not in leaks.Census().grown_since(before, ignored=[kind])
    assert leaks.settle(before, lambda: None) == {}


def test_arena_growth_is_seen():
    before = leaks.Census(arena={"blocks": 1, "leases": 2, "slots": 3})
    after = leaks.Census(arena={"blocks": 1, "leases": 4, "slots": 3})
    assert after.grown_since(before)["arena"] == ["leases: 2 more"]
    assert "arena" not in before.grown_since(after)
