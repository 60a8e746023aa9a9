"""The context for objects that are made without one. The package's `__init__`, which knows the contexts, says how to get it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["default_context", "set_source"]

_source: Callable[[], Any] | None = None


def set_source(source: Callable[[], Any]) -> None:
    """`source` loads the contexts, and returns the default one."""
    global _source
    _source = source


def default_context() -> Any:
    """The default context, as `phalanx.get_context()`."""
    assert _source is not None, "phalanx/__init__.py sets it"
    return _source()
