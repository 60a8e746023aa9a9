"""Value, Array and their raw forms: what ctypes would say, under a lock, in memory that processes share."""

import array
import ctypes
import pickle
import re
import threading
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from phalanx import _native, sharedctypes
from phalanx.sharedctypes import (
    Array,
    RawArray,
    RawValue,
    Synchronized,
    SynchronizedArray,
    SynchronizedBase,
    SynchronizedString,
    Value,
    copy,
    synchronized,
    typecode_to_type,
)

SAMPLES = {
    "c": b"x", "u": "\u20ac", "b": -7, "B": 200, "h": -232, "H": 60000, "i": 4343, "I": 2**32 - 1, "l": -(2**40),
    "L": 2**63, "q": 2**33, "Q": 2**64 - 1, "f": 0.5, "d": 3.625,
}  # fmt: skip


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


class Labelled(Point):
    _fields_ = [("label", ctypes.c_char * 8)]


both_forms = pytest.mark.parametrize("lock", [True, False])
raw_or_locked = pytest.mark.parametrize("make", [RawValue, Value])
array_forms = pytest.mark.parametrize("make", [RawArray, Array])


# -- values -----------------------------------------------------------------------------------------------------------


@raw_or_locked
@pytest.mark.parametrize("code", SAMPLES)
def test_every_typecode(make: Any, code: str) -> None:
    sample = SAMPLES[code]
    for kind in (code, typecode_to_type[code]):
        value = make(kind)
        assert value.value == typecode_to_type[code]().value
        value.value = sample
        assert value.value == sample
        assert make(kind, sample).value == sample


def same_outcome(ours: Any, theirs: Any) -> None:
    """Both give the same, or raise the same."""
    outcomes = []
    for call in (ours, theirs):
        try:
            outcomes.append(("gives", call()))
        except Exception as error:
            outcomes.append((type(error).__name__, str(error)))
    assert outcomes[0] == outcomes[1]


anything = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=2), st.binary(max_size=2), st.none(),
    st.booleans(),
)  # fmt: skip


@hypothesis.given(code=st.sampled_from(sorted(SAMPLES)), sample=anything)
def test_a_value_converts_as_ctypes_does(code: str, sample: Any) -> None:
    ours, theirs = Value(code), typecode_to_type[code]()

    def put_and_get(value: Any) -> Any:
        value.value = sample
        return value.value

    same_outcome(lambda: put_and_get(ours), lambda: put_and_get(theirs))
    same_outcome(lambda: Value(code, sample).value, lambda: typecode_to_type[code](sample).value)


def test_bool_values() -> None:
    value = Value(ctypes.c_bool, 5)
    assert value.value is True
    value.value = []
    assert value.value is False
    assert isinstance(value.get_obj(), ctypes.c_bool)


@raw_or_locked
def test_wrong_types(make: Any) -> None:
    for kind in ("zz", "?", int, None):
        with pytest.raises(TypeError, match=r"bad typecode \(must be a ctypes type or one of c, b, .*, f or d\)"):
            make(kind)
    with pytest.raises(TypeError, match="expected at most 1 argument, got 2"):
        make("i", 1, 2)
    with pytest.raises(TypeError):
        make("i", "x")
    value = make("i", 1)
    with pytest.raises((TypeError, AttributeError)):
        del value.value
    assert value.value == 1


@raw_or_locked
def test_a_value_is_zeroed(make: Any) -> None:
    for _ in range(3):
        value = make("q")
        assert value.value == 0
        value.value = -1
        del value


def test_locks_of_values() -> None:
    for options in ({}, {"lock": True}, {"lock": None}):
        value = Value("i", 5, **options)
        assert isinstance(value.get_lock(), _native.RLock)
        assert value.get_obj().value == 5
    lock = _native.Lock()
    assert Value("i", 5, lock=lock).get_lock() is lock
    assert Array("i", 5, lock=lock).get_lock() is lock
    assert Value(Point, lock=lock).get_lock() is lock
    for plain in (Value("i", 5, lock=False), RawValue("i", 5), Array("i", 3, lock=False), RawArray("i", 3)):
        assert not hasattr(plain, "get_lock")
        assert not hasattr(plain, "get_obj")
    for make in (lambda: Value("i", 5, lock="nolock"), lambda: Array("i", 5, lock="nolock")):
        with pytest.raises(AttributeError, match="'nolock' has no method 'acquire'"):
            make()


def test_the_context_is_accepted() -> None:
    assert Value("i", 5, ctx=object()).value == Array("i", [5], ctx=object())[0]


@pytest.mark.parametrize("make_lock", [_native.RLock, _native.Lock, threading.RLock, threading.Lock])
def test_any_lock_guards(make_lock: Any) -> None:
    value = Value("i", 1, lock=make_lock())
    value.value += 1
    with value.get_lock():
        pass
    assert value.acquire() is True
    value.release()
    with value:
        assert value.get_lock().acquire(False) is (make_lock in (_native.RLock, threading.RLock))


def test_the_lock_holds_others_up() -> None:
    value, seen = Value("i", 1), []
    thread = threading.Thread(target=lambda: seen.append(value.value))
    with value.get_lock():
        thread.start()
        value.value = 2
        value.value = 3
    thread.join()
    assert seen == [3]


def test_value_types() -> None:
    value, numbers, text, point = Value("i", 3), Array("d", 2), Array("c", 3), Value(Point)
    assert isinstance(value, Synchronized)
    assert isinstance(numbers, SynchronizedArray)
    assert isinstance(text, SynchronizedString)
    for one in (value, numbers, text, point):
        assert isinstance(one, SynchronizedBase)
    assert isinstance(value.get_obj(), ctypes.c_int)
    assert isinstance(numbers.get_obj(), ctypes.c_double * 2)
    assert isinstance(point.get_obj(), Point)
    assert value.get_obj() is value.get_obj()


def test_reprs() -> None:
    assert repr(Value("i", 3)) == "<Synchronized wrapper for c_int(3)>"
    assert re.match(r"<SynchronizedArray wrapper for <[\w.]+\.c_int_Array_3 object at ", repr(Array("i", 3)))
    assert re.match(r"<SynchronizedString wrapper for <[\w.]+\.c_char_Array_3 object at ", repr(Array("c", 3)))
    assert repr(Value(Point)).startswith("<SynchronizedPoint wrapper for ")
    assert repr(RawValue("i", 3)) == "c_int(3)"


def test_get_obj_is_the_same_memory() -> None:
    value, numbers = Value("i", 3), Array("i", [1, 2, 3])
    value.get_obj().value = 9
    numbers.get_obj()[1] = 9
    assert value.value == numbers[1] == 9
    obj = value.get_obj()
    del value
    assert obj.value == 9


# -- arrays -----------------------------------------------------------------------------------------------------------


@array_forms
def test_an_array(make: Any) -> None:
    numbers = make("i", [680, 626, 934, 821, 150])
    assert len(numbers) == 5
    assert numbers[3] == 821
    assert numbers[-1] == 150
    assert list(numbers) == numbers[:] == [680, 626, 934, 821, 150]
    numbers[1:3] = array.array("i", [1, 2])
    numbers[0] += 1
    assert numbers[:] == [681, 1, 2, 821, 150]
    assert numbers[::2] == [681, 2, 150]
    assert 821 in numbers


@array_forms
def test_an_array_from_a_size(make: Any) -> None:
    for _ in range(3):
        numbers = make("i", 10)
        assert list(numbers) == [0] * 10
        numbers[:] = range(10)
        assert list(numbers) == list(range(10))
        del numbers
    assert len(make("i", 0)) == 0
    assert make("d", ())[:] == []


@array_forms
def test_array_initializers(make: Any) -> None:
    for items in ((1, 2), range(1, 3), {1: "a", 2: "b"}, array.array("b", [1, 2]), b"\1\2"):
        assert make("h", items)[:] == [1, 2]
    assert make("c", b"abc")[:] == b"abc"
    assert make("u", "abc")[:] == "abc"
    assert make(ctypes.c_bool, [0, 1])[:] == [False, True]
    assert [point.x for point in make(Point, [(1, 2), (3, 4)])] == [1, 3]


@array_forms
def test_wrong_arrays(make: Any) -> None:
    for items in (1.5, None, iter([1])):
        with pytest.raises(TypeError, match="has no len"):
            make("i", items)
    with pytest.raises(ValueError, match="Array length must be >= 0, not -1"):
        make("i", -1)
    with pytest.raises(TypeError):
        make("i", ["x"])
    for kind in ("zz", int):
        with pytest.raises(TypeError, match="bad typecode"):
            make(kind, 3)
    with pytest.raises((MemoryError, OverflowError, ValueError)):
        make("i", 2**61)


indices = st.one_of(st.integers(-9, 9), st.slices(7), st.sampled_from(["x", 1.0, None]))
small = st.one_of(st.integers(-(2**40), 2**40), st.just("x"), st.just(1.5))


@hypothesis.given(items=st.lists(st.integers(-100, 100), min_size=7, max_size=7), index=indices, data=st.data())
def test_an_array_does_as_ctypes_does(items: list[int], index: Any, data: st.DataObject) -> None:
    ours, theirs = Array("i", items), (ctypes.c_int * 7)(*items)
    same_outcome(lambda: ours[index], lambda: theirs[index])
    if isinstance(index, slice):
        length = len(items[index])
        lengths = st.sampled_from([length, length, length, length + 1, 0])
        new: Any = data.draw(lengths.flatmap(lambda size: st.lists(small, min_size=size, max_size=size)))
    else:
        new = data.draw(small)
    if not isinstance(index, slice) or all(isinstance(item, int) for item in new):
        same_outcome(lambda: ours.__setitem__(index, new), lambda: theirs.__setitem__(index, new))
        assert ours[:] == theirs[:]
        return
    # ctypes writes the items before the one that fails; here nothing is written.
    with pytest.raises((TypeError, ValueError)):
        ours[index] = new
    assert ours[:] == items


def test_array_items_stay() -> None:
    with pytest.raises(TypeError, match="does not support item deletion"):
        del Array("i", 3)[0]


def test_strings() -> None:
    text = Array("c", 8)
    text.value = b"hello"
    assert text.value == b"hello"
    assert text.raw == b"hello\0\0\0"
    assert text[1:3] == b"el"
    assert text[0] == b"h"
    text.value *= 1
    text.raw = b"12345678"
    assert text.value == b"12345678"
    with pytest.raises(ValueError, match="too long"):
        text.value = b"123456789"


# -- structures, copies, wrappers -------------------------------------------------------------------------------------


@both_forms
def test_structures(lock: bool) -> None:
    point = Value(Labelled, 1, 2.5, b"here", lock=lock)
    point.x += 1
    point.y *= 2
    assert (point.x, point.y, point.label) == (2, 5.0, b"here")
    point.label = b"there"
    assert point.label == b"there"


def test_copy() -> None:
    original = Point(2, 5.0)
    other = copy(original)
    original.x = 0
    assert (other.x, other.y) == (2, 5.0)
    numbers = copy((ctypes.c_int * 3)(1, 2, 3))
    assert list(numbers) == [1, 2, 3]


def test_synchronized() -> None:
    lock = _native.RLock()
    for obj in (RawValue("i", 5), ctypes.c_int(5)):
        value = synchronized(obj, lock)
        value.value += 1
        assert (value.value, value.get_obj(), value.get_lock()) == (6, obj, lock)
        with value:
            assert lock.locked()
    numbers = synchronized(RawArray("i", [1, 2]))
    numbers[0] = 7
    assert (len(numbers), numbers[:], numbers.__getslice__(0, 1)) == (2, [7, 2], [7])
    assert synchronized(RawArray("c", b"abc")).value == b"abc"
    with pytest.raises(AssertionError, match="object already synchronized"):
        synchronized(numbers)
    with pytest.raises(AssertionError, match="object already synchronized"):
        synchronized(Value("i"))


# -- between processes ------------------------------------------------------------------------------------------------


def double(integer: Any, real: Any, point: Any, numbers: Any, text: Any) -> None:
    integer.value *= 2
    real.value *= 2
    point.x *= 2
    point.y *= 2
    text.value *= 2
    for i in range(len(numbers)):
        numbers[i] *= 2


@both_forms
def test_a_child_sees_the_same_memory(lock: bool, context: Any) -> None:
    integer, real = Value("i", 7, lock=lock), Value(ctypes.c_double, 0.25, lock=lock)
    point, numbers = Value(Point, 3, 2, lock=lock), Array("d", range(10), lock=lock)
    text = Array("c", 20, lock=lock)
    text.value = b"hello"
    process = context.Process(target=double, args=(integer, real, point, numbers, text))
    process.start()
    process.join()
    assert process.exitcode == 0
    process.close()
    assert (integer.value, real.value, point.x, point.y) == (14, 0.5, 6, 4.0)
    assert numbers[:] == [i * 2 for i in range(10)]
    assert text.value == b"hellohello"


def increment(value: Any, wrapper: Any, rounds: int) -> None:
    for _ in range(rounds):
        with value.get_lock():
            value.value += 1
        with wrapper:
            wrapper.value += 1


def test_increments_under_the_lock_are_all_there(context: Any) -> None:
    value, wrapper, rounds = Value("i", 0), synchronized(RawValue("i", 0)), 500
    processes = [context.Process(target=increment, args=(value, wrapper, rounds)) for _ in range(2)]
    for process in processes:
        process.start()
    increment(value, wrapper, rounds)
    for process in processes:
        process.join()
        assert process.exitcode == 0
        process.close()
    assert value.value == wrapper.value == 3 * rounds


def test_only_handed_over() -> None:
    shared = (Value("i"), Array("i", 3), Value(Point), RawValue("i"), RawArray("i", 3), RawValue(Point))
    for obj in shared:
        with pytest.raises(RuntimeError, match="should only be shared between processes through inheritance"):
            sharedctypes.ForkingPickler.dumps(obj)


def test_other_ctypes_objects_travel_by_value() -> None:
    shared = RawValue(Point, 1, 2)
    point = pickle.loads(sharedctypes.ForkingPickler.dumps(Point(3, 4)))
    assert (point.x, point.y, shared.x) == (3, 4.0, 1)


def test_nothing_stays() -> None:
    before = _native.arena_stats()["blocks"]
    made = [Value("i"), Array("i", 3), Value(Point), RawArray("d", 1000), Array("c", 5), Value("i").get_obj()]
    assert _native.arena_stats()["blocks"] > before
    del made
    assert _native.arena_stats()["blocks"] == before
