"""The shell round the machine: turns records and deaths into events, commands into deeds, and does all the waiting.

Three kinds of threads come through here. Callers submit, and collect while they wait. The supervisor sleeps until a
worker ends. The helper collects where no caller does but somebody needs it, and runs callbacks.
"""

from __future__ import annotations

import itertools
import queue
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from phalanx._base.limits import POOL_AHEAD_COUNT, POOL_PATIENCE_S
from phalanx._runtime import events as e
from phalanx._runtime.calls import Call, Flight, wake
from phalanx._runtime.machine import Machine, PoolState, WorkerState
from phalanx._runtime.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from phalanx._runtime.readers import Reader

__all__ = ["Shell"]

monotonic = time.monotonic
FOREVER = float("inf")


class Shell:
    """One pool at work. Nothing in here refers to the pool object, so that a forgotten pool can be collected."""

    def __init__(self, crew: Any, size: int) -> None:
        self.crew = crew
        self.machine = Machine(size)
        self.calls: dict[int, Call] = {}
        self.flights: dict[int, Flight] = {}
        self.readers: dict[int, Reader] = {}
        self.is_over = threading.Event()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # whoever holds it lets the machine handle events
        self._events: deque[e.Event] = deque()
        self._role = threading.Lock()  # whoever holds it collects
        self._inbox: deque[Any] = deque()  # records that were taken and not handled; of the collector
        self._waiters: set[threading.Lock] = set()
        self._attending: set[object] = set()  # one for each caller that waits
        self._callbacks: deque[Callable[[], None]] = deque()
        self._asleep_until = 0.0  # when the collector will look up by itself; 0 while it is awake
        self._visits = 0  # how often callers have begun to wait
        self._eager: set[int] = set()  # calls that must not wait for somebody to ask for them
        self._notes_due = 0  # ends of workers that the supervisor has seen and nobody has handled
        self._is_released = False
        self._start_error: BaseException | None = None
        self._watch = Watch()
        self._helper: Helper | None = None
        self._supervisor = threading.Thread(target=self._supervise, name="phalanx-pool-supervisor", daemon=True)

    # -- from the outside --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the crew. If one of them cannot be started, ends the others and raises why."""
        commands = self.machine.start(monotonic())
        with self._lock:
            self._obey(commands)
        self._start_supervisor()
        self._drain()
        if self._start_error is not None:
            self.tell(e.Terminated(self._start_error))
            self.wait_until_over()
            raise self._start_error

    def _start_supervisor(self) -> None:
        """RuntimeError if there may be no more threads: then nobody would see the workers end."""
        try:
            self._supervisor.start()
        except RuntimeError:
            self.crew.abandon()
            self._watch.close()
            raise

    def number(self) -> int:
        """The number of a new call."""
        return next(self._numbers)

    def submit(self, call: Call, event: e.Submitted, *, is_eager: bool = False) -> None:
        """A new call: everything that can be sent now is sent. Its items' pickling errors are its tasks' errors.

        `is_eager`: its results are to be handled as soon as they come, though nobody waits for them.
        """
        try:
            call.function = self.crew.functions.get(call.target)
        except Exception as error:  # noqa: BLE001  # whatever pickling raises is the call's error
            call.sink.abandon(error)
            return
        event.pace = call.function.pace
        self.calls[call.number] = call
        if is_eager:
            self._eager.add(call.number)
        self.tell(event)

    def tell(self, event: e.Event) -> None:
        """Let the machine handle an event: now, or by whoever is inside right now."""
        self._events.append(event)
        self._drain()

    def call_back(self, callback: Callable[[], None]) -> None:
        """Have something run in the helper thread, in order."""
        self._callbacks.append(callback)
        self.help().wake()
        self.stir()

    def wake(self, call: Call) -> None:
        """Something has come for the call, or it is settled: wake who waits for it."""
        if call.waiters:
            call.wake()
        self.stir()

    def run(self, call: Call, event: e.Submitted) -> None:
        """Submit a call and wait until it is settled."""
        self._attending.add(call)  # from here on this thread collects: no need to wake the helper
        try:
            self.submit(call, event)
            while not call.is_settled:
                self._collect_or_wait(call.is_over, call.waiters, None)
        finally:
            self._attending.discard(call)
            self._call_for_help()

    def wait(self, call: Call, timeout_s: float | None) -> bool:
        """Wait until the call is settled, collecting if nobody else does; False if the timeout passed."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        return self._wait(call.is_over, call.waiters, deadline)

    def wait_for(self, is_there: Callable[[], bool], call: Call, timeout_s: float | None) -> bool:
        """The same for any other change that the handling of a record brings."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        return self._wait(is_there, call.waiters, deadline)

    def wait_until_over(self) -> None:
        """Collect until the last worker is gone, then stop the threads."""
        self._wait(self.is_over.is_set, [], None)
        self._stop_threads()
        with self._lock:
            if not self._is_released:
                self._is_released = True
                self.crew.release()

    def help(self) -> Helper:
        """The helper thread, started when it is first needed."""
        if self._helper is None:
            with _helper_starting:
                if self._helper is None:
                    self._helper = Helper(self)
        return self._helper

    # -- events and commands -----------------------------------------------------------------------------------------

    def _drain(self) -> None:
        # A signal handler or a destructor may tell something while this thread is inside: it is queued, and handled in
        # the loop that it has interrupted. Looking again after the release closes the gap for other threads.
        events, lock = self._events, self._lock
        while events and lock.acquire(False):
            try:
                while events:
                    self._handle(events.popleft())
            finally:
                lock.release()
        if self._asleep_until > 0:
            self._stir_in_time()
        if not self._attending:
            self._call_for_help()

    def _stir_in_time(self) -> None:
        """The machine may have got a deadline before the one that the collector sleeps to."""
        due = self.machine.deadline
        if due is not None and due < self._asleep_until:
            self.stir()

    def _handle(self, event: e.Event) -> None:
        try:
            for command in self.machine.handle(event, monotonic()):
                DEEDS[type(command)](self, command)
        except Exception as error:  # noqa: BLE001  # a bug must end in an error for every caller, not in a hang
            self._crash(error)

    def _obey(self, commands: list[e.Command]) -> None:
        for command in commands:
            DEEDS[type(command)](self, command)

    def _crash(self, error: BaseException) -> None:
        print(f"phalanx: a pool has failed: {error}", file=sys.stderr)
        for call in list(self.calls.values()):
            self._end_call(call, error)
        for number in list(self.crew.processes):
            self.crew.kill(number, hard=True)
        self.machine.error = error
        self.machine.state = PoolState.OVER
        self.is_over.set()
        self._wake_all()

    def _post(self, command: e.Post) -> None:
        call = self.calls[command.job]
        assert call.function is not None
        flight = Flight(command.batch, call, command.start, command.stop, command.start, call.function)
        self.flights[flight.number] = flight
        try:
            self.crew.post(flight)
        except Exception as error:  # noqa: BLE001  # whatever pickling the items raises
            if flight.stop - flight.start > 1:
                self._events.append(e.Returned(flight.number))
            else:
                self._events.append(e.Raised(flight.number, flight.start, error))

    def _repost(self, command: e.Repost) -> None:
        flight = self.flights.get(command.batch)
        if flight is not None:
            self.crew.repost(flight)

    def _close_batch(self, command: e.CloseBatch) -> None:
        self.crew.close(self.flights.pop(command.batch))

    def _cut_batch(self, command: e.CutBatch) -> None:
        flight = self.flights[command.batch]
        flight.stop = self.crew.cut(flight, command.keep)
        # Before all that was told meanwhile: later events count on it.
        self._events.appendleft(e.Cut(flight.number, flight.stop))

    def _peek(self, command: e.Peek) -> None:
        self._inbox.append(command)  # only the collector may deliver
        self.stir()

    def _fail(self, command: e.Fail) -> None:
        call = self.calls.get(command.job)
        if call is not None:
            call.sink.fail(command.index, command.error)
            self.wake(call)

    def _settle(self, command: e.Settle) -> None:
        call = self.calls.pop(command.job, None)
        self.readers.pop(command.job, None)
        if call is not None:
            self._eager.discard(call.number)
            call.items = []
            call.sink.settle()

    def _abandon(self, command: e.Abandon) -> None:
        call = self.calls.get(command.job)
        if call is not None:
            self._end_call(call, command.error)

    def _end_call(self, call: Call, error: BaseException) -> None:
        self.calls.pop(call.number, None)
        reader = self.readers.pop(call.number, None)
        if reader is not None:
            reader.stop()
        self._eager.discard(call.number)
        call.items = []
        call.sink.abandon(error)

    def _read(self, command: e.Read) -> None:
        reader = self.readers.get(command.job)
        if reader is not None:
            reader.allow(command.count)

    def _trim(self, command: e.Trim) -> None:
        call = self.calls.get(command.job)
        if call is not None:
            del call.items[: command.index - call.base]
            call.base = command.index

    def _start_worker(self, command: e.StartWorker) -> None:
        try:
            sentinel = self.crew.start(command.worker)
        except Exception as error:  # noqa: BLE001  # EAGAIN, EMFILE, what pickling the initializer raises...
            if not self._supervisor.is_alive():
                self._start_error = self._start_error or error
            self._events.append(e.StartFailed(command.worker, error))
        else:
            if sentinel >= 0:
                self._watch.add(sentinel, command.worker)

    def _kill(self, command: e.Kill) -> None:
        self.crew.kill(command.worker, hard=command.reason is e.KillReason.GRACE_IS_OVER)

    def _dismiss(self, command: e.Dismiss) -> None:
        self.crew.dismiss(command.count)

    def _broke(self, command: e.Broke) -> None:
        """Every call is abandoned with the error right after this."""

    def _over(self, command: e.Over) -> None:
        self.is_over.set()
        self._watch.ring()
        if self._helper is not None:
            self._helper.stop()
        self._wake_all()

    # -- collecting --------------------------------------------------------------------------------------------------

    def _wait(self, is_there: Callable[[], bool], waiters: list[threading.Lock], deadline: float | None) -> bool:
        token = object()
        self._attending.add(token)
        self._visits += 1
        try:
            while not is_there():
                self._collect_or_wait(is_there, waiters, deadline)
                if deadline is not None and monotonic() >= deadline:
                    return is_there()
            return True
        finally:
            self._attending.discard(token)
            self._call_for_help()

    def _collect_or_wait(
        self, is_there: Callable[[], bool], waiters: list[threading.Lock], deadline: float | None
    ) -> None:
        """Collect until it is there or the deadline has passed; or, while somebody else collects, sleep so long."""
        if not self._role.acquire(False):
            self._wait_for_collector(is_there, waiters, deadline)
            return
        try:
            if self._inbox:  # of a collector that was interrupted
                self._handle_inbox()
            while self.collect(is_there, deadline):
                pass
        finally:
            self._role.release()
            if self._waiters:
                self._wake_one()

    def _wait_for_collector(
        self, is_there: Callable[[], bool], waiters: list[threading.Lock], deadline: float | None
    ) -> None:
        """Sleep until what is waited for may be there, or nobody collects any more."""
        waiter = threading.Lock()
        waiter.acquire()
        waiters.append(waiter)
        self._waiters.add(waiter)
        try:
            # Both were checked before; what changed since then has not seen this waiter.
            if is_there() or not self._role.locked():
                return
            waiter.acquire(timeout=-1 if deadline is None else max(0.0, deadline - monotonic()))
        finally:
            self._waiters.discard(waiter)
            try:
                waiters.remove(waiter)
            except ValueError:  # whoever woke it has taken it out
                pass

    def _wake_one(self) -> None:
        """The collector's role is free: another one who waits takes it."""
        for waiter in list(self._waiters):
            self._waiters.discard(waiter)
            if wake(waiter):
                return

    def _wake_all(self) -> None:
        while self._waiters:
            self._wake_one()
        self.stir()

    def collect(self, is_enough: Callable[[], bool], deadline: float | None) -> bool:
        """Take and handle what workers have sent, waiting for it until the deadline or the machine's own.

        False once it is enough, or the deadline has passed. Only for the holder of the collector's role.
        """
        # Before anything is looked at: what changes from now on stirs this thread.
        self._asleep_until = FOREVER
        try:
            if is_enough():
                return False
            due = self.machine.deadline
            until = due if deadline is None else deadline if due is None else min(deadline, due)
            if until is None:
                self._inbox.extend(self.crew.collect())
            else:
                self._asleep_until = until
                self._inbox.extend(self.crew.collect(0, True, max(0.0, until - monotonic())))
        except queue.Empty:
            pass
        finally:
            self._asleep_until = 0.0
        self._handle_inbox()
        if due is not None and monotonic() >= due:
            self._be_on_time()
        return deadline is None or monotonic() < deadline

    def stir(self) -> None:
        """Something has changed that the collector may be waiting for, and that comes with no record."""
        if self._asleep_until > 0 and not self._is_released:
            self.crew.nudge()

    def _handle_inbox(self) -> None:
        inbox, handle = self._inbox, self.crew.handle
        while inbox:
            # Taken out after it was handled: if Ctrl-C comes in between, it is handled again, which does no harm.
            record = inbox[0]
            if type(record) is e.Peek:
                self._read_outbox(record)
            else:
                handle(self, record)
            inbox.popleft()
        if self.readers:
            for reader in list(self.readers.values()):
                reader.tell_supply()

    def _be_on_time(self) -> None:
        now = monotonic()
        look_at = self.machine.look_at
        if look_at is not None and look_at <= now:
            self._look()
            self._handle_inbox()
        due = self.machine.deadline
        if due is not None and due <= now:
            self.tell(e.Ticked())

    def _look(self) -> None:
        flights = list(self.flights.values())
        workers = list(self.machine.workers.values())
        working = {worker.number for worker in workers if worker.state is WorkerState.WORKING}
        self.tell(self.crew.look(flights, working))

    def _read_outbox(self, command: e.Peek) -> None:
        outbox = self.crew.outbox_of(command.worker)
        flight = self.flights.get(command.batch)
        if flight is not None and outbox is not None and outbox.batch == flight.number:
            self.deliver(flight, outbox.first, outbox.result_count, outbox.data, 0)

    # -- what the records bring (the collector, through answers.py) -------------------------------------------------

    def deliver(self, flight: Flight, first: int, count: int, data: Any, offset: int, elapsed_ns: int = 0) -> None:
        """Results of a batch from position `first` on; those that are here already are passed over."""
        start, stop = flight.start + first, flight.start + first + count
        skip = flight.next - start
        if not 0 <= skip < count:
            return
        values, faults = self.crew.decode(data, offset, count)
        if skip:
            values, elapsed_ns = values[skip:], 0
        if faults:
            self._deliver_with_faults(flight, values, {start + i: error for i, error in faults})
            return
        flight.call.sink.deliver(flight.next, values)
        event = e.Ran(flight.number, flight.next, stop, elapsed_ns)
        flight.next = stop
        self.tell(event)

    def deliver_one(self, flight: Flight, value: Any) -> None:
        """The result of the task expected next of a batch."""
        index = flight.next
        flight.call.sink.deliver(index, [value])
        flight.next = index + 1
        self.tell(e.Ran(flight.number, index, index + 1, 0))

    def _deliver_with_faults(self, flight: Flight, values: list[Any], faults: dict[int, BaseException]) -> None:
        """Some results could not be rebuilt: each of them is that task's error."""
        for value in values:
            index = flight.next
            error = faults.get(index)
            if error is None:
                self.deliver_one(flight, value)
            else:
                self.fail_task(flight, index, self.unreadable(error))

    def unreadable(self, error: BaseException) -> BaseException:
        """What a task fails with whose arguments or result could not be unpickled: what that raised."""
        return error

    def send_by_value(self, call: Call) -> bool:
        """The workers cannot import the call's function: send it with its code. False if that has been tried."""
        function = call.function
        if function is None or function.is_by_value:
            return False
        self.crew.functions.forget(function)
        try:
            call.function = self.crew.functions.by_value(call.target, though_importable=True)
        except Exception:  # noqa: BLE001  # the worker's error says more
            return False
        return True

    def fail_task(self, flight: Flight, index: int, error: BaseException) -> None:
        """The task expected next of a batch has failed."""
        if index == flight.next:
            flight.next = index + 1
            self.tell(e.Raised(flight.number, index, error))

    def worker_ended(self, number: int, *, was_noted: bool = True) -> None:
        """All that the worker sent has been handled: find out what it held. `was_noted`: the supervisor saw the end."""
        if number not in self.crew.processes:
            return
        outbox = self.crew.outbox_of(number)
        if outbox is not None:
            flight = self.flights.get(outbox.batch)
            if flight is not None:
                self.deliver(flight, outbox.first, outbox.result_count, outbox.data, 0)
        remains, taken = self.crew.remains_of(number, list(self.flights.values()))
        held, task = [], None
        for flight, position, is_rebuilding in remains:
            is_running = flight.start + position > flight.next
            held.append(e.Held(flight.number, is_running, is_rebuilding))
            if is_running or is_rebuilding:
                task = flight.call.describe(flight.next)
        error = self.crew.death_of(number, task)
        self.crew.bury(number)
        self._notes_due -= was_noted
        self.tell(e.Ended(number, error, tuple(held), tuple(taken)))

    # -- the threads -------------------------------------------------------------------------------------------------

    @property
    def needs_help(self) -> bool:
        """Whether somebody should collect although no caller waits."""
        return self.is_urgent or (not self.is_over.is_set() and self.machine.needs_collector)

    @property
    def is_urgent(self) -> bool:
        """Whether that should be at once, not only when callers have stayed away for a moment."""
        if self._callbacks:
            return True
        return not self.is_over.is_set() and (
            self._notes_due > 0 or bool(self._eager) or self.machine.state is not PoolState.RUNNING
        )

    @property
    def is_hungry(self) -> bool:
        """Whether more batches should be in flight than there are."""
        return len(self.flights) < POOL_AHEAD_COUNT * self.machine.size

    def _call_for_help(self) -> None:
        if not self._attending and self.needs_help:
            self.help().wake()

    def help_out(self, wait: Callable[[float | None], object]) -> None:
        """One turn of the helper, which sleeps by `wait`: callbacks, then records where no caller takes them."""
        self.run_callbacks()
        visits = self._visits
        if self._attending:
            wait(None)  # whoever leaves calls for help again
        elif not self.is_urgent and self._has_been_visited(visits, wait):
            return
        elif self._role.acquire(False):
            try:
                self._handle_inbox()
                while self.collect(self._has_helped_enough, None):
                    pass
            finally:
                self._role.release()
                self._wake_one()

    def _has_helped_enough(self) -> bool:
        return not self.needs_help or bool(self._callbacks) or bool(self._waiters)

    def _has_been_visited(self, visits: int, wait: Callable[[float | None], object]) -> bool:
        """A caller that takes one result after the other keeps the collector's role to itself."""
        wait(POOL_PATIENCE_S)
        return self._visits != visits or bool(self._attending)

    def run_callbacks(self) -> None:
        while self._callbacks:
            self._callbacks.popleft()()

    def _supervise(self) -> None:
        while not self.is_over.is_set():
            for number in self._watch.wait():
                self._notes_due += 1
                self.crew.reap(number)
                self._call_for_help()
        self._watch.close()

    def _stop_threads(self) -> None:
        self._watch.ring()
        if self._supervisor.is_alive() and self._supervisor is not threading.current_thread():
            self._supervisor.join()
        if self._helper is not None:
            self._helper.stop()  # the supervisor may have started it while the pool was ending
            self._helper.join()


class Helper:
    """The thread that collects and calls back where no caller does it. Asleep for good while nobody needs it."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._wanted = threading.Event()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="phalanx-pool-helper", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        if not self._wanted.is_set():
            self._wanted.set()

    def stop(self) -> None:
        """Let it run what there is to call back, then end."""
        self._is_stopped = True
        self._wanted.set()

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        shell = self._shell
        while not self._is_stopped:
            self._wait(None)
            while shell.needs_help:
                shell.help_out(self._wait)
        shell.run_callbacks()

    def _wait(self, timeout_s: float | None) -> None:
        self._wanted.wait(timeout_s)
        self._wanted.clear()


_helper_starting = threading.Lock()

DEEDS: dict[type, Callable[[Shell, Any], None]] = {
    e.Post: Shell._post,
    e.Repost: Shell._repost,
    e.CloseBatch: Shell._close_batch,
    e.CutBatch: Shell._cut_batch,
    e.Peek: Shell._peek,
    e.Fail: Shell._fail,
    e.Settle: Shell._settle,
    e.Abandon: Shell._abandon,
    e.Read: Shell._read,
    e.Trim: Shell._trim,
    e.StartWorker: Shell._start_worker,
    e.Kill: Shell._kill,
    e.Dismiss: Shell._dismiss,
    e.Broke: Shell._broke,
    e.Over: Shell._over,
}
