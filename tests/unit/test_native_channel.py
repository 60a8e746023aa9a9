"""The channel's binding: values, batches, waiting, what a class over it may do, and what forks and faults leave."""

import contextlib
import gc
import os
import pickle
import queue
import signal
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from phalanx import _native

INLINE_BYTES = 16384
"""Longer payloads lie in a block of their own."""


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked child; it must end by itself, and well."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    slot = _native.slot_of_last_fork()
    _, status = os.waitpid(pid, 0)
    _native.slot_end(slot)
    assert os.waitstatus_to_exitcode(status) == 0


def stats() -> tuple[int, int]:
    gc.collect()
    figures = _native.arena_stats()
    return figures["blocks"], figures["leases"]


def refuse_to_load(word: str) -> None:
    raise LookupError(word)


class Unloadable:
    """Pickles well, and raises when it is rebuilt."""

    def __init__(self, word: str = "not here") -> None:
        self.word = word

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse_to_load, (self.word,)


class Unpicklable:
    def __reduce__(self) -> tuple[Any, ...]:
        raise pickle.PicklingError("never")


# -- values ----------------------------------------------------------------------------------------------------------

VALUES = [
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    10**40,
    True,
    False,
    None,
    0.5,
    float("-inf"),
    -0.0,
    "",
    "text",
    "\N{GREEK SMALL LETTER OMEGA}" * 9000,
    "\ud800",
    b"",
    b"bytes" * 4000,
    b"x" * (INLINE_BYTES - 1),
    b"x" * INLINE_BYTES,
    b"x" * (INLINE_BYTES + 1),
    bytearray(b"mutable"),
    (),
    (1, ("two", [3.0, {"four": None}])),
    list(range(5000)),
    {1: {2: {3: [b"deep"]}}},
    {4, 5},
    range(3),
    ValueError("an error", 1),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_what_comes_out_is_what_went_in(value: Any) -> None:
    channel = _native.Channel()
    channel.put(value)
    channel.put_many([value])
    for got in (channel.get(), *channel.get_many()):
        assert type(got) is type(value)
        assert repr(got) == repr(value)


def test_nan_stays_nan() -> None:
    channel = _native.Channel()
    channel.put(float("nan"))
    got = channel.get()
    assert got != got


def test_what_is_one_object_stays_one() -> None:
    channel = _native.Channel()
    inner: list[Any] = []
    channel.put([inner, inner])
    got = channel.get()
    assert got[0] is got[1]
    inner.append(inner)
    channel.put(inner)
    loop = channel.get()
    assert loop[0] is loop


def test_subclasses_of_plain_types_stay_what_they_are() -> None:
    class_of = type("Number", (int,), {"__module__": __name__})
    globals()["Number"] = class_of
    class_of.__qualname__ = "Number"
    channel = _native.Channel()
    channel.put(class_of(3))
    channel.put((class_of(4),))
    assert type(channel.get()) is class_of
    assert type(channel.get()[0]) is class_of


def test_arrays_arrive_writable_and_private() -> None:
    numpy = pytest.importorskip("numpy")
    channel = _native.Channel()
    array = numpy.arange(1 << 17)
    channel.put(array)
    got = channel.get()
    assert (got == array).all()
    got[0] = 77
    assert array[0] == 0


def test_bytes_and_frames() -> None:
    channel = _native.Channel()
    for size in (0, 1, INLINE_BYTES, INLINE_BYTES + 1):
        channel.put_bytes(memoryview(b"x" * size))
        assert channel.get_bytes() == b"x" * size
    channel.put({"a": set()})
    assert pickle.loads(channel.get_bytes()) == {"a": set()}
    channel.put(Unloadable())
    frame = channel.get_frame()
    with pytest.raises(LookupError, match="not here"):
        frame.load()
    with pytest.raises(RuntimeError, match="loaded before"):
        frame.load()


# -- arguments -------------------------------------------------------------------------------------------------------


def test_put_and_get_take_what_the_stdlibs_take() -> None:
    channel = _native.Channel(1)
    channel.put(obj=1)
    assert channel.get(block=True) == 1
    channel.put(timeout=5, obj=2)
    assert channel.get(True, None) == 2
    channel.put(3, block=False)
    assert channel.get(timeout=0.5) == 3
    channel.put(4, True, timeout=1)
    for full in (
        lambda: channel.put(5, False),
        lambda: channel.put(5, timeout=0.01),
        lambda: channel.put(5, timeout=-1),
        lambda: channel.put_nowait(5),
        lambda: channel.put_many([5], timeout=0),
    ):
        with pytest.raises(queue.Full):
            full()
    assert channel.get_nowait() == 4
    for empty in (
        lambda: channel.get(False),
        lambda: channel.get(block=False, timeout=9),
        lambda: channel.get(timeout=0.01),
        lambda: channel.get(timeout=-1),
        channel.get_nowait,
        lambda: channel.get_many(block=False),
    ):
        with pytest.raises(queue.Empty):
            empty()


@pytest.mark.parametrize(
    "call",
    [
        lambda channel: channel.put(),
        lambda channel: channel.put(1, True, None, 4),
        lambda channel: channel.put(1, obj=2),
        lambda channel: channel.put(1, nonsense=2),
        lambda channel: channel.put(nonsense=2),
        lambda channel: channel.get(True, None, 3),
        lambda channel: channel.get(nonsense=1),
        lambda channel: channel.get(timeout="soon"),
        lambda channel: channel.put(1, timeout="soon"),
        lambda channel: channel.put_bytes("text"),
        lambda channel: channel.put_many(1),
    ],
)
def test_wrong_arguments_raise_and_leave_nothing(call: Callable[[Any], None]) -> None:
    channel = _native.Channel()
    with pytest.raises(TypeError):
        call(channel)
    assert channel.empty()


def test_a_timeout_that_is_no_number() -> None:
    with pytest.raises(ValueError, match="NaN"):
        _native.Channel().get(timeout=float("nan"))


# -- batches ---------------------------------------------------------------------------------------------------------


def test_put_many_puts_what_came_before_the_fault() -> None:
    def stops() -> Iterator[int]:
        yield from range(100)
        raise KeyError("stop")

    channel = _native.Channel()
    with pytest.raises(KeyError, match="stop"):
        channel.put_many(stops())
    assert channel.get_many() == list(range(100))
    with pytest.raises(pickle.PicklingError):
        channel.put_many([1, 2, Unpicklable(), 4])
    assert channel.get_many() == [1, 2]


def test_put_many_keeps_nothing_back_from_those_who_wait() -> None:
    channel = _native.Channel()

    def slowly() -> Iterator[int]:
        for number in range(3):
            time.sleep(0.002)  # longer than put_many may keep what it has
            yield number
        assert channel.get(timeout=30) == 0

    channel.put_many(slowly())
    assert channel.get_many() == [1, 2]


def test_put_many_of_big_objects_holds_few_at_once() -> None:
    channel = _native.Channel(2)
    before, most = stats()[0], 0

    def arrays() -> Iterator[bytes]:
        nonlocal most
        for _ in range(40):
            most = max(most, stats()[0] - before)
            yield b"x" * (1 << 20)

    consumer = threading.Thread(target=lambda: deque(channel.get() for _ in range(40)))
    consumer.start()
    channel.put_many(arrays())
    consumer.join()
    assert most <= 5, "two waiting, one in hand, one being published, one being taken"


def test_get_many_loses_nothing_behind_what_cannot_be_rebuilt() -> None:
    channel = _native.Channel()
    channel.put_many([1, 2, Unloadable("first"), 3, b"x" * (INLINE_BYTES + 1), Unloadable("second"), 4])
    assert channel.get_many() == [1, 2]
    assert channel.qsize() == 5
    with pytest.raises(LookupError, match="first"):
        channel.get_many()
    assert channel.get() == 3
    assert not channel.empty()
    assert channel.get_many() == [b"x" * (INLINE_BYTES + 1)]
    with pytest.raises(LookupError, match="second"):
        channel.get()
    channel.put(5)
    assert channel.qsize() == 2
    assert channel.get_many() == [4]
    assert channel.get_many() == [5]
    channel.put_many([Unloadable("only"), 6])
    with pytest.raises(LookupError, match="only"):
        channel.get_many()
    assert channel.get_many(1) == [6]
    assert channel.empty()


def test_what_is_left_over_goes_with_the_queue_and_is_not_a_childs() -> None:
    before = stats()
    channel: Any = _native.Channel()
    channel.put_many([1, Unloadable(), b"x" * (INLINE_BYTES + 1), 2])
    assert channel.get_many() == [1]

    def child() -> None:
        assert channel.qsize() == 0
        with pytest.raises(queue.Empty):
            channel.get_nowait()

    in_child(child)
    assert channel.qsize() == 3
    channel = None
    assert stats() == before


def test_ctrl_c_while_an_object_is_rebuilt_comes_at_once() -> None:
    channel = _native.Channel()
    channel.put_many([1, Interrupting(), 2])
    with pytest.raises(KeyboardInterrupt):
        channel.get_many()
    assert channel.get_many() == [2]


def interrupt() -> None:
    raise KeyboardInterrupt


class Interrupting:
    def __reduce__(self) -> tuple[Any, ...]:
        return interrupt, ()


def test_limits_of_get_many() -> None:
    channel = _native.Channel()
    channel.put_many(range(2000))
    assert channel.get_many(5) == [0, 1, 2, 3, 4]
    assert len(channel.get_many()) == 1024
    assert len(channel.get_many(5000)) == 971
    with pytest.raises(ValueError, match="negative"):
        channel.get_many(-1)


# -- counts, bounds, closing -------------------------------------------------------------------------------------------


def test_max_bytes_bounds_what_waits_but_not_one_alone() -> None:
    channel = _native.Channel(max_bytes=1000)
    channel.put(b"x" * 100_000)
    assert channel.full()
    with pytest.raises(queue.Full):
        channel.put_nowait(1)
    assert len(channel.get()) == 100_000
    channel.put_nowait(1)
    assert not channel.full()


def test_joining() -> None:
    channel = _native.Channel()
    assert channel.join()
    channel.put_many([1, 2])
    assert not channel.join(timeout=0.01)
    channel.task_done()
    assert not channel.join(timeout=0)
    channel.task_done()
    assert channel.join()
    with pytest.raises(ValueError, match="too many times"):
        channel.task_done()


def test_a_closed_channel() -> None:
    channel = _native.Channel()
    channel.close()
    assert channel.closed
    for call in (lambda: channel.put(1), channel.get, channel.get_many, lambda: channel.put_many([1])):
        with pytest.raises(ValueError, match="is closed"):
            call()


def test_without_init() -> None:
    channel = _native.Channel.__new__(_native.Channel)
    for call in (lambda: channel.put(1), channel.get, channel.qsize, channel.full, channel.empty, channel.get_many):
        with pytest.raises(RuntimeError, match="__init__"):
            call()


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_threads_wait_for_items_and_for_room() -> None:
    channel = _native.Channel(3)
    got: list[int] = []
    consumers = [threading.Thread(target=lambda: got.extend(channel.get() for _ in range(500))) for _ in range(3)]
    producers = [threading.Thread(target=lambda: [channel.put(i) for i in range(500)]) for _ in range(3)]
    for thread in consumers + producers:
        thread.start()
    for thread in consumers + producers:
        thread.join()
    assert sorted(got) == sorted(list(range(500)) * 3)


@pytest.mark.parametrize("waits", ["get", "put", "join"])
def test_a_signal_handler_runs_while_waiting(waits: str) -> None:
    channel = _native.Channel(1)
    if waits != "get":
        channel.put(1)

    class Rang(Exception):
        pass

    def ring(*_: object) -> None:
        raise Rang

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Rang):
            {"get": channel.get, "put": lambda: channel.put(2), "join": channel.join}[waits]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_stopped_process_inside_stops_no_other_thread() -> None:
    """Whatever happens to a process inside the section, other threads run on, and so do signal handlers."""
    channel = _native.Channel()
    pid = os.fork()
    if pid == 0:
        while True:
            channel.put(1)
            channel.get()
    slot = _native.slot_of_last_fork()
    try:
        for _ in range(20):
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            with contextlib.suppress(queue.Empty):  # in time, also where it was stopped inside
                channel.get(timeout=0.02)
            os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _native.slot_end(slot)


# -- classes over it -------------------------------------------------------------------------------------------------


class Labelled(_native.Channel):
    """The way programs add attributes to a queue that is handed over."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def __getstate__(self) -> dict[str, Any]:
        return {"parent": super().__getstate__(), "label": self.label}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state["parent"])
        self.label = state["label"]


def test_a_subclass_has_attributes_weak_references_and_is_collected() -> None:
    before = stats()
    channel = Labelled("here")
    channel.me = channel  # type: ignore[attr-defined]
    reference = weakref.ref(channel)
    del channel
    gc.collect()
    assert reference() is None
    assert stats() == before


def test_queues_travel_through_queues_with_what_their_class_adds() -> None:
    before = stats()
    outer, inner = _native.Channel(), Labelled("inner")
    outer.put(inner)
    inner.put("hello")
    del inner
    got = outer.get()
    assert (got.label, got.get()) == ("inner", "hello")
    outer.put(_native.Channel())
    del outer, got  # what was in it goes with it
    assert stats() == before


def test_pickling_without_a_receiver_is_refused() -> None:
    with pytest.raises(
        RuntimeError, match="Labelled objects should only be shared between processes through inheritance"
    ):
        pickle.dumps(Labelled("x"))
    assert not _native.is_granting()


def test_init_twice_makes_a_new_queue() -> None:
    before = stats()
    channel = _native.Channel()
    channel.put(1)
    channel.__init__()  # type: ignore[misc]
    assert channel.empty()
    del channel
    assert stats() == before


def test_an_unpicklable_object_leaves_nothing() -> None:
    before = stats()
    channel = _native.Channel()
    with pytest.raises(pickle.PicklingError, match="never"):
        channel.put([_native.Channel(), b"x" * 100_000, Unpicklable()])
    del channel
    assert stats() == before


def test_too_many_shared_objects_leave_nothing() -> None:
    before = stats()
    channel = _native.Channel()
    with pytest.raises(ValueError, match="at most 512"):
        channel.put([_native.Channel() for _ in range(513)])
    channel.put([_native.Channel() for _ in range(512)])
    assert len(channel.get()) == 512
    del channel
    assert stats() == before


# -- forks -----------------------------------------------------------------------------------------------------------


def test_a_frame_is_not_its_forked_childs() -> None:
    channel = _native.Channel()
    channel.put(_native.Channel())
    frame = channel.get_frame()

    def child() -> None:
        nonlocal frame
        with pytest.raises(RuntimeError, match="parent's"):
            frame.load()
        frame = None  # type: ignore[assignment]
        gc.collect()

    in_child(child)
    assert frame.load().empty()


def test_grandchildren_put() -> None:
    channel = _native.Channel()
    in_child(lambda: in_child(lambda: channel.put("from far")))
    assert channel.get() == "from far"


def test_what_an_ended_process_put_is_there() -> None:
    channel = _native.Channel()

    def child() -> None:
        channel.put(b"x" * 1_000_000)
        channel.put([_native.Channel()])

    in_child(child)
    assert len(channel.get()) == 1_000_000
    assert channel.get()[0].empty()
