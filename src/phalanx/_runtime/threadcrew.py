"""A pool's worker threads: what `crew.py` is for processes, with nothing pickled and nothing shared but this memory."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phalanx._base.errors import WorkerDied
from phalanx._base.limits import POOL_SLICE_S
from phalanx._runtime import events as e
from phalanx._runtime.crew import NO_FAULTS, Outbox, Remains
from phalanx._runtime.functions import Function
from phalanx._runtime.records import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phalanx._runtime.calls import Flight
    from phalanx._runtime.shell import Shell

__all__ = ["ThreadCrew"]

NO_SENTINEL = -1


@dataclass(slots=True)
class ThreadBatch:
    """A batch, its row and its outbox in one. All but `number`, `function`, `mode` and `items` under `lock`."""

    number: int
    function: Callable[..., Any]
    mode: Mode
    items: list[Any]
    end: int
    position: int = 0
    holder: int | None = None
    is_released: bool = False
    started_ns: int = 0
    first: int = 0
    results: list[Any] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin_next(self) -> int | None:
        """The position of the next task, which begins now; None when there is none left."""
        with self.lock:
            if self.position >= self.end:
                return None
            self.position += 1
            self.started_ns = time.monotonic_ns()
            return self.position - 1

    def call(self, position: int) -> Any:
        item = self.items[position]
        self.items[position] = None
        if self.mode is Mode.ONE:
            return self.function(item)
        if self.mode is Mode.STAR:
            return self.function(*item)
        return self.function(*item[0], **item[1])


class ThreadFunctions:
    """Functions need no pickle here: only how long their tasks take is kept."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def get(self, function: Callable[..., Any]) -> Function:
        return Function(next(self._numbers), function, b"", None, 0, is_by_value=True)


class ThreadCrew:
    """The workers of a pool that are threads."""

    def __init__(self, size: int, initializer: Callable[..., object] | None, initargs: Iterable[Any]) -> None:
        self._initializer, self._initargs = initializer, tuple(initargs)
        self._tasks: queue.SimpleQueue[ThreadBatch | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._batches: dict[int, ThreadBatch] = {}
        self._dismissed: set[int] = set()  # workers that are to end after their task
        self.processes: dict[int, threading.Thread] = {}
        self.functions = ThreadFunctions()

    # -- workers -----------------------------------------------------------------------------------------------------

    def start(self, number: int) -> int:
        """Start a worker; there is no sentinel, it tells its end itself."""
        thread = threading.Thread(target=self._work, args=(number,), name=f"phalanx-pool-worker-{number}", daemon=True)
        self.processes[number] = thread
        thread.start()
        return NO_SENTINEL

    def kill(self, number: int, *, hard: bool) -> None:
        """Let the worker end after its task; `hard`: do not wait for that, it is given up. No thread can be killed."""
        self._dismissed.add(number)
        if hard:
            self._results.put(("ended", number))
        else:
            self._tasks.put(None)

    def undisturbed(self) -> list[threading.Thread]:
        """The workers of which none has been told to end after its task."""
        return [thread for number, thread in list(self.processes.items()) if number not in self._dismissed]

    def abandon(self) -> None:
        self.dismiss(len(self.processes))

    def dismiss(self, count: int) -> None:
        for _ in range(count):
            self._tasks.put(None)

    def nudge(self) -> None:
        self._results.put(("nudge",))

    def death_of(self, number: int, task: str | None) -> WorkerDied:
        return WorkerDied(f"a worker thread was given up while it ran {task}" if task else "a worker ended", task=task)

    def release(self) -> None:
        """Nothing is shared with anybody."""

    # -- batches -----------------------------------------------------------------------------------------------------

    def post(self, flight: Flight) -> None:
        call = flight.call
        items = call.items[flight.start - call.base : flight.stop - call.base]
        batch = ThreadBatch(flight.number, call.target, call.mode, items, len(items))
        self._batches[flight.number] = batch
        self._tasks.put(batch)

    def repost(self, flight: Flight) -> None:
        """A queue of this process loses nothing."""

    def close(self, flight: Flight) -> None:
        batch = self._batches.pop(flight.number)
        with batch.lock:
            batch.end = min(batch.end, batch.position)

    def cut(self, flight: Flight, keep: int) -> int:
        batch = self._batches[flight.number]
        with batch.lock:
            batch.end = min(batch.end, max(batch.position, keep - flight.start))
            return flight.start + batch.end

    # -- looking -----------------------------------------------------------------------------------------------------

    def look(self, flights: list[Flight], working: set[int]) -> e.Looked:
        now_ns = time.monotonic_ns()
        rows = []
        for flight in flights:
            batch = self._batches.get(flight.number)
            if batch is None or batch.is_released:
                continue
            with batch.lock:
                age_s = (now_ns - batch.started_ns) / 1e9 if batch.started_ns else 0.0
                position, end = flight.start + batch.position, flight.start + batch.end
                rows.append(e.Seen(flight.number, batch.holder, position, end, age_s))
        return e.Looked(tuple(rows), len(working - {row.worker for row in rows}))

    def outbox_of(self, number: int) -> Outbox | None:
        for batch in list(self._batches.values()):
            if batch.holder == number:
                with batch.lock:
                    return Outbox(batch.number, batch.first, len(batch.results), list(batch.results))
        return None

    def decode(self, data: Any, offset: int, count: int) -> tuple[list[Any], list[tuple[int, BaseException]]]:
        return data, NO_FAULTS

    def remains_of(self, number: int, flights: list[Flight]) -> tuple[list[Remains], list[int]]:
        held = []
        for flight in flights:
            batch = self._batches.get(flight.number)
            if batch is not None and batch.holder == number:
                with batch.lock:
                    batch.end = min(batch.end, batch.position)  # what it has not begun is another's
                held.append(Remains(flight, batch.position, is_rebuilding=False))
        return held, []

    def bury(self, number: int) -> None:
        del self.processes[number]

    # -- records -----------------------------------------------------------------------------------------------------

    def collect(self, limit: int = 0, block: bool = True, timeout: float | None = None) -> list[Any]:
        return [self._results.get(block, timeout)]

    def handle(self, shell: Shell, record: Any) -> None:
        """Tell the shell what a worker says: the name of what has happened, and about what."""
        kind, *about = record
        if kind == "results":
            number, first, values, elapsed_ns = about
            flight = shell.flights.get(number)
            if flight is not None:
                shell.deliver(flight, first, len(values), values, 0, elapsed_ns)
        elif kind == "raised":
            number, position, error = about
            flight = shell.flights.get(number)
            if flight is not None:
                shell.fail_task(flight, flight.start + position, error)
        elif kind == "ready":
            shell.tell(e.Ready(about[0]))
        elif kind == "initializer failed":
            shell.tell(e.InitializerFailed(*about))
        elif kind == "ended":
            shell.worker_ended(about[0], was_noted=False)

    # -- in a worker thread ------------------------------------------------------------------------------------------

    def _work(self, number: int) -> None:
        try:
            if self._initializer is not None:
                self._initializer(*self._initargs)
        except BaseException as error:  # noqa: BLE001  # SystemExit too is the initializer's failure
            self._results.put(("initializer failed", number, error))
        else:
            self._results.put(("ready", number))
            while number not in self._dismissed:
                batch = self._tasks.get()
                if batch is None:
                    break
                self._run(number, batch)
                batch = None  # an idle worker keeps nothing alive
        self._results.put(("ended", number))

    def _run(self, number: int, batch: ThreadBatch) -> None:
        batch.holder = number
        slice_ends_ns = time.monotonic_ns() + int(POOL_SLICE_S * 1e9)
        position = batch.begin_next() if number not in self._dismissed else None
        while position is not None:
            try:
                value = batch.call(position)
            except BaseException as error:  # noqa: BLE001  # whatever a task raises is its own error
                self._send(batch)
                self._results.put(("raised", batch.number, position, error))
                batch.first = position + 1
            else:
                with batch.lock:
                    batch.results.append(value)
                del value
            if time.monotonic_ns() >= slice_ends_ns:
                self._send(batch)
                slice_ends_ns = time.monotonic_ns() + int(POOL_SLICE_S * 1e9)
            position = batch.begin_next() if number not in self._dismissed else None
        batch.is_released = True
        self._send(batch)

    def _send(self, batch: ThreadBatch) -> None:
        """Everything that is finished, as one record."""
        with batch.lock:
            values, batch.results = batch.results, []
            first = batch.first
            batch.first += len(values)
        if values:
            # How long they took is not told: threads wait for one another, and a batch of one is as cheap here.
            self._results.put(("results", batch.number, first, values, 0))
