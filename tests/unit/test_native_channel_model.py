"""Any sequence of calls of a channel, beside a deque."""

import pickle
import queue
from collections import deque
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from phalanx import _native

INLINE_BYTES = 16384
"""Longer payloads lie in a block of their own."""


class Unpicklable:
    def __reduce__(self) -> tuple[Any, ...]:
        raise pickle.PicklingError("never")


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
big = st.builds(lambda size: b"x" * size, st.integers(INLINE_BYTES - 10, INLINE_BYTES + 10))
values = (
    plain
    | big
    | st.recursive(plain, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner))
)


class Model(RuleBasedStateMachine):
    """A channel does what a deque does."""

    @initialize(maxsize=st.integers(0, 4))
    def make(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.channel = _native.Channel(maxsize)
        self.model: deque[Any] = deque()

    def room(self) -> int:
        return self.maxsize - len(self.model) if self.maxsize else 1_000_000

    @rule(value=values)
    def put(self, value: Any) -> None:
        if self.room():
            self.channel.put(value)
            self.model.append(value)
        else:
            with pytest.raises(queue.Full):
                self.channel.put(value, False)

    @rule(many=st.lists(values, max_size=5))
    def put_many(self, many: list[Any]) -> None:
        if len(many) <= self.room():
            self.channel.put_many(many)
        else:
            with pytest.raises(queue.Full):
                self.channel.put_many(many, timeout=0)
        self.model.extend(many[: self.room()])

    @rule()
    def put_unpicklable(self) -> None:
        with pytest.raises(pickle.PicklingError):
            self.channel.put([Unpicklable()])

    @precondition(lambda self: self.model)
    @rule()
    def get(self) -> None:
        assert self.channel.get() == self.model.popleft()

    @precondition(lambda self: self.model)
    @rule(limit=st.integers(0, 6))
    def get_many(self, limit: int) -> None:
        got = self.channel.get_many(limit)
        assert got == [self.model.popleft() for _ in range(min(len(self.model), limit or 1024))]

    @precondition(lambda self: not self.model)
    @rule()
    def get_nothing(self) -> None:
        with pytest.raises(queue.Empty):
            self.channel.get_nowait()

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "channel"):
            assert self.channel.qsize() == len(self.model)
            assert self.channel.empty() == (not self.model)
            assert self.channel.full() == (self.room() <= 0)


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
