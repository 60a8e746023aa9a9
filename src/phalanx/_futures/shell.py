"""The pool's shell with what executors need besides."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from phalanx._base.errors import ProcessError, WorkerDied
from phalanx._futures.errors import ABRUPTLY, broken
from phalanx._futures.machine import ExecutorMachine, Grown, TakenBack
from phalanx._runtime import events as e
from phalanx._runtime.failures import RemoteTraceback
from phalanx._runtime.machine import WorkerState
from phalanx._runtime.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Callable

    from phalanx._runtime.calls import Call

__all__ = ["ExecutorShell", "cause_of", "is_interpreter_ending"]


class ExecutorShell(Shell):
    """Nothing in here refers to the executor: one that nobody holds any more is collected, and its tasks still run."""

    def __init__(self, crew: Any, size: int, size_max: int, *, breaks: bool) -> None:
        super().__init__(crew, size)
        self.machine: ExecutorMachine = ExecutorMachine(size, breaks=breaks)
        self.owner_pid = os.getpid()
        self._size_max = size_max
        self._breaks = breaks
        self._is_patient = False  # the helper waits for a caller to come by itself
        _shells.add(self)

    # -- growing -----------------------------------------------------------------------------------------------------

    def grow_for(self, task_count: int) -> None:
        """Start workers for that many new tasks, unless there are idle ones. One that is starting is not idle."""
        size = self.machine.size
        if size >= self._size_max:
            return
        ready = sum(worker.state is WorkerState.WORKING for worker in list(self.machine.workers.values()))
        missing = task_count - max(0, ready - len(self.calls))
        if missing > 0:
            self.tell(Grown(min(size + missing, self._size_max)))  # type: ignore[arg-type]

    # -- errors ------------------------------------------------------------------------------------------------------

    @property
    def why_broken(self) -> BaseException | None:
        """What broke the executor."""
        return self.machine.broken_by

    def error_for_abandoned(self, error: BaseException) -> BaseException:
        """What a future gets when everything ends: an error of its own, since raising one adds to its traceback."""
        if self.why_broken is not None:
            return broken(ABRUPTLY, cause_of(self.why_broken))
        return broken(str(error)) if isinstance(error, ProcessError) else error

    def unreadable(self, error: BaseException) -> BaseException:
        """What a task gets whose arguments or result could not be unpickled."""
        if not self._breaks:
            return error
        return broken(f"what was sent between the processes could not be unpickled: {error!r}", error)

    # -- taking back -------------------------------------------------------------------------------------------------

    def take_back(self, call: Call) -> None:
        """Tasks of the call that have not begun fail with CancelledError."""
        self.tell(TakenBack(call.number))  # type: ignore[arg-type]

    def take_back_now(self, call: Call) -> None:
        """The same; when this returns it is known which. Not for destructors: another thread may be at work."""
        event = TakenBack(call.number)
        self.tell(event)  # type: ignore[arg-type]
        while not event.is_handled and call.number in self.calls:
            with self._lock:  # whoever has it is handling events
                pass
            self._drain()

    def cancel_waiting(self) -> None:
        """Cancel calls that have not begun, but for the first: those that workers are just being started for."""
        starting = sum(worker.state is WorkerState.STARTING for worker in list(self.machine.workers.values()))
        for call in list(self.calls.values())[starting:]:
            call.sink.cancel()  # type: ignore[attr-defined]

    def has_begun(self, call: Call) -> bool:
        """Whether a worker has begun a task of the call."""
        flights = [flight for flight in list(self.flights.values()) if flight.call is call]
        return any(row.worker is not None for row in self.crew.look(flights, set()).rows)

    # -- who collects ------------------------------------------------------------------------------------------------

    def hurry(self, call: Call) -> None:
        """Somebody waits for the call who does not collect."""
        if call.number in self.calls and call.number not in self._eager:
            self._eager.add(call.number)
            self._call_for_help()

    @property
    def needs_help(self) -> bool:
        return bool(self.calls) or super().needs_help

    def _call_for_help(self) -> None:
        if not self._attending and self.needs_help and (self.is_urgent or not self._is_patient):
            self.help().wake()

    def _has_been_visited(self, visits: int, wait: Callable[[float | None], object]) -> bool:
        self._is_patient = True
        try:
            return super()._has_been_visited(visits, wait)
        finally:
            self._is_patient = False

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """No more tasks; when those that are there have run, the workers leave."""
        if self.owner_pid == os.getpid() and not self.is_over.is_set():
            self.tell(e.Closed())

    def end_abruptly(self) -> None:
        """Everything that is running or pending fails, the workers are ended."""
        if not self.is_over.is_set():
            self.tell(e.Terminated(ProcessError("the executor was forcefully shut down")))


def cause_of(error: BaseException) -> BaseException:
    """What stands behind a broken executor: for a death, as with the newest stdlib, a text; the death behind that."""
    error.__traceback__ = None  # it is shared by many futures' errors: its frames would keep alive what they held
    if not isinstance(error, WorkerDied):
        return error
    cause = RemoteTraceback(f"Process {error.pid} terminated abruptly with exit code {error.exitcode}")
    cause.__cause__ = error
    return cause


# -- the interpreter's end ---------------------------------------------------------------------------------------------

_shells: weakref.WeakSet[ExecutorShell] = weakref.WeakSet()
_is_ending = False


def is_interpreter_ending() -> bool:
    return _is_ending


def _end_all() -> None:
    """What was submitted still runs, as with the stdlib's executors; before Python waits for threads."""
    global _is_ending
    _is_ending = True
    for shell in list(_shells):
        if shell.owner_pid == os.getpid():
            shell.close()
            shell.wait_until_over()


threading._register_atexit(_end_all)  # type: ignore[attr-defined]
