"""The fork start method, and what all children have in common: waiting for them, ending them, their exit codes."""

from __future__ import annotations

import atexit
import os
import sys
from _thread import allocate_lock

from phalanx import _native, process, util
from phalanx._base import lifelines, logrecords
from phalanx._base.signals import plain as signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn

    from phalanx.process import BaseProcess

__all__ = ["Popen"]

UNKNOWN_EXIT_CODE = 255


class Popen:
    """A running child. `sentinel` is readable once it has ended, `returncode` is None until that has been noticed."""

    method: ClassVar[str] = "fork"

    pid: int
    sentinel: int
    _slot: int

    def __init__(self, process_obj: BaseProcess) -> None:
        util._flush_std_streams()
        self.returncode: int | None = None
        self.finalizer: util.Finalize | None = None
        self._reaping = allocate_lock()
        self._launch(process_obj)

    def duplicate_for_child(self, fd: int) -> int:
        """A number that stands for `fd` in the child."""
        return fd

    # -- starting ----------------------------------------------------------------------------------------------------

    def _launch(self, process_obj: BaseProcess) -> None:
        _native.arena_open()
        util._open_null_input()
        logrecords.tell_process_name(process.current_process_name)
        parent_lifeline = lifelines.own()
        spare = os.dup(parent_lifeline)  # so that there is a descriptor for the child's lifeline once it runs
        try:
            ends = lifelines.ends_of_child()
            try:
                self.pid = os.fork()
            except OSError:
                util.close_fds(*ends or ())
                raise
        finally:
            os.close(spare)
        if self.pid == 0:
            _run_forked(process_obj, ends, parent_lifeline)
        self._slot = _native.slot_of_last_fork()
        _native.slot_set_pid(self._slot, self.pid)
        self._watch_child(ends)

    def _watch_child(self, ends: tuple[int, int] | None) -> None:
        """A child that cannot be watched ends at once: OSError, as if it had never been started."""
        try:
            lifeline = lifelines.of_child(self.pid, ends)
        except OSError:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            _native.slot_end(self._slot)
            raise
        self._watch(lifeline)

    def _watch(self, sentinel: int, *more_fds: int) -> None:
        self.sentinel = sentinel
        self.finalizer = util.Finalize(self, util.close_fds, (sentinel, *more_fds))

    # -- waiting -----------------------------------------------------------------------------------------------------

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """The exit code, or None while the child is running; with `flag` 0 it waits for the end."""
        if flag == 0:
            return self.wait()
        if self.returncode is None:
            self._reap(flag)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code, or None if the child is still running after `timeout` seconds."""
        if self.returncode is None and lifelines.is_readable(self.sentinel, timeout):
            # A lifeline that is no pidfd is cut a moment before the process has ended.
            self._reap(os.WNOHANG if timeout == 0 or lifelines.has_pidfds() else 0)
        return self.returncode

    def _reap(self, flag: int) -> None:
        """Take the exit status, if there is one. Of several threads one does it, so that none finds it gone."""
        with self._reaping:
            if self.returncode is None:
                self.returncode = self._exit_code(flag)
                if self.returncode is not None:
                    _native.slot_end(self._slot)

    def _exit_code(self, flag: int) -> int | None:
        """The exit code of a child that has ended, None of one that runs."""
        try:
            pid, status = os.waitpid(self.pid, flag)
        except ChildProcessError:  # somebody else has reaped it, or SIGCHLD is ignored
            return self._exit_code_of_stolen()
        return os.waitstatus_to_exitcode(status) if pid == self.pid else None

    def _exit_code_of_stolen(self) -> int | None:
        if not lifelines.is_readable(self.sentinel, 0):
            return None
        code = lifelines.exit_code_of(self.sentinel)
        return UNKNOWN_EXIT_CODE if code is None else code

    # -- ending ------------------------------------------------------------------------------------------------------

    def _send_signal(self, number: int) -> None:
        if self.returncode is not None:
            return
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:  # it has become another user's program; if it is ending, that is as good
            if self.wait(timeout=0.1) is None:
                raise

    def interrupt(self) -> None:
        self._send_signal(signal.SIGINT)

    def terminate(self) -> None:
        self._send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Release the file descriptors."""
        if self.finalizer is not None:
            self.finalizer()


def _run_forked(process_obj: BaseProcess, ends: tuple[int, int] | None, parent_lifeline: int) -> NoReturn:
    """Be the child, and never come back: what called the fork belongs to the parent."""
    code = 1
    try:
        lifelines.close_inherited()
        lifelines.keep_in_child(ends)
        refresh_native_id()
        reset_exit_functions()
        reset_signals()
        code = process_obj._bootstrap(parent_sentinel=parent_lifeline)
    finally:
        leave(code)


def leave(code: int) -> NoReturn:
    """End a forked child: run its own exit functions, nothing of what was inherited."""
    try:
        atexit._run_exitfuncs()
        util._flush_std_streams()
    finally:
        os._exit(code & 0xFF)  # what the kernel would keep of it; a larger number must not bring the child back


def refresh_native_id() -> None:
    """In a forked child: the main thread has another number in the kernel, which not every interpreter notices."""
    threads: Any = sys.modules.get("threading")
    if threads is not None:
        threads.main_thread()._set_native_id()


def reset_exit_functions() -> None:
    """The parent's exit functions are not this process's; those it registers itself are run."""
    atexit._clear()
    atexit.register(util._exit_function)


def reset_signals() -> None:
    """Undo what an event loop of the parent had done: a child that ignores SIGTERM, or wakes the parent, is no use."""
    signal.set_wakeup_fd(-1)
    loops: Any = sys.modules.get("asyncio.unix_events")
    if loops is None:
        return
    sys.modules["asyncio.events"]._set_running_loop(None)
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if handler is getattr(loops, "_sighandler_noop", loops):
            signal.signal(number, signal.SIG_DFL)
        elif number == signal.SIGINT and _is_of_runner(handler):
            signal.signal(number, signal.default_int_handler)


def _is_of_runner(handler: Any) -> bool:
    """Whether it is what `asyncio.run` puts in the place of KeyboardInterrupt."""
    return getattr(getattr(handler, "func", None), "__name__", None) == "_on_sigint"
