"""Which start method this program has chosen: once, unless it insists."""

import sys

__all__ = ["NAMES", "choose", "current", "default"]

NAMES = ("fork", "spawn", "forkserver")

_chosen: str | None = None


def default() -> str:
    """What the running interpreter's own package would use."""
    return "forkserver" if sys.version_info >= (3, 14) else "fork"


def current(allow_none: bool = False) -> str | None:
    """The method in use; asking fixes it, unless `allow_none`, which gives None while nothing is fixed."""
    global _chosen
    if _chosen is None and not allow_none:
        _chosen = default()
    return _chosen


def choose(name: str | None, force: bool = False) -> None:
    """Fix the method. RuntimeError if one is fixed already and not `force`; None with `force` makes it open again."""
    global _chosen
    if _chosen is not None and not force:
        raise RuntimeError("context has already been set")
    _chosen = name
