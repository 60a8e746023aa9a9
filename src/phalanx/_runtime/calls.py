"""One call of a pool's method, as the shell sees it: function, items, where results go, who waits."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from phalanx._runtime.events import Rules
from phalanx._runtime.functions import Function
from phalanx._runtime.records import Mode

__all__ = ["Call", "Flight", "Sink", "wake"]


class Sink(Protocol):
    """Where the results of a call go. Called by the collector, one call at a time."""

    def deliver(self, start: int, values: list[Any]) -> None:
        """Results of the tasks from `start` on."""

    def break_off(self, error: BaseException) -> None:
        """The iterable raised: there will be no more items."""

    def fail(self, index: int, error: BaseException) -> None:
        """The task has failed for good."""

    def settle(self) -> None:
        """All tasks are settled."""

    def abandon(self, error: BaseException) -> None:
        """The pool is ending: nothing more will come."""


class Call:
    """A call that has been submitted. `items` are those from index `base` on that are still needed."""

    __slots__ = (
        "base",
        "chunk",
        "function",
        "is_settled",
        "items",
        "mode",
        "number",
        "rules",
        "sink",
        "supply",
        "target",
        "waiters",
    )

    def __init__(
        self,
        number: int,
        target: Callable[..., Any],
        mode: Mode,
        items: list[Any],
        sink: Sink,
        chunk: int,
        rules: Rules,
    ) -> None:
        self.number = number
        self.target = target
        self.function: Function | None = None
        self.mode = mode
        self.items = items
        self.base = 0
        self.sink = sink
        self.chunk = chunk
        self.rules = rules
        self.supply: Any = None
        self.is_settled = False
        self.waiters: list[threading.Lock] = []  # each is released once, when the call is settled or nobody collects

    def describe(self, index: int) -> str:
        """The task in words, for errors."""
        name = getattr(self.target, "__qualname__", None) or repr(self.target)
        if self.mode is Mode.FULL and len(self.items) == 1:
            return f"{name}()"
        return f"{name}() of item {index}"

    def is_over(self) -> bool:
        return self.is_settled

    def wake(self) -> None:
        """Wake all who wait for this call."""
        while self.waiters:
            wake(self.waiters.pop())


def wake(waiter: threading.Lock) -> bool:
    """Let go who sleeps on it; False if somebody has done so already."""
    try:
        waiter.release()
    except RuntimeError:
        return False
    return True


@dataclass(slots=True)
class Flight:
    """A batch in flight: tasks [start, stop) of a call, answered up to `next`."""

    number: int
    call: Call
    start: int
    stop: int
    next: int
    function: Function
    row: int = -1
    ordinal: int = 0
    """Which record of the task channel it travels in, counted from 1."""
    is_orphan: bool = False
    """The worker that had claimed it is gone."""
