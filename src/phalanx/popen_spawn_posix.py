"""The spawn start method: a fresh interpreter, which gets a description of what it is to be."""

from __future__ import annotations

import os

from phalanx import _native, popen_fork, spawn, util
from phalanx._base import lifelines
from phalanx._start import handover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from phalanx.process import BaseProcess

__all__ = ["Popen"]


class _DupFd:
    """A file descriptor in a child's description: the child inherits it under the same number."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def detach(self) -> int:
        return self.fd


class Popen(popen_fork.Popen):
    method = "spawn"
    DupFd = _DupFd

    def __init__(self, process_obj: BaseProcess) -> None:
        self._fds: list[int] = []
        super().__init__(process_obj)

    def duplicate_for_child(self, fd: int) -> int:
        """The child inherits `fd`, which must stay open until it has been started."""
        self._fds.append(fd)
        return fd

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
        ends = lifelines.ends_of_child()
        fds = {"arena": _native.arena_fd()}
        if ends:
            fds["lifeline"] = ends[1]
        try:
            description = handover.write_description(process_obj, self, slot, fds)
            try:
                arguments = spawn.get_command_line(pipe_handle=description, parent_pid=os.getpid())
                self.pid = util.spawnv_passfds(spawn.get_executable(), arguments, [*self._fds, description])
            finally:
                os.close(description)
        except BaseException:
            util.close_fds(*ends or ())
            raise
        self._slot = slot
        self._watch_child(ends)
