"""The errors of executors."""

from __future__ import annotations

import sys
from concurrent.futures import BrokenExecutor

__all__ = ["BrokenProcessPool", "broken"]

PUBLIC_MODULE = "phalanx.futures"

ABRUPTLY = "A process in the process pool was terminated abruptly while the future was running or pending."


class BrokenProcessPool(BrokenExecutor):
    """A worker ended in another way than it should: all that was running or pending is lost, and so is the executor."""

    __module__ = PUBLIC_MODULE


def broken(text: str, cause: BaseException | None = None) -> BrokenProcessPool:
    """The error to raise: where the stdlib's class of that name is loaded, it is one of those too."""
    error = _class_to_raise()(text)
    error.__cause__ = cause
    return error


def _class_to_raise() -> type[BrokenProcessPool]:
    stdlib = sys.modules.get("concurrent.futures.process")
    theirs = getattr(stdlib, "BrokenProcessPool", None)
    if theirs is None or issubclass(BrokenProcessPool, theirs):
        return BrokenProcessPool
    made = _known.get(theirs)
    if made is None:
        namespace = {"__module__": PUBLIC_MODULE, "__doc__": BrokenProcessPool.__doc__, "__reduce__": _reduce}
        made = _known[theirs] = type("BrokenProcessPool", (BrokenProcessPool, theirs), namespace)
    return made


def _reduce(self: BaseException) -> tuple[object, ...]:
    return broken, self.args


_known: dict[type, type[BrokenProcessPool]] = {}
