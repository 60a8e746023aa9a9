"""What programs may rely on: the signatures of the newest stdlib, and the names that libraries reach for."""

import functools
import inspect
import json
import pickle
import subprocess
import sys
from inspect import Parameter, Signature
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

import phalanx
from phalanx import synchronize
from phalanx.pool import Pool
from tools import record_signatures
from waits import LONG_S, SHORT_S

RECORD = Path(__file__).parent / "data" / "stdlib_signatures.json"
RECORDED: dict[str, str | None] = json.loads(RECORD.read_text())

# These take more by position than the stdlib's: they are the core's own methods, which a wrapper would slow down.
WIDER = {"queues.SimpleQueue.get", "queues.SimpleQueue.put"}


def parse(text: str) -> Signature:
    """The signature that a recorded text stands for; its defaults are literals."""
    return inspect.signature(eval(f"lambda {text[1:-1]}: None"))


def by_position(signature: Signature) -> list[tuple[Any, ...]]:
    """The parameters that may be given by position, `self` left out. `*args` goes by any name."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)
    named = [one for one in signature.parameters.values() if one.kind in kinds and one.name != "self"]
    return [("*",) if one.kind is Parameter.VAR_POSITIONAL else (one.kind, one.name, one.default) for one in named]


def by_keyword(signature: Signature) -> dict[str, Any]:
    return {one.name: one.default for one in signature.parameters.values() if one.kind is Parameter.KEYWORD_ONLY}


def takes_anything(signature: Signature) -> bool:
    """`(*args, **kwargs)` says nothing."""
    kinds = {one.kind for one in signature.parameters.values() if one.name != "self"}
    return kinds == {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}


def is_kept(recorded: Signature, own: Signature) -> bool:
    """Whether all calls that the recorded signature allows mean the same; the own one may have more keywords."""
    if takes_anything(recorded):
        return True
    required, offered = by_keyword(recorded), by_keyword(own)
    further = [default for name, default in offered.items() if name not in required]
    return (
        by_position(recorded) == by_position(own)
        and all(name in offered and offered[name] in {default, None} for name, default in required.items())
        and Parameter.empty not in further
    )


def place(expression: str, name: str) -> str:
    return f"{expression}.{name}".lstrip(".")


def test_the_record_is_of_these_places() -> None:
    assert set(RECORDED) == {place(*one) for one in record_signatures.places()}


@pytest.mark.parametrize("expression", record_signatures.DOCUMENTED)
def test_signatures(expression: str) -> None:
    faults = {}
    for name in record_signatures.DOCUMENTED[expression].split():
        found = record_signatures.find(phalanx, expression, name)
        recorded = RECORDED[place(expression, name)]
        if recorded is None:
            assert issubclass(found, Exception)
        elif place(expression, name) not in WIDER and not is_kept(parse(recorded), inspect.signature(found)):
            faults[name] = f"{record_signatures.signature(found)}, not {recorded}"
    assert faults == {}


# -- differences that have no better place -----------------------------------------------------------------------------


def test_what_was_put_arrives_as_it_was() -> None:
    items, given = phalanx.Queue(), [1]
    items.put(given)
    given.append(2)
    assert items.get(timeout=LONG_S) == [1]


def answer(requests: Any) -> None:
    lock, answers = requests.get()
    with lock:
        answers.put("from the child")


def test_locks_and_queues_travel_through_queues(context: Any) -> None:
    requests, lock, answers = context.Queue(), context.Lock(), context.SimpleQueue()
    child = context.Process(target=answer, args=(requests,))
    child.start()
    with lock:
        requests.put((lock, answers))
        with pytest.raises(Empty):
            answers.get(timeout=SHORT_S)
    assert answers.get(timeout=LONG_S) == "from the child"
    child.join()
    with pytest.raises(RuntimeError, match="shared between processes"):
        pickle.dumps(lock)


def test_a_simple_queue_can_be_bounded_in_time() -> None:
    items = phalanx.SimpleQueue()
    with pytest.raises(Empty):
        items.get(timeout=SHORT_S)
    with pytest.raises(Empty):
        items.get(False)


@pytest.mark.parametrize("part", ["_feed", "_buffer", "_notempty", "_rlock", "_wlock", "_sem", "_opid", "_thread"])
def test_a_queue_has_none_of_the_stdlibs_parts(part: str) -> None:
    assert not hasattr(phalanx.Queue(), part)


# -- names that libraries reach for -----------------------------------------------------------------------------------


def test_a_library_can_set_names_on_what_locks_have_in_common() -> None:
    synchronize.SemLock._make_name = staticmethod(lambda: "/name")  # type: ignore[attr-defined]
    try:
        kinds = (phalanx.Lock(), phalanx.RLock(), phalanx.Semaphore(), phalanx.BoundedSemaphore())
        assert all(isinstance(one, synchronize.SemLock) for one in kinds)
        assert not isinstance(phalanx.Event(), synchronize.SemLock)
    finally:
        del synchronize.SemLock._make_name  # type: ignore[attr-defined]


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class QueueLike:
    """What a pool that brings its own queues makes of them, as joblib's: they know how to pickle some types."""

    def __init__(self, reducers: dict[type, Any]) -> None:
        self._reducers = reducers


class PointsPool(Pool):
    def _setup_queues(self) -> None:
        self._inqueue = QueueLike({Point: lambda point: (Point, (point.x + 100,))})
        self._outqueue = QueueLike({Point: lambda point: (Point, (point.x + 20,))})


def same(obj: Any) -> Any:
    return obj


def put_x(point: Point) -> int:
    return point.x


def test_a_pool_pickles_by_the_reducers_of_its_subclass() -> None:
    with PointsPool(1, context=phalanx.get_context("fork")) as pool:
        assert pool.apply(put_x, (Point(1),)) == 101
        assert pool.apply(same, (Point(2),)).x == 122
        assert pool.apply(functools.partial(put_x, Point(3))) == 103
        assert [point.x for point in pool.map(same, [Point(number) for number in range(5)])] == list(range(120, 125))
        pool.close()
        pool.join()


ERRORS = ("ProcessError", "BufferTooShort", "TimeoutError", "AuthenticationError", "OwnerDied", "WorkerDied",
          "TaskTimeout", "RemoteError")  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_shown_and_pickled_by_the_name_that_programs_know(name: str) -> None:
    error = getattr(phalanx, name)("in words")
    assert (type(error).__module__, type(error).__qualname__) == ("phalanx", name)
    program = f"import pickle; print(repr(pickle.loads({pickle.dumps(error)!r})))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=LONG_S)
    assert done.stdout == f"{name}('in words')\n"
