"""The process classes: one for each start method, and `Process`, which uses the method that the program has chosen."""

from __future__ import annotations

from phalanx import process
from phalanx._base import start_method

TYPE_CHECKING = False
if TYPE_CHECKING:
    from phalanx.popen_fork import Popen

__all__ = ["ForkProcess", "ForkServerProcess", "Process", "SpawnProcess", "launch"]


class Process(process.BaseProcess):
    """A process started by the program's start method (`set_start_method`, or the interpreter's default)."""

    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> Popen:
        return launch(start_method.current() or start_method.default(), process_obj)


class ForkProcess(process.BaseProcess):
    """A process that is a fork of this one, with all that is in its memory."""

    _start_method = "fork"

    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> Popen:
        return launch("fork", process_obj)


class SpawnProcess(process.BaseProcess):
    """A process that is a fresh interpreter; target and arguments are pickled for it."""

    _start_method = "spawn"

    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> Popen:
        return launch("spawn", process_obj)


class ForkServerProcess(process.BaseProcess):
    """A process forked from a clean server process; target and arguments are pickled for it."""

    _start_method = "forkserver"

    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> Popen:
        return launch("forkserver", process_obj)


def launch(method: str, process_obj: process.BaseProcess) -> Popen:
    """Start a child by that method."""
    if method == "fork":
        from phalanx.popen_fork import Popen
    elif method == "spawn":
        from phalanx.popen_spawn_posix import Popen
    else:
        from phalanx.popen_forkserver import Popen
    return Popen(process_obj)
