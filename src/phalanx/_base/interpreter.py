"""The interpreter that runs processes which are not forked, and the flags that make it behave as this one."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["command", "get_executable", "set_executable"]

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
