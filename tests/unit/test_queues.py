"""Queue, JoinableQueue and SimpleQueue, as the stdlib's documentation has them, in the three start methods."""

import os
import pickle
import queue
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from phalanx import _native
from phalanx.queues import JoinableQueue, Queue, SimpleQueue

BIG_BYTES = 3_000_000


def echo(requests: Any, replies: Any) -> None:
    while (item := requests.get()) is not None:
        replies.put(item)


def work_off(todo: Any, done: Any) -> None:
    while True:
        done.put(todo.get())
        todo.task_done()


def put_range(to: Any, name: int, count: int) -> None:
    for number in range(count):
        to.put((name, number))


def take_until_none(source: Any, into: Any) -> None:
    got = []
    while (item := source.get()) is not None:
        got.append(item)
    into.put(got)


def put_and_leave(to: Any, size: int) -> None:
    to.put(b"x" * size)
    os._exit(0)  # no exit function runs, nothing is flushed


def use_counted(counted: Any) -> None:
    counted.put("from the child")


class Counted(Queue):
    """A widely used recipe: a queue that carries something of its own to the child."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label = "counted"

    def __getstate__(self) -> dict[str, Any]:
        return {"parent_state": super().__getstate__(), "label": self.label}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state["parent_state"])
        self.label = state["label"]

    def put(self, *args: Any, **kwargs: Any) -> None:
        super().put((self.label, *args), **kwargs)


# -- between processes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_there_and_back(context: Any, kind: str) -> None:
    requests, replies = getattr(context, kind)(), getattr(context, kind)()
    process = context.Process(target=echo, args=(requests, replies))
    process.start()
    for item in (1, "two", b"x" * BIG_BYTES, [3, {"four": 5.0}], ValueError("six")):
        requests.put(item)
        assert repr(replies.get()) == repr(item)
    requests.put(None)
    process.join()
    assert process.exitcode == 0
    assert replies.empty()


def test_several_producers_and_consumers(context: Any) -> None:
    source, results = context.Queue(10), context.SimpleQueue()
    producers = [context.Process(target=put_range, args=(source, name, 300)) for name in range(3)]
    consumers = [context.Process(target=take_until_none, args=(source, results)) for _ in range(3)]
    for process in producers + consumers:
        process.start()
    for process in producers:
        process.join()
    for _ in consumers:
        source.put(None)
    lists = [results.get() for _ in consumers]
    for process in consumers:
        process.join()
    for got in lists:
        for name in range(3):
            numbers = [number for owner, number in got if owner == name]
            assert numbers == sorted(numbers)
    assert sorted(item for got in lists for item in got) == [
        (name, number) for name in range(3) for number in range(300)
    ]


def test_joining_waits_for_the_last_task(context: Any) -> None:
    todo, done = context.JoinableQueue(), context.Queue()
    workers = [context.Process(target=work_off, args=(todo, done), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    todo.put_many(range(100))
    todo.join()
    assert done.qsize() == 100
    assert sorted(done.get_many()) == list(range(100))
    for worker in workers:
        worker.terminate()
        worker.join()


@pytest.mark.parametrize("size", [1, 100_000])
def test_what_was_put_is_delivered_though_the_process_has_ended(context: Any, size: int) -> None:
    items = context.Queue()
    process = context.Process(target=put_and_leave, args=(items, size))
    process.start()
    process.join()
    assert items.get(timeout=30) == b"x" * size


def test_a_queue_made_by_a_subclass_keeps_what_it_carries(context: Any) -> None:
    counted = Counted(ctx=context)
    process = context.Process(target=use_counted, args=(counted,))
    process.start()
    process.join()
    assert counted.get() == ("counted", "from the child")


def test_arrays_are_not_kept(context: Any) -> None:
    numpy = pytest.importorskip("numpy")
    source, results = context.Queue(4), context.Queue()
    process = context.Process(target=echo, args=(source, results))
    process.start()
    before = _native.arena_stats()["blocks"]
    for number in range(20):
        source.put(numpy.full(1 << 17, number))
        assert (results.get() == number).all()
    assert _native.arena_stats()["blocks"] <= before + 4
    source.put(None)
    process.join()


# -- one process -------------------------------------------------------------------------------------------------------


def test_bounds_and_counts() -> None:
    items = Queue(2)
    assert (items.qsize(), items.empty(), items.full()) == (0, True, False)
    items.put(1)
    items.put(2)
    assert (items.qsize(), items.empty(), items.full()) == (2, False, True)
    with pytest.raises(queue.Full):
        items.put(3, timeout=0.01)
    with pytest.raises(queue.Full):
        items.put_nowait(3)
    assert items.get() == 1
    items.put(3)
    assert [items.get(), items.get_nowait()] == [2, 3]
    with pytest.raises(queue.Empty):
        items.get(timeout=0.01)
    with pytest.raises(queue.Empty):
        items.get(block=False)


@pytest.mark.parametrize("maxsize", [0, -1])
def test_no_bound(maxsize: int) -> None:
    items = Queue(maxsize)
    items.put_many(range(5000))
    assert not items.full()
    assert items.qsize() == 5000


def test_the_errors_are_the_queue_modules() -> None:
    from phalanx import queues

    assert queues.Empty is queue.Empty
    assert queues.Full is queue.Full


@pytest.mark.parametrize("cls", [Queue, JoinableQueue])
def test_a_closed_queue(cls: type[Queue]) -> None:
    unused, used = cls(), cls()
    with pytest.raises(AssertionError, match="not closed"):
        unused.join_thread()
    used.put(1)
    for items in (unused, used):
        items.close()
        items.close()
        items.join_thread()
        items.cancel_join_thread()
        for call in (lambda q=items: q.put(1), lambda q=items: q.get(), lambda q=items: q.put_nowait(1)):
            with pytest.raises(ValueError, match="is closed"):
                call()
    assert unused.empty()  # as in the stdlib, where a queue that was never used has no pipe to close
    with pytest.raises(OSError, match="is closed"):
        used.empty()


def test_a_closed_simple_queue() -> None:
    items = SimpleQueue()
    assert items.empty()
    items.put(1)
    assert not items.empty()
    assert items.get() == 1
    items.close()
    for call in (items.get, items.empty, lambda: items.put(1)):
        with pytest.raises(OSError, match="is closed"):
            call()


def test_task_done_too_often() -> None:
    items = JoinableQueue()
    items.join()
    items.put(1)
    items.get()
    items.task_done()
    items.join()
    with pytest.raises(ValueError, match="too many times"):
        items.task_done()


@pytest.mark.parametrize("cls", [Queue, JoinableQueue, SimpleQueue])
def test_pickling_outside_of_starting_a_process_is_refused(cls: type[Any]) -> None:
    with pytest.raises(RuntimeError, match=f"{cls.__name__} objects should only be shared between processes"):
        pickle.dumps(cls())


@pytest.mark.parametrize("cls", [Queue, JoinableQueue, SimpleQueue])
def test_generic_alias(cls: type[Any]) -> None:
    assert cls[int].__origin__ is cls


class Hooked(Queue):
    """As concurrent.futures has one."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[tuple[str, object]] = []

    def _on_queue_feeder_error(self, e: Exception, obj: object) -> None:
        self.refused.append((type(e).__name__, obj))


def test_the_hook_for_what_cannot_be_pickled() -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match="lock"):
        Queue().put(lock)
    items = Hooked()
    assert items.put(lock) is None
    assert items.refused == [("TypeError", lock)]
    assert items.empty()


class InterruptedPickling:
    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


def test_ctrl_c_is_not_the_hooks() -> None:
    items = Hooked()
    with pytest.raises(KeyboardInterrupt):
        items.put(InterruptedPickling())
    assert items.refused == []


def test_a_program_ends_while_daemon_threads_wait() -> None:
    program = """
        import threading
        from phalanx.queues import Queue

        for items in (Queue(), Queue(1)):
            items.put(0)
            items.get()
            for work in (items.get, lambda: [items.put(1) for _ in range(3)]):
                threading.Thread(target=work, daemon=True).start()
        print("end")
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "end\n", "")
