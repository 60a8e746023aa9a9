"""Rows, outboxes and plain values: the C part of a pool, in one process."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phalanx import _native
from phalanx._runtime.records import ANSWER, read_pickle

ROWS, OUTBOXES, OUTBOX_BYTES = 4, 2, 1024
FINISHED, SLICE_OVER, RAISED, TOO_LARGE = range(4)
LONG_NS = 10**12
MANY = 1 << 30


@pytest.fixture
def rows() -> _native.Rows:
    return _native.Rows(bytearray(_native.Rows.size(ROWS, OUTBOXES, OUTBOX_BYTES)), ROWS, OUTBOXES, OUTBOX_BYTES)


def claimed(rows: _native.Rows, count: int, sequence: int = 1) -> _native.Rows:
    rows.post(0, sequence, count)
    assert rows.claim(0, sequence, 0)
    return rows


def run(rows: _native.Rows, function: Any, items: list[Any], **options: Any) -> tuple[int, bool, list[Any], Any]:
    mode, limit, slice_ns = options.get("mode", 0), options.get("limit", MANY), options.get("slice_ns", LONG_NS)
    outcome, is_exhausted, count, record, extra = rows.run(
        0, 1, 0, function, items, mode, limit, slice_ns, options.get("dumps", no_pickle)
    )
    assert ANSWER.unpack_from(record)[6] == count
    return outcome, is_exhausted, _native.decode_items(record, ANSWER.size, count, read_pickle), extra


def no_pickle(value: Any) -> bytes | None:
    return None


# -- rows -------------------------------------------------------------------------------------------------------------


def test_a_batch_is_claimed_once(rows: _native.Rows) -> None:
    rows.post(0, 5, 3)
    assert rows.look(0) == (5, -1, False, 0, 3, 0)
    assert not rows.claim(0, 4, 0)
    assert rows.claim(0, 5, 1)
    assert not rows.claim(0, 5, 0)
    assert rows.look(0)[:5] == (5, 1, False, 0, 3)


def test_a_released_row_can_be_freed(rows: _native.Rows) -> None:
    claimed(rows, 1)
    assert not rows.free_if_released(0)
    rows.release(0)
    assert rows.look(0)[:3] == (1, 0, True)
    assert rows.free_if_released(0)
    assert rows.look(0)[:3] == (0, -1, False)


def test_cut_takes_what_has_not_begun(rows: _native.Rows) -> None:
    claimed(rows, 10)
    assert rows.cut(0, 1, 7) == 7
    assert rows.cut(0, 1, 9) == 7
    assert run(rows, abs, list(range(10)), limit=3)[2] == [0, 1, 2]
    assert rows.cut(0, 1, 0) == 3
    assert run(rows, abs, list(range(10)))[:3] == (FINISHED, True, [])


def test_cut_leaves_another_batch_alone(rows: _native.Rows) -> None:
    claimed(rows, 10, sequence=2)
    assert rows.cut(0, 1, 0) == 10
    assert rows.look(0)[4] == 10


GEOMETRIES = [(0, 1, 64), (1, 0, 64), (1, 1, 63), (1, 1, 100), (1, 1 << 20, 64), (1 << 40, 1, 64)]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_geometry_out_of_range(geometry: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        _native.Rows.size(*geometry)


def test_a_block_too_small() -> None:
    with pytest.raises(ValueError, match="too small"):
        _native.Rows(bytearray(63), 1, 1, 64)


def test_rows_and_workers_that_are_not_there(rows: _native.Rows) -> None:
    calls: list[tuple[Any, tuple[int, ...]]] = [
        (rows.post, (ROWS, 1, 1)),
        (rows.look, (ROWS,)),
        (rows.claim, (0, 1, OUTBOXES)),
        (rows.peek, (OUTBOXES,)),
    ]
    for call, arguments in calls:
        with pytest.raises(IndexError):
            call(*arguments)


# -- running ----------------------------------------------------------------------------------------------------------


def test_run_to_the_end(rows: _native.Rows) -> None:
    items = [-1, 2, -3]
    assert run(claimed(rows, 3), abs, items) == (FINISHED, True, [1, 2, 3], None)
    assert items == [None, None, None]  # let go of
    assert rows.look(0)[2]  # released


def test_modes(rows: _native.Rows) -> None:
    assert run(claimed(rows, 2), pow, [(2, 3), [3, 2]], mode=1)[2] == [8, 9]
    rows.free(0)
    assert run(claimed(rows, 2), dict, [((), {"a": 1}), ([[("b", 2)]], {})], mode=2)[2] == [{"a": 1}, {"b": 2}]


def test_a_task_that_raises_ends_the_run(rows: _native.Rows) -> None:
    claimed(rows, 4)
    items = [1, 2, "x", 4]
    outcome, is_exhausted, values, extra = run(rows, abs, items)
    assert (outcome, is_exhausted, values) == (RAISED, False, [1, 2])
    assert isinstance(extra, TypeError)
    assert run(rows, abs, items) == (FINISHED, True, [4], None)


def test_whatever_a_task_raises_is_handed_over(rows: _native.Rows) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    outcome, is_exhausted, values, extra = run(claimed(rows, 1), leave, [3])
    assert (outcome, is_exhausted, values) == (RAISED, True, [])
    assert isinstance(extra, SystemExit)
    assert extra.code == 3
    assert extra.__traceback__ is not None


def test_a_slice_ends_the_run(rows: _native.Rows) -> None:
    claimed(rows, 3)
    assert run(rows, abs, [1, 2, 3], slice_ns=0) == (SLICE_OVER, False, [1], None)
    assert run(rows, abs, [1, 2, 3], slice_ns=0) == (SLICE_OVER, False, [2], None)
    assert run(rows, abs, [1, 2, 3], slice_ns=0)[1:] == (True, [3], None)


def test_a_result_too_large_for_the_outbox_is_handed_over(rows: _native.Rows) -> None:
    claimed(rows, 3)
    items = [1, OUTBOX_BYTES, 3]
    outcome, is_exhausted, values, extra = run(rows, bytes, items)
    assert (outcome, is_exhausted, values, extra) == (TOO_LARGE, False, [b"\0"], bytes(OUTBOX_BYTES))
    assert run(rows, bytes, items)[2] == [b"\0\0\0"]


def test_results_that_are_not_plain_are_pickled(rows: _native.Rows) -> None:
    import pickle

    values = run(claimed(rows, 3), complex, [1, 2, 3], dumps=pickle.dumps)[2]
    assert values == [1 + 0j, 2 + 0j, 3 + 0j]


def test_a_result_that_cannot_be_dumped_is_handed_over(rows: _native.Rows) -> None:
    outcome, _, values, extra = run(claimed(rows, 2), complex, [1, 2])
    assert (outcome, values, extra) == (TOO_LARGE, [], 1 + 0j)


def test_what_is_finished_can_be_seen_from_outside(rows: _native.Rows) -> None:
    claimed(rows, 5)
    seen = []

    def look(item: int) -> int:
        outbox = rows.peek(0)
        assert outbox is not None
        seen.append((*outbox[:3], rows.look(0)[3]))
        return item

    run(rows, look, list(range(5)), limit=3)
    assert seen == [(1, 0, 0, 1), (1, 0, 1, 2), (1, 0, 2, 3)]
    run(rows, look, list(range(5)))
    assert seen[3:] == [(1, 3, 0, 4), (1, 3, 1, 5)]
    outbox = rows.peek(0)
    assert outbox is not None
    assert _native.decode_items(outbox[3], 0, outbox[2], read_pickle) == [3, 4]


# -- plain values -----------------------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | texts | st.binary()
immutable = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8)
plain = immutable | st.lists(immutable) | st.dictionaries(texts | st.integers(-9, 9), immutable)


def same(left: Any, right: Any) -> bool:
    return repr(left) == repr(right)  # nan is nan, 1 is not True, -0.0 is not 0.0


@given(st.lists(plain, max_size=6))
def test_plain_values_come_back_as_they_were(items: list[Any]) -> None:
    record = _native.encode_items(b"head", items, 0, len(items))
    if record is not None:  # a tuple may be nested too deeply
        assert same(_native.decode_items(record, 4, len(items), read_pickle), items)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 1j, object(), [[]], {1: []}, ([],), Text("x"), "\ud800", {1}, bytearray(b"x")]
)
def test_what_is_not_plain_is_left_to_pickle(value: Any) -> None:
    assert _native.encode_items(b"", [1, value], 0, 2) is None
    assert _native.encode_items(b"", [1, value], 0, 1) is not None


@given(st.binary(max_size=60), st.integers(0, 5))
def test_bytes_that_are_no_record(data: bytes, count: int) -> None:
    try:
        values = _native.decode_items(data, 0, count, lambda pickled, index: pickled)
    except (ValueError, TypeError):  # a dict's key may be a list
        return
    assert len(values) == count


def test_a_count_that_cannot_be_is_refused_before_memory_is_asked_for() -> None:
    for tag in range(12):
        with pytest.raises(ValueError, match=r"pool's channel"):
            _native.decode_items(bytes([tag]) + struct.pack("<I", 2**32 - 1), 0, 6, read_pickle)


def test_numbers_at_the_borders() -> None:
    items = [2**31, 2**31 - 1, -(2**31), -(2**31) - 1, 2**63 - 1, -(2**63), math.inf, -math.inf]
    record = _native.encode_items(b"", items, 0, len(items))
    assert record is not None
    assert _native.decode_items(record, 0, len(items), read_pickle) == items
