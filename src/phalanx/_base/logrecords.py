"""The right `%(processName)s` in log records of child processes, without the package that `logging` looks for."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

__all__ = ["tell_process_name"]

_UNTOLD = "MainProcess"  # what logging says when it does not know better

_get_name: Callable[[], str]
_factory: object = None  # ours, once it is set
_finder: object = None


def tell_process_name(get_name: Callable[[], str]) -> None:
    """From now on records carry `get_name()`, now if `logging` is loaded, else as soon as it is."""
    global _get_name, _finder
    _get_name = get_name
    if "logging" in sys.modules:
        _wrap_record_factory(sys.modules["logging"])
    elif _finder is None:
        _finder = _LoggingFinder()
        sys.meta_path.insert(0, _finder)


def _wrap_record_factory(logging: ModuleType) -> None:
    """Another factory set later, which calls the one before it as the documentation advises, keeps this one working."""
    global _factory
    make_record = logging.getLogRecordFactory()
    if make_record is _factory:
        return

    def make_named_record(*args: Any, **kwargs: Any) -> logging.LogRecord:  # type: ignore[name-defined]
        record = make_record(*args, **kwargs)
        if record.processName == _UNTOLD:
            record.processName = _get_name()
        return record

    _factory = make_named_record
    logging.setLogRecordFactory(make_named_record)


class _LoggingFinder:
    """Stands first in `sys.meta_path` until `logging` is imported, and then steps aside."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find_spec(name, path, target) if find_spec else None
            if spec is not None:
                _wrap_after_loading(spec)
                return spec
        return None


def _wrap_after_loading(spec: ModuleSpec) -> None:
    loader: Any = spec.loader
    exec_module = loader.exec_module

    def exec_and_wrap(module: ModuleType) -> None:
        del loader.exec_module
        exec_module(module)
        _wrap_record_factory(module)

    loader.exec_module = exec_and_wrap
