"""A pool's worker processes: starting, watching, ending them; the channels and rows they share with the parent."""

from __future__ import annotations

import pickle
import queue
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from phalanx import _native
from phalanx._base.errors import WorkerDied
from phalanx._base.limits import POOL_OUTBOX_BYTES, POOL_ROWS_COUNT
from phalanx._runtime import events as e
from phalanx._runtime.answers import ANSWERS
from phalanx._runtime.functions import Functions, children_can_run_main
from phalanx._runtime.records import ANSWER, DISMISSAL, TASKS, Answer, Head
from phalanx._runtime.worker import Ground, Place, work
from phalanx.reduction import pickling_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from phalanx._runtime.calls import Flight
    from phalanx._runtime.shell import Shell
    from phalanx.reduction import Reducer

__all__ = ["Crew", "Outbox", "Remains"]

KIND_TASKS = 1
REBUILDING = 1  # PHX_ROW_REBUILDING of the C core
NO_FAULTS: list[tuple[int, BaseException]] = []


class Outbox(NamedTuple):
    """Results that a worker has finished and perhaps not sent: of its batch, from position `first` on."""

    batch: int
    first: int
    result_count: int
    data: Any


class Remains(NamedTuple):
    """A batch that a dead worker had claimed: how many of its tasks had begun; whether it was still being rebuilt."""

    flight: Flight
    position: int
    is_rebuilding: bool


class Crew:
    """The workers of a pool that are processes, and all that is shared with them."""

    def __init__(
        self,
        context: Any,
        size: int,
        initializer: Callable[..., object] | None,
        initargs: Iterable[Any],
        tasks_max: int | None,
    ) -> None:
        rows, outboxes = max(POOL_ROWS_COUNT, 8 * size), 2 * size + 2
        self._context = context
        self._job = (initializer, tuple(initargs), tasks_max)
        self._tasks, self._results = _native.Channel(), _native.Channel()
        block = _native.Block(_native.Rows.size(rows, outboxes, POOL_OUTBOX_BYTES))
        self._ground = Ground(self._tasks, self._results, block, rows, outboxes)
        self._rows = _native.Rows(block, rows, outboxes, POOL_OUTBOX_BYTES)
        self._free_rows = list(range(rows - 1, -1, -1))
        self._stale_rows: list[int] = []  # answered in full, while their worker has not let go of them
        self._free_places = list(range(outboxes - 1, -1, -1))
        self._places: dict[int, int] = {}  # of a worker, by its number
        self.processes: dict[int, Any] = {}
        self._put_count = 0
        self._faults: list[tuple[int, BaseException]] = []
        self.functions = Functions(children_run_main=children_can_run_main(_start_method(context)))
        self._reducers: dict[type, Reducer] = {}
        self.collect: Callable[..., list[Any]] = self._results.get_many

    def pickle_by(self, reducers: dict[type, Reducer]) -> None:
        """Pickle what is sent to workers by these reducers before all others."""
        self._reducers = self.functions.reducers = reducers

    # -- processes ---------------------------------------------------------------------------------------------------

    def start(self, number: int) -> int:
        """Start a worker; returns its sentinel. Raises what starting a process raises."""
        place = self._free_places.pop()
        try:
            process = self._context.Process(target=work, args=(self._ground, Place(number, place), *self._job))
            process.name = process.name.replace("Process", "PoolWorker")
            process.daemon = True
            with interrupts_waiting():
                process.start()
        except BaseException:
            self._free_places.append(place)
            raise
        self.processes[number] = process
        self._places[number] = place
        sentinel: int = process.sentinel
        return sentinel

    def kill(self, number: int, *, hard: bool) -> None:
        """Send the worker SIGTERM, or SIGKILL."""
        process = self.processes.get(number)
        if process is not None:
            if hard:
                process.kill()
            else:
                process.terminate()

    def abandon(self) -> None:
        """End all workers now, though nobody watches them."""
        for process in self.processes.values():
            process.kill()
            process.join()

    def reap(self, number: int) -> None:
        """The worker's sentinel is readable: take its exit code, and put a note behind all that it has sent."""
        self.processes[number].join()
        self._results.put(ANSWER.pack(Answer.ENDED, 0, 0, 0, number, 0, 0, 0, 0, 0))

    def nudge(self) -> None:
        """Wake whoever collects."""
        self._results.put(ANSWER.pack(Answer.NUDGE, 0, 0, 0, 0, 0, 0, 0, 0, 0))

    def dismiss(self, count: int) -> None:
        """Let that many workers leave once they have nothing else to do."""
        for _ in range(count):
            self._put(DISMISSAL)

    def death_of(self, number: int, task: str | None) -> WorkerDied:
        """The error for the task that a worker ran when it ended."""
        process = self.processes[number]
        code = process.exitcode
        how = (
            f"was killed by signal {-code}{_signal_name(-code)}"
            if code is not None and code < 0
            else (f"ended with exit code {code}")
        )
        what = f"while it ran {task}" if task else "while it had no task"
        return WorkerDied(f"worker {process.pid} {how} {what}", pid=process.pid, exitcode=code, task=task)

    def release(self) -> None:
        """The pool is over: let go of the shared memory, though somebody may keep the pool."""
        self.collect = _nothing
        del self._tasks, self._results, self._ground, self._rows

    # -- batches -----------------------------------------------------------------------------------------------------

    def post(self, flight: Flight) -> None:
        """Send a batch. Raises whatever pickling its items raises; then nothing was sent."""
        row = flight.row = self._take_row()
        try:
            record = self._encode(flight)
            self._rows.post(row, flight.number, flight.stop - flight.start)
            self._put(record)
        except BaseException:
            self._rows.free(row)
            self._free_rows.append(row)
            flight.row = -1
            raise
        flight.ordinal = self._put_count

    def repost(self, flight: Flight) -> None:
        """Send the record of a posted batch again. If the first is there after all, one of them is dropped."""
        self._put(self._encode(flight))
        flight.ordinal = self._put_count

    def _encode(self, flight: Flight) -> bytes | tuple[Head, list[Any]]:
        call = flight.call
        function = flight.function
        start, stop = flight.start - call.base, flight.stop - call.base
        prefix = TASKS.pack(
            KIND_TASKS,
            call.mode,
            0,
            flight.row,
            flight.number,
            stop - start,
            call.chunk,
            function.number,
            function.size_bytes,
        )
        if function.block is None:
            prefix += function.inline
            record = _native.encode_items(prefix, call.items, start, stop)
            if record is not None:
                return record
        return Head(prefix, function.block), call.items[start:stop]

    def _put(self, record: Any) -> None:
        if self._reducers:
            with pickling_by(self._reducers):
                self._tasks.put(record)
        else:
            self._tasks.put(record)
        self._put_count += 1

    def _take_row(self) -> int:
        if len(self._free_rows) < 2:
            self._free_stale_rows()
        return self._free_rows.pop()

    def close(self, flight: Flight) -> None:
        """The batch is answered in full: its row is free, at once or when its worker has let go of it."""
        row = flight.row
        if row < 0:
            return
        if self._rows.free_if_released(row):
            self._free_rows.append(row)
        elif flight.is_orphan:
            self._rows.free(row)
            self._free_rows.append(row)
        else:
            self._stale_rows.append(row)

    def _free_stale_rows(self, dead_place: int = -1) -> None:
        kept = []
        for row in self._stale_rows:
            _, place, is_released, _, _, _ = self._rows.look(row)
            if is_released or place == dead_place >= 0:
                self._rows.free(row)
                self._free_rows.append(row)
            else:
                kept.append(row)
        self._stale_rows = kept

    def cut(self, flight: Flight, keep: int) -> int:
        """Take the tail of a batch; where it ends now."""
        return flight.start + self._rows.cut(flight.row, flight.number, keep - flight.start)

    # -- records -----------------------------------------------------------------------------------------------------

    def handle(self, shell: Shell, record: Any) -> None:
        """Tell the shell what a record of the result channel says."""
        if type(record) is bytes:
            ANSWERS[record[0]](shell, record, [])
        else:
            data, *buffers = record
            ANSWERS[data[0]](shell, data, buffers)

    def decode(self, data: Any, offset: int, count: int) -> tuple[list[Any], list[tuple[int, BaseException]]]:
        """The results in a record, and which of them (by index) could not be rebuilt and why. For the collector."""
        values = _native.decode_items(data, offset, count, self._load)
        if not self._faults:
            return values, NO_FAULTS
        faults, self._faults = self._faults, []
        return values, faults

    def _load(self, pickled: bytes, index: int) -> Any:
        try:
            return pickle.loads(pickled)
        except BaseException as error:  # noqa: BLE001  # whatever rebuilding raises is that task's error
            self._faults.append((index, error))

    # -- looking -----------------------------------------------------------------------------------------------------

    def look(self, flights: list[Flight], working: set[int]) -> e.Looked:
        """The rows of these batches, and how many of the working workers hold none of them."""
        # A copy: the supervisor starts and forgets workers meanwhile.
        numbers = {place: number for number, place in self._places.copy().items()}
        now_ns = time.monotonic_ns()
        rows = []
        for flight in flights:
            if flight.row < 0:  # it could not be sent, and is about to be closed
                continue
            _, place, is_released, position, end, started_ns = self._rows.look(flight.row)
            if is_released:
                continue
            age_s = (now_ns - started_ns) / 1e9 if started_ns > REBUILDING else 0.0
            worker = numbers.get(place)
            rows.append(e.Seen(flight.number, worker, flight.start + position, flight.start + end, age_s))
        busy = {row.worker for row in rows}
        return e.Looked(tuple(rows), len(working - busy))

    def outbox_of(self, number: int) -> Outbox | None:
        """What the worker has finished and perhaps not sent; None while it changes."""
        place = self._places.get(number)
        seen = None if place is None else self._rows.peek(place)
        return None if seen is None else Outbox(*seen)

    def remains_of(self, number: int, flights: list[Flight]) -> tuple[list[Remains], list[int]]:
        """What a dead worker had claimed, and the batches whose record is gone."""
        place = self._places[number]
        taken_count = self._count_taken() if flights else 0
        held, taken = [], []
        for flight in flights:
            if flight.row < 0:  # it could not be sent, and is about to be closed
                continue
            _, holder, _, position, _, started = self._rows.look(flight.row)
            if holder == place:
                flight.is_orphan = True
                held.append(Remains(flight, position, position == 0 and started == REBUILDING))
            elif holder < 0 and flight.ordinal <= taken_count:
                taken.append(flight.number)
        return held, taken

    def _count_taken(self) -> int:
        """How many records have left the task channel.

        The dead worker may have taken one without counting it. The next who takes puts that right, so one is taken
        here; it is as gone as the others, and sent again with them.
        """
        try:
            self._tasks.get_frame(block=False)
        except queue.Empty:
            pass
        return self._put_count - self._tasks.qsize()

    def bury(self, number: int) -> None:
        """Forget a dead worker."""
        place = self._places.pop(number)
        self._free_stale_rows(place)
        self._free_places.append(place)
        del self.processes[number]


def _nothing(limit: int = 0, block: bool = True, timeout: float | None = None) -> list[Any]:
    return []


def _start_method(context: Any) -> str:
    try:
        return str(context.get_start_method())
    except AttributeError:
        return "fork"


@contextmanager
def interrupts_waiting() -> Iterator[None]:
    """A process started inside inherits that: Ctrl-C does nothing to it until it is ready to say what that means."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _signal_name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""
