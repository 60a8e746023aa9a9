"""The interpreter that runs processes which are not forked, and the flags that make it behave as this one."""

from __future__ import annotations

import os
import sys

from phalanx._base.signals import plain as signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["command", "get_executable", "ignore_terminal", "set_executable", "shielded_from_terminal"]

# What a terminal sends to the whole group of processes, helpers included, which have to outlive the others.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


_executable: Any = sys.executable


def set_executable(exe: str | bytes | os.PathLike[Any] | None) -> None:
    """Use that interpreter for children that are not forked."""
    global _executable
    _executable = exe if exe is None else os.fspath(exe)


def get_executable() -> Any:
    """The interpreter for children that are not forked, as str or bytes."""
    return _executable


def command(program: str) -> list[Any]:
    """The command line that runs `program` in an interpreter with the flags of this one (-O, -W, -X and so on)."""
    import subprocess

    return [_executable, *subprocess._args_from_interpreter_flags(), "-c", program]  # type: ignore[attr-defined]


class shielded_from_terminal:  # used as a function
    """A helper process started inside begins with the terminal's signals blocked, until it calls `ignore_terminal`."""

    def __enter__(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def __exit__(self, *exc: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def ignore_terminal(*numbers: int) -> list[Any]:
    """In a helper process: ignore those signals of the terminal's, let the others come; the handlers there were."""
    handlers = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    return handlers
