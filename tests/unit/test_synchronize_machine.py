"""Locks, semaphores and an event against plain models: any sequence of calls by two threads, none of which waits."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from phalanx.synchronize import BoundedSemaphore, Event, Lock, RLock, Semaphore

actors = st.sampled_from(["here", "there"])


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.there = ThreadPoolExecutor(1)
        self.lock, self.rlock, self.event = Lock(), RLock(), Event()
        self.semaphore, self.bounded = Semaphore(1), BoundedSemaphore(2)
        self.is_locked = self.is_set = False
        self.owner, self.depth = "", 0
        self.value, self.bounded_value = 1, 2

    def teardown(self) -> None:
        self.there.shutdown()

    def call(self, actor: str, function: Callable[..., Any], *args: Any) -> Any:
        """What the call gives, or the type of what it raises, made by that thread."""

        def outcome() -> Any:
            try:
                return function(*args)
            except (ValueError, AssertionError) as error:
                return type(error)

        return outcome() if actor == "here" else self.there.submit(outcome).result()

    @rule(actor=actors)
    def acquire_lock(self, actor: str) -> None:
        assert self.call(actor, self.lock.acquire, False) is not self.is_locked
        self.is_locked = True

    @rule(actor=actors)
    def release_lock(self, actor: str) -> None:
        assert self.call(actor, self.lock.release) is (None if self.is_locked else ValueError)
        self.is_locked = False

    @rule(actor=actors)
    def acquire_rlock(self, actor: str) -> None:
        gets_it = self.owner in ("", actor)
        assert self.call(actor, self.rlock.acquire, False) is gets_it
        if gets_it:
            self.owner, self.depth = actor, self.depth + 1

    @rule(actor=actors)
    def release_rlock(self, actor: str) -> None:
        owns_it = self.owner == actor
        assert self.call(actor, self.rlock.release) is (None if owns_it else AssertionError)
        if owns_it:
            self.depth -= 1
            self.owner = actor if self.depth else ""

    @rule(actor=actors)
    def acquire_semaphores(self, actor: str) -> None:
        assert self.call(actor, self.semaphore.acquire, False) is (self.value > 0)
        assert self.call(actor, self.bounded.acquire, False) is (self.bounded_value > 0)
        self.value, self.bounded_value = max(0, self.value - 1), max(0, self.bounded_value - 1)

    @rule(actor=actors)
    def release_semaphores(self, actor: str) -> None:
        assert self.call(actor, self.semaphore.release) is None
        assert self.call(actor, self.bounded.release) is (None if self.bounded_value < 2 else ValueError)
        self.value, self.bounded_value = self.value + 1, min(2, self.bounded_value + 1)

    @rule(actor=actors, value=st.booleans())
    def change_event(self, actor: str, value: bool) -> None:
        self.call(actor, self.event.set if value else self.event.clear)
        self.is_set = value

    @rule()
    def recover(self) -> None:
        self.lock.recover()  # no owner has died: nothing changes
        self.rlock.recover()

    @invariant()
    def says_so(self) -> None:
        assert self.lock.locked() is self.is_locked
        assert self.rlock.locked() is (self.depth > 0)
        assert (self.semaphore.get_value(), self.bounded.get_value()) == (self.value, self.bounded_value)
        assert self.semaphore.locked() is (self.value == 0)
        assert self.event.is_set() is self.event.wait(0) is self.is_set


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase
