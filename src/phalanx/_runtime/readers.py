"""Reading a lazily read call's iterable: no further than the machine allows."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from phalanx._runtime import events as e

if TYPE_CHECKING:
    from phalanx._runtime.calls import Call
    from phalanx._runtime.shell import Shell

__all__ = ["Reader", "make_reader"]

TELL_AFTER_S = 0.001
"""A reader tells what it has read after this time at the latest, if workers wait for it."""

QUICK: tuple[type, ...] = (
    list,
    tuple,
    range,
    str,
    bytes,
    dict,
    set,
    frozenset,
    deque,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
"""Iterating these runs no code that could block: no thread is needed."""


def make_reader(shell: "Shell", call: "Call", iterable: Any) -> "Reader":
    """A reader for the call's iterable. Whatever is wrong with the iterable is told where its items would come."""
    kind = QuickReader if type(iterable) in QUICK else ThreadReader
    return kind(shell, call, iterable)


class Reader:
    """Appends items to `call.items` and tells the machine how many whole chunks there are."""

    def __init__(self, shell: "Shell", call: "Call", iterable: Any) -> None:
        self._shell = shell
        self._call = call
        self._iterable = iterable
        self._count = 0  # items read
        self._told = 0  # items that the machine knows of
        self._allowed = 0
        self._is_done = False

    def allow(self, count: int) -> None:
        """Items may be read until there are `count` in all."""
        raise NotImplementedError

    def stop(self) -> None:
        """Nobody wants further items."""
        self._is_done = True
        self._iterable = None

    def tell_supply(self) -> None:
        """Tell the machine of what has been read and not told."""
        whole = self._count - self._count % self._call.chunk
        if whole > self._told and not self._is_done:
            self._told = whole
            self._shell.tell(e.Supplied(self._call.number, whole, complete=False))

    def _end(self, error: BaseException | None) -> None:
        """The iterable has ended, or broken off: then items of an unfinished chunk are dropped."""
        if self._is_done:
            return
        self._is_done = True
        self._iterable = None
        whole = self._count if error is None else self._count - self._count % self._call.chunk
        if error is not None:
            self._call.sink.break_off(error)
        self._shell.tell(e.Supplied(self._call.number, whole, complete=True))


class QuickReader(Reader):
    """For built-in containers: reads in the thread that allows it."""

    def __init__(self, shell: "Shell", call: "Call", iterable: Any) -> None:
        super().__init__(shell, call, iterable)
        self._iterator: Iterator[Any] = iter(iterable)

    def allow(self, count: int) -> None:
        wanted = count - self._count
        if wanted <= 0 or self._is_done:
            return
        try:
            items = list(islice(self._iterator, wanted))
        except RuntimeError as error:  # a dict or set that was changed
            self._end(error)
            return
        self._call.items.extend(items)
        self._count += len(items)
        if len(items) < wanted:
            self._end(None)
        else:
            self.tell_supply()


class ThreadReader(Reader):
    """For everything else: a thread of its own, because the iterable may block, or wait for results of its own call."""

    def __init__(self, shell: "Shell", call: "Call", iterable: Any) -> None:
        super().__init__(shell, call, iterable)
        self._go = threading.Event()
        self._thread = threading.Thread(target=self._run, name="phalanx-pool-reader", daemon=True)
        self._thread.start()

    def allow(self, count: int) -> None:
        self._allowed = count
        self._go.set()

    def stop(self) -> None:
        super().stop()
        self._go.set()

    def _run(self) -> None:
        # The machine allows what it knows of: nothing is told before the call was submitted.
        if not self._wait_until_allowed():
            return
        try:
            iterator = iter(self._iterable)
            while self._wait_until_allowed():
                self._read_some(iterator)
        except StopIteration:
            self._end(None)
        except BaseException as error:  # noqa: BLE001  # whatever the user's iterable raises is its consumer's
            self._end(error)

    def _wait_until_allowed(self) -> bool:
        while self._count >= self._allowed and not self._is_done:
            self.tell_supply()
            self._go.wait()
            self._go.clear()
        return not self._is_done

    def _read_some(self, iterator: Iterator[Any]) -> None:
        """Read what is allowed; tell at once while workers wait, else now and then."""
        shell, append = self._shell, self._call.items.append
        told_at = time.monotonic()
        while self._count < self._allowed and not self._is_done:
            append(next(iterator))
            self._count += 1
            if shell.is_hungry or time.monotonic() - told_at > TELL_AFTER_S:
                self.tell_supply()
                told_at = time.monotonic()
