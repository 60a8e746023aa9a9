"""One command in a session of its own, with a time limit, after which nothing of it is left."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from tests import leaks

STACKS_S = 3.0
"""How long a process that has been told to print its stacks may take over that."""

ENDING_S = 1.5
"""How long helpers (a fork server, a watcher) may outlive the process that they served."""

PASSING_S = 0.5
"""A name in /dev/shm that is gone after this was somebody's who was just unlinking it."""

TAIL_BYTES = 6000
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Outcome:
    """How a command ended; `code` is None if its time was up."""

    code: int | None
    seconds: float
    output: str
    survivors: list[str]
    shm: list[str]


def adopt_orphans() -> None:
    """Whatever a command leaves running becomes a child of this process, and so can be found and ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path, limit_s: float) -> Outcome:
    before, begun = leaks.shm(), time.monotonic()
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    code = _wait(process, limit_s)
    seconds = time.monotonic() - begun
    survivors = [] if code is None else _outliving()
    _end_everything(process)
    text = output.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
    return Outcome(code, seconds, text, survivors, _abandoned(leaks.shm().keys() - before.keys()))


def _abandoned(names: AbstractSet[str]) -> list[str]:
    """Those names in /dev/shm that stay, and that no living process maps: others on this machine come and go there."""
    if names:
        time.sleep(PASSING_S)
    return sorted(name for name in leaks.shm().keys() & names if not leaks.is_used_by_strangers(name))


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
    try:
        process.wait(STACKS_S)
    except subprocess.TimeoutExpired:
        pass
    return None


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _outliving() -> list[str]:
    deadline = time.monotonic() + ENDING_S
    while True:
        _reap()
        left = list(leaks.children().values())
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(0.02)


def _end_everything(process: subprocess.Popen[bytes]) -> None:
    """The session's group first, then orphans that made groups of their own, until none is left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    while pids := list(leaks.children()):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        time.sleep(0.005)
