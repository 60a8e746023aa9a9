"""What a worker of a pool does: takes batches, runs them, answers. native/row/README.md has the protocol."""

import os
import pickle
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from phalanx import _native, process
from phalanx._base.limits import POOL_FUNCTION_CACHE_COUNT, POOL_OUTBOX_BYTES, POOL_SLICE_S
from phalanx._runtime.failures import encoding_failure, pack_failure
from phalanx._runtime.records import (
    ANSWER,
    EXHAUSTED,
    TASKS,
    UNREADABLE,
    Answer,
    Head,
    StaleRecordError,
    read_pickle,
    receiver,
)
from phalanx.reduction import ForkingPickler

__all__ = ["Ground", "Place", "Worker", "work"]

UNLIMITED = (1 << 32) - 1
SLICE_NS = int(POOL_SLICE_S * 1e9)
PUT_AGAIN_S = 0.01  # between two tries to put a record into an arena that is full


class Ground(NamedTuple):
    """What all processes of a pool share."""

    tasks: _native.Channel
    results: _native.Channel
    block: _native.Block
    rows: int
    outboxes: int


class Place(NamedTuple):
    """Who a worker is: its number, never used again, and its place in the crew, which is."""

    number: int
    place: int


class Outcome:
    """How `Rows.run` ended (constants of the C core)."""

    FINISHED, SLICE_OVER, RAISED, TOO_LARGE, UNSENDABLE = range(5)


def work(
    ground: Ground,
    place: Place,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    tasks_max: int | None,
) -> None:
    """Be a worker until dismissed, until `tasks_max` chunks have been run, or until the parent is gone."""
    _leave_interrupts_to_the_parent()
    worker = Worker(ground, place, tasks_max)
    if worker.initialize(initializer, initargs):
        _follow_the_parent_on()
        worker.run()


def _follow_the_parent_on() -> None:
    """The initializer may have changed the user, which makes the kernel forget whose death is to be this process's."""
    parent = process.parent_process()
    if parent is not None and parent.pid is not None:
        _native.watch_process(parent.pid)


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches every process of the terminal; the parent decides what it means. Not SIG_IGN, which programs that
    a task starts would inherit."""
    signal.signal(signal.SIGINT, _ignore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _ignore(number: int, frame: object) -> None:
    pass


class Worker:
    """The state of one worker."""

    def __init__(self, ground: Ground, place: Place, tasks_max: int | None) -> None:
        self._get = ground.tasks.get
        self._put = ground.results.put
        self._rows = _native.Rows(ground.block, ground.rows, ground.outboxes, POOL_OUTBOX_BYTES)
        self._number, self._place = place
        self._chunks_left = tasks_max
        self._functions: dict[int, Callable[..., Any]] = {}

    def initialize(self, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> bool:
        """Run the pool's initializer; False if it raised, which is reported."""
        if initializer is not None:
            try:
                initializer(*initargs)
            except BaseException as error:  # noqa: BLE001  # SystemExit too is the initializer's failure
                self._tell(Answer.INITIALIZER_FAILED, self._number, pack_failure(error))
                return False
        self._tell(Answer.READY, self._number)
        return True

    def run(self) -> None:
        """Take batches until dismissed or used up."""
        receiver.claim = self._claim
        while self._chunks_left is None or self._chunks_left > 0:
            try:
                record = self._get()
            except StaleRecordError:
                continue
            except Exception as error:  # noqa: BLE001  # whatever an item raises while it is rebuilt
                self._refuse(receiver.take_head(), error)
                continue
            if not record:
                return
            self._take(record)
            record = None  # an idle worker keeps nothing alive

    # -- one batch ---------------------------------------------------------------------------------------------------

    def _claim(self, head: Head) -> bool:
        """The head of a pickled record is there: its items are unpickled only if the batch is this worker's."""
        _, _, _, row, sequence, _, _, _, _ = TASKS.unpack_from(head.data)
        if not self._rows.claim(row, sequence, self._place):
            return False
        self._rows.rebuild(row)
        return True

    def _take(self, record: bytes | tuple[Head, list[Any]]) -> None:
        head: Head | None = None
        items: list[Any] | None = None
        if isinstance(record, bytes):
            data = record
        else:
            head, items = record
            data = head.data
        _, mode, _, row, sequence, count, chunk, number, function_bytes = TASKS.unpack_from(data)
        if head is None and not self._rows.claim(row, sequence, self._place):
            return
        function = self._functions.get(number)
        if function is None:
            self._rows.rebuild(row)
            try:
                function = self._rebuild(number, data, function_bytes, head)
            except BaseException as error:  # noqa: BLE001  # code of the user's modules runs here
                self._rows.release(row)
                self._tell(Answer.UNKNOWN_FUNCTION, sequence, pack_failure(error))
                return
        if items is None:
            items = _native.decode_items(data, TASKS.size + function_bytes, count, read_pickle)
        if self._chunks_left is None:
            self._run(row, sequence, function, items, mode)
        else:
            self._run_limited(row, sequence, function, items, mode, chunk)

    def _run(self, row: int, sequence: int, function: Callable[..., Any], items: list[Any], mode: int) -> None:
        run, place = self._rows.run, self._place
        is_exhausted = False
        while not is_exhausted:
            outcome, is_exhausted, count, record, extra = run(
                row, sequence, place, function, items, mode, UNLIMITED, SLICE_NS, _dumps_small
            )
            if count:
                self._answer(record)
            if outcome > Outcome.SLICE_OVER:
                self._answer_extra(record, outcome, extra, is_exhausted)

    def _run_limited(
        self, row: int, sequence: int, function: Callable[..., Any], items: list[Any], mode: int, chunk: int
    ) -> None:
        """The same for a worker that may run so many chunks only: what is left of the batch it gives back."""
        assert self._chunks_left is not None
        tasks_left = self._chunks_left * chunk
        tasks_at_first = tasks_left
        is_exhausted = False
        while not is_exhausted and tasks_left > 0:
            outcome, is_exhausted, count, record, extra = self._rows.run(
                row, sequence, self._place, function, items, mode, tasks_left, SLICE_NS, _dumps_small
            )
            tasks_left -= count
            if count:
                self._answer(record)
            if outcome > Outcome.SLICE_OVER:
                tasks_left -= 1
                self._answer_extra(record, outcome, extra, is_exhausted)
        self._chunks_left -= max(1, -(-(tasks_at_first - tasks_left) // chunk))
        if not is_exhausted:
            end = self._rows.cut(row, sequence, 0)
            self._rows.release(row)
            self._answer(ANSWER.pack(Answer.GAVE_BACK, 0, 0, row, sequence, 0, 0, end, self._place, 0))

    def _answer_extra(self, record: bytes, outcome: int, extra: Any, is_exhausted: bool) -> None:
        """The task behind the results in `record` raised, or its result does not fit into an outbox."""
        _, flags, _, row, sequence, first, count, end, place, _ = ANSWER.unpack_from(record)
        flags = EXHAUSTED if is_exhausted else 0
        head = (flags, 0, row, sequence, first + count, 1, end, place, 0)
        if outcome == Outcome.TOO_LARGE:
            try:
                self._answer_large(ANSWER.pack(Answer.LARGE, *head), extra)
                return
            except MemoryError as error:  # of the arena, as a rule: it says how full that is
                extra = error
            except BaseException as error:  # noqa: BLE001  # whatever pickling raises, SystemExit too
                extra = encoding_failure(error, extra)
        self._answer_failure(ANSWER.pack(Answer.RAISED, *head), pack_failure(extra))

    def _answer_large(self, head: bytes, value: Any) -> None:
        pickled, buffers = ForkingPickler.dumps_with_buffers(value)
        self._put((head, pickle.PickleBuffer(pickled), *buffers))

    # -- functions ---------------------------------------------------------------------------------------------------

    def _rebuild(self, number: int, data: bytes, function_bytes: int, head: Head | None) -> Callable[..., Any]:
        if head is not None and head.block is not None:
            pickled: Any = memoryview(head.block)[:function_bytes]
        else:
            pickled = data[TASKS.size : TASKS.size + function_bytes]
        function: Callable[..., Any] = pickle.loads(pickled)
        while len(self._functions) >= POOL_FUNCTION_CACHE_COUNT:
            del self._functions[next(iter(self._functions))]
        self._functions[number] = function
        return function

    # -- answers -----------------------------------------------------------------------------------------------------

    def _answer(self, record: bytes) -> None:
        """Put a record, whatever it takes: what has been run must not be lost because the arena is full just now."""
        while True:
            try:
                return self._put(record)
            except MemoryError:
                time.sleep(PUT_AGAIN_S)

    def _answer_failure(self, head: bytes, failure: bytes) -> None:
        """A large exception, for which there is no room, is told as that MemoryError: there may never be any."""
        if len(failure) > POOL_OUTBOX_BYTES:
            try:
                return self._put(head + failure)
            except MemoryError as too_large:
                failure = pack_failure(too_large)
        return self._answer(head + failure)

    def _tell(self, kind: Answer, sequence: int, more: bytes = b"") -> None:
        self._answer(ANSWER.pack(kind, 0, 0, 0, sequence, 0, 0, 0, self._place, 0) + more)

    def _refuse(self, head: Head | None, error: BaseException) -> None:
        """A record could not be unpickled. With one task it is that task's error; else they are to come one by one."""
        if head is None:  # not even its head: the parent finds it among the taken ones once this process has ended
            os._exit(1)
        _, _, _, row, sequence, count, _, _, _ = TASKS.unpack_from(head.data)
        if count > 1:
            self._rows.release(row)
            self._tell(Answer.UNREADABLE, sequence)
            return
        failure = pack_failure(error)
        self._rows.release(row)
        flags = EXHAUSTED | UNREADABLE
        self._answer_failure(ANSWER.pack(Answer.RAISED, flags, 0, row, sequence, 0, 1, 1, self._place, 0), failure)


def _dumps_small(value: Any) -> bytes | None:
    """The pickle of a result, for an outbox; None if it must travel alone, or cannot be pickled."""
    try:
        pickled, buffers = ForkingPickler.dumps_with_buffers(value)
    except BaseException:  # noqa: BLE001  # it will be raised again where it is reported
        return None
    return None if buffers else bytes(pickled)
