"""The forkserver start method: a clean process, which has the program's modules loaded, forks the child."""

from __future__ import annotations

import os

from phalanx import _native, forkserver, popen_fork
from phalanx._base import lifelines, limits
from phalanx._start import handover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from phalanx.process import BaseProcess

__all__ = ["Popen"]


class _DupFd:
    """A file descriptor in a child's description: a place in the list of those that the child inherits."""

    def __init__(self, ind: int) -> None:
        self.ind = ind

    def detach(self) -> int:
        fds = forkserver.get_inherited_fds()
        assert fds is not None, "not in a child of the fork server"
        return fds[self.ind]


class Popen(popen_fork.Popen):
    method = "forkserver"
    DupFd = _DupFd

    def __init__(self, process_obj: BaseProcess) -> None:
        self._fds: list[int] = []
        super().__init__(process_obj)

    def duplicate_for_child(self, fd: int) -> int:
        """The child inherits `fd`, which must stay open until it has been started."""
        self._fds.append(fd)
        return len(self._fds) - 1

    def _launch(self, process_obj: BaseProcess) -> None:
        slot = _native.slot_reserve()
        try:
            self._start_child(process_obj, slot)
        except BaseException:
            _native.slot_end(slot)
            raise
        _native.slot_set_pid(slot, self.pid)
        self._slot = slot

    def _start_child(self, process_obj: BaseProcess, slot: int) -> None:
        description = handover.write_description(process_obj, self, slot, {})
        try:
            started = forkserver.connect_to_new_process([description, *self._fds], slot=slot)
        finally:
            os.close(description)
        self.pid, lifeline, self._report = started
        report_fd = self._report.fileno()
        if lifeline < 0:
            self._watch(report_fd)
        else:
            self._watch(lifeline, report_fd)

    def _exit_code(self, flag: int) -> int | None:
        if not lifelines.is_readable(self.sentinel, 0):
            return None
        code = None
        # The child is known to be dead, so its server is about to say how it died, unless that is dead or stopped.
        if lifelines.is_readable(self._report.fileno(), limits.EXIT_STATUS_TIMEOUT_S):
            code = self._report.exit_code()
        if code is None:
            code = lifelines.exit_code_of(self.sentinel)
        return popen_fork.UNKNOWN_EXIT_CODE if code is None else code
