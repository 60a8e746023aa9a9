"""Queues that are waited for together with file descriptors: the level, who is told, forks, deaths."""

import asyncio
import os
import select
import selectors
import signal
import threading
from typing import Any

import pytest

import phalanx
from phalanx import _native, connection
from phalanx._queues.ends import QueueReader
from waits import LONG_S, SHORT_S, interrupting, run_in_child, running

KINDS = ("Queue", "SimpleQueue", "JoinableQueue")


@pytest.fixture(params=KINDS)
def make_queue(request: pytest.FixtureRequest) -> Any:
    """A factory: the test itself must be the last to hold the queue."""
    return getattr(phalanx.get_context("fork"), request.param)


def is_readable(fd: int, timeout_s: float = 0) -> bool:
    return bool(select.select([fd], [], [], timeout_s)[0])


def put_all(queue: Any, objects: list[Any]) -> None:
    for obj in objects:
        queue.put(obj)


def put_and_die_at(queue: Any, step: str) -> None:
    _native.set_kill_point(step)
    queue.put("last words")
    os._exit(0)


def take_all(queue: Any, count: int) -> None:
    for _ in range(count):
        queue.get()


# -- the level ---------------------------------------------------------------------------------------------------------


def test_the_descriptor_is_readable_exactly_while_the_queue_is_not_empty(make_queue: Any) -> None:
    queue = make_queue()
    fd = queue._reader.fileno()
    for _ in range(3):
        assert not is_readable(fd)
        queue.put(1)
        assert is_readable(fd)
        queue.put(2)
        assert queue.get() == 1
        assert is_readable(fd)
        assert queue.get() == 2
    assert not is_readable(fd)


def test_what_was_put_before_anybody_asked_counts(make_queue: Any) -> None:
    queue = make_queue()
    queue.put(1)
    assert is_readable(queue._reader.fileno())


def test_the_descriptor_stays_the_same(make_queue: Any) -> None:
    queue = make_queue()
    assert queue._reader.fileno() == queue._reader.fileno()


def test_batches_change_the_level_too() -> None:
    queue = phalanx.Queue()
    fd = queue._reader.fileno()
    queue.put_many(range(10))
    assert is_readable(fd)
    assert queue.get_many() == list(range(10))
    assert not is_readable(fd)


def test_two_objects_over_one_queue_have_a_descriptor_each() -> None:
    carrier, queue = phalanx.Queue(), phalanx.Queue()
    carrier.put(queue)
    other = carrier.get()
    fds = queue._reader.fileno(), other._reader.fileno()
    assert fds[0] != fds[1]
    other.put(1)
    assert all(is_readable(fd) for fd in fds)
    queue.get()
    assert not any(is_readable(fd) for fd in fds)


def test_an_item_of_another_process_makes_it_readable(context: Any) -> None:
    queue = context.Queue()
    fd = queue._reader.fileno()
    process = context.Process(target=put_all, args=(queue, ["from afar"]))
    process.start()
    assert is_readable(fd, LONG_S)
    assert queue.get() == "from afar"
    assert not is_readable(fd)
    process.join()


def test_it_falls_when_another_process_has_taken_the_last(context: Any) -> None:
    queue = context.Queue()
    put_all(queue, [1, 2])
    reader = queue._reader
    fd = reader.fileno()
    assert run_in_child(context, take_all, queue, 2) == 0
    assert connection.wait([reader], SHORT_S) == []
    assert not is_readable(fd)


def test_a_full_queue_is_waited_for_as_well() -> None:
    queue = phalanx.Queue(1)
    reader = queue._reader
    with running(put_all, queue, [1, 2, 3]):
        received = [reader.recv() for _ in range(3) if connection.wait([reader], LONG_S)]
    assert received == [1, 2, 3]


# -- who waits ---------------------------------------------------------------------------------------------------------


def test_wait_takes_readers_and_sentinels_together(context: Any) -> None:
    queue = context.SimpleQueue()
    reader = queue._reader
    process = context.Process(target=put_all, args=(queue, list(range(50))))
    process.start()
    for expected in range(50):
        ready = connection.wait([reader, process.sentinel], LONG_S)
        assert reader in ready
        assert reader.recv() == expected
    assert connection.wait([reader, process.sentinel], LONG_S) == [process.sentinel]
    process.join()


def test_wait_with_a_timeout_gives_nothing_of_an_empty_queue(make_queue: Any) -> None:
    queue = make_queue()
    assert connection.wait([queue._reader], 0) == []
    assert connection.wait([queue._reader], SHORT_S) == []


def test_wait_says_what_is_there_whatever_the_descriptor_says() -> None:
    queue = phalanx.Queue()
    queue.put_many([1, 2])
    reader = queue._reader
    assert connection.wait([reader], 0) == [reader]
    assert queue.get_many() == [1, 2]
    assert connection.wait([reader], 0) == []


def test_a_waiting_thread_is_woken_by_another_thread(make_queue: Any) -> None:
    queue = make_queue()
    reader = queue._reader
    got: list[Any] = []
    reader.fileno()
    with running(lambda: got.extend(connection.wait([reader], LONG_S))):
        queue.put(1)
    assert got == [reader]


def test_selectors_and_the_stdlibs_way_of_registering(make_queue: Any) -> None:
    queue = make_queue()
    with selectors.DefaultSelector() as selector:
        key = selector.register(queue._reader, selectors.EVENT_READ)
        assert selector.select(0) == []
        queue.put(1)
        assert [ready.fd for ready, _ in selector.select(LONG_S)] == [key.fd]
        selector.unregister(queue._reader)


def test_asyncio_waits_without_a_thread(context: Any) -> None:
    queue = context.Queue()

    async def collect() -> list[int]:
        loop, got, done = asyncio.get_running_loop(), [], asyncio.Event()

        def on_readable() -> None:
            while not queue.empty():
                got.append(queue.get())
            if len(got) == 20:
                done.set()

        loop.add_reader(queue._reader, on_readable)
        process = context.Process(target=put_all, args=(queue, list(range(20))))
        process.start()
        await asyncio.wait_for(done.wait(), LONG_S)
        loop.remove_reader(queue._reader)
        process.join()
        return got

    assert asyncio.run(collect()) == list(range(20))


def test_many_processes_may_watch_one_queue(context: Any) -> None:
    """More than one table of watchers holds."""
    queue, watching = context.Queue(), context.Semaphore(0)
    seen = context.Semaphore(0)
    processes = [context.Process(target=watch_until_readable, args=(queue, watching, seen)) for _ in range(9)]
    for process in processes:
        process.start()
    for _ in processes:
        assert watching.acquire(timeout=LONG_S)
    queue.put("for all to see")
    for _ in processes:
        assert seen.acquire(timeout=LONG_S)
    for process in processes:
        process.join()
        assert process.exitcode == 0


def watch_until_readable(queue: Any, watching: Any, seen: Any) -> None:
    fd = queue._reader.fileno()
    watching.release()
    assert is_readable(fd, LONG_S)
    seen.release()


def test_a_watcher_that_died_costs_nothing(context: Any) -> None:
    queue = context.Queue()
    watching, never = context.Semaphore(0), context.Event()
    for _ in range(20):  # more than a table has places: those of the dead are taken over
        process = context.Process(target=watch_and_wait, args=(queue, watching, never))
        process.start()
        assert watching.acquire(timeout=LONG_S)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    queue.put(1)
    assert is_readable(queue._reader.fileno())
    assert queue.get() == 1


def watch_and_wait(queue: Any, watching: Any, never: Any) -> None:
    queue._reader.fileno()
    watching.release()
    never.wait()


# -- deaths of who puts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["channel.published", "channel.counted", "channel.sent", "watch.disarmed"])
def test_what_a_killed_producer_had_published_is_noticed(step: str) -> None:
    context = phalanx.get_context("fork")
    queue = context.Queue()
    fd = queue._reader.fileno()
    assert run_in_child(context, put_and_die_at, queue, step) == -signal.SIGKILL
    assert is_readable(fd, LONG_S)
    assert queue.get(timeout=LONG_S) == "last words"


def test_what_a_killed_producer_had_not_published_never_was() -> None:
    context = phalanx.get_context("fork")
    queue = context.Queue()
    reader = queue._reader
    assert run_in_child(context, put_and_die_at, queue, "channel.written") == -signal.SIGKILL
    assert connection.wait([reader], SHORT_S) == []
    queue.put("next")
    assert reader.recv() == "next"


def test_a_watcher_killed_while_it_registers_leaves_the_queue_whole() -> None:
    context = phalanx.get_context("fork")
    queue = context.Queue()
    assert run_in_child(context, ask_and_die, queue) == -signal.SIGKILL
    queue.put(1)
    assert is_readable(queue._reader.fileno())
    assert queue.get() == 1


def ask_and_die(queue: Any) -> None:
    _native.set_kill_point("watch.registered")
    queue._reader.fileno()


# -- forks -------------------------------------------------------------------------------------------------------------


def test_a_forked_child_has_a_descriptor_of_its_own() -> None:
    context = phalanx.get_context("fork")
    queue, answers = context.Queue(), context.SimpleQueue()
    fd = queue._reader.fileno()
    queue.put(1)
    assert run_in_child(context, report_levels, queue, fd, answers) == 0
    assert answers.get() == (False, True, False)
    assert not is_readable(fd, SHORT_S)  # the child has taken the item; nobody has written into the parent's
    queue.put(2)
    assert is_readable(fd)


def report_levels(queue: Any, inherited: int, answers: Any) -> None:
    try:
        os.fstat(inherited)
        has_inherited = True
    except OSError:
        has_inherited = False
    fd = queue._reader.fileno()
    before = is_readable(fd)
    queue.get()
    answers.put((has_inherited, before, is_readable(fd)))


def test_forks_while_the_helper_is_busy() -> None:
    context = phalanx.get_context("fork")
    queue = context.Queue()
    queue._reader.fileno()
    over = threading.Event()

    def keep_busy() -> None:
        while not over.is_set():
            queue.put(1)
            queue.get()

    with running(keep_busy):
        codes = [run_in_child(context, use_a_queue_of_its_own) for _ in range(20)]
        over.set()
    assert codes == [0] * 20


def use_a_queue_of_its_own() -> None:
    queue = phalanx.Queue()
    fd = queue._reader.fileno()
    queue.put(1)
    assert is_readable(fd)


# -- the reader and the writer as connections --------------------------------------------------------------------------


def test_the_reader_receives_and_polls(make_queue: Any) -> None:
    queue = make_queue()
    reader, writer = queue._reader, queue._writer
    assert not reader.poll()
    assert not reader.poll(SHORT_S)
    writer.send(["an", "object"])
    assert reader.poll()
    assert reader.poll(None)
    assert reader.recv() == ["an", "object"]
    writer.send_bytes(phalanx.reduction.ForkingPickler.dumps("pickled"))
    assert phalanx.reduction.ForkingPickler.loads(reader.recv_bytes()) == "pickled"
    writer.send("long")
    with pytest.raises(OSError, match="bad message length"):
        reader.recv_bytes(3)


def test_poll_is_woken_by_an_item(make_queue: Any) -> None:
    queue = make_queue()
    with running(put_all, queue, [1]):
        assert queue._reader.poll(LONG_S)
    assert queue.get() == 1


def test_a_signal_handler_that_raises_ends_a_poll(make_queue: Any) -> None:
    queue = make_queue()
    with pytest.raises(Exception) as caught, interrupting():
        queue._reader.poll(None)
    assert type(caught.value).__name__ == "Interrupted"


def test_sides_are_equal_by_queue(make_queue: Any) -> None:
    queue = make_queue()
    other = phalanx.Queue()
    assert queue._reader == queue._reader
    assert queue._reader != other._reader
    assert queue._reader != queue._writer
    assert len({queue._reader, queue._reader, queue._writer}) == 2
    assert isinstance(queue._reader, QueueReader)
    assert queue._reader.readable
    assert not queue._reader.writable
    assert queue._writer.writable
    assert not queue._writer.readable


def test_a_subclass_may_put_its_own_ends_in_their_place() -> None:
    class Counting(phalanx.queues.Queue):
        def __init__(self) -> None:
            super().__init__(0, ctx=phalanx.get_context())
            self._reader = ("wrapped", 1)

    assert Counting()._reader == ("wrapped", 1)


def test_a_closed_reader_takes_nothing_more(make_queue: Any) -> None:
    queue = make_queue()
    with queue._reader as reader:
        assert not reader.closed
        reader.fileno()
    assert reader.closed
    for use in (reader.fileno, reader.poll, queue._reader.fileno):
        with pytest.raises(OSError, match="handle is closed"):
            use()
    with pytest.raises((OSError, ValueError), match="closed"):
        reader.recv()
    queue.put(1)  # the other side is open


def test_a_closed_writer_puts_nothing_more(make_queue: Any) -> None:
    queue = make_queue()
    queue.put(1)
    queue._writer.close()
    with pytest.raises((OSError, ValueError), match="closed"):
        queue.put(2)
    assert queue.get() == 1


def test_closing_the_queue_closes_its_descriptor(make_queue: Any) -> None:
    queue = make_queue()
    fd = queue._reader.fileno()
    queue.close()
    with pytest.raises(OSError):  # the system's own words
        os.fstat(fd)
    with pytest.raises(OSError, match="handle is closed"):
        queue._reader.fileno()


def test_a_queue_that_is_gone_leaves_neither_thread_nor_descriptor() -> None:
    threads, fds = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
    queues = [phalanx.Queue() for _ in range(3)]
    for each in queues:
        each._reader.fileno()
    assert len(os.listdir("/proc/self/task")) == threads + 1
    assert len(os.listdir("/proc/self/fd")) == fds + 3
    del queues, each
    assert len(os.listdir("/proc/self/task")) == threads
    assert len(os.listdir("/proc/self/fd")) == fds


def test_watches_that_come_and_go_in_several_threads() -> None:
    queues = [phalanx.Queue() for _ in range(4)]

    def come_and_go(queue: Any) -> None:
        for _ in range(50):
            watch = _native.Watch(queue)
            fd = watch.fileno()
            queue.put(1)
            assert is_readable(fd)
            queue.get()
            assert not is_readable(fd)
            watch.close()

    threads = [threading.Thread(target=come_and_go, args=(each,)) for each in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
        assert not thread.is_alive()


def test_what_is_no_channel_cannot_be_watched() -> None:
    with pytest.raises(TypeError):
        _native.Watch(3)  # type: ignore[arg-type]
