"""Children of a test that are killed, and what the arena holds afterwards."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from phalanx import _native


@dataclass(frozen=True)
class Child:
    """A forked child. Its end is reported to the arena by `reap`, or left for a sweep to find."""

    pid: int
    slot: int

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def reap(self, tell: bool = True) -> int:
        """Wait for its end: the exit code, negative for a signal."""
        _, status = os.waitpid(self.pid, 0)
        if tell:
            _native.slot_end(self.slot)
        return os.waitstatus_to_exitcode(status)


def fork(work: Callable[[], object], kill_point: str | None = None) -> Child:
    """A child that does `work` and ends, or dies at a kill point by the way."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _native.set_kill_point(kill_point)
            work()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    slot = _native.slot_of_last_fork()
    _native.slot_set_pid(slot, pid)
    return Child(pid, slot)


def die(work: Callable[[], object], kill_point: str, tell: bool = True) -> None:
    """A child does `work` and really dies at the kill point."""
    assert fork(work, kill_point).reap(tell) == -signal.SIGKILL, f"it did not die at {kill_point}"


def held() -> tuple[int, int, int]:
    """Blocks, leases and slots of the tree, once the dead have been looked after and what nobody refers to is gone."""
    gc.collect()
    _native.arena_sweep()
    stats = _native.arena_stats()
    return stats["blocks"], stats["leases"], stats["slots"]
