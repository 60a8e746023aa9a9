"""Functions of tasks, pickled once: by reference where the worker can import them, by value where it cannot."""

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType
from typing import Any

from phalanx import _native
from phalanx._base.limits import POOL_FUNCTION_CACHE_COUNT, POOL_FUNCTION_INLINE_MAX_BYTES
from phalanx._runtime.events import Pace
from phalanx.reduction import ForkingPickler, pickling_by

__all__ = ["Function", "Functions"]


@dataclass(slots=True)
class Function:
    """A function as a pool's workers know it: by number, and by its pickle."""

    number: int
    function: Callable[..., Any]
    inline: bytes
    """The pickle, if it is small; else empty, and the pickle is in `block`."""
    block: _native.Block | None
    size_bytes: int
    is_by_value: bool
    pace: Pace = field(default_factory=Pace)

    @property
    def name(self) -> str:
        return getattr(self.function, "__qualname__", None) or repr(self.function)


class Functions:
    """The functions of one pool. Those that are pickled by reference are remembered: their pickle never changes."""

    def __init__(self, *, children_run_main: bool) -> None:
        self._children_run_main = children_run_main
        self._numbers = itertools.count(1)
        self._known: dict[int, Function] = {}
        self.reducers: dict[Any, Any] = {}

    def get(self, function: Callable[..., Any]) -> Function:
        """The function to be sent. Raises whatever pickling it raises."""
        known = self._known.get(id(function))
        if known is not None:
            return known
        if self._must_be_by_value(function):
            return self.by_value(function)
        try:
            with pickling_by(self.reducers):
                pickled = bytes(ForkingPickler.dumps(function))
        except Exception as error:  # noqa: BLE001  # lambdas and closures raise what they like
            return self._by_value_or(function, error)
        made = self._make(function, pickled, is_by_value=False)
        if type(function) in (FunctionType, BuiltinFunctionType):
            self._remember(made)
        return made

    def by_value(self, function: Callable[..., Any], *, though_importable: bool = False) -> Function:
        """The function with its code, for workers that cannot import it."""
        import cloudpickle

        module = sys.modules.get(getattr(function, "__module__", "")) if though_importable else None
        if module is None or module.__name__ in cloudpickle.list_registry_pickle_by_value():
            return self._make(function, cloudpickle.dumps(function), is_by_value=True)
        cloudpickle.register_pickle_by_value(module)
        try:
            return self._make(function, cloudpickle.dumps(function), is_by_value=True)
        finally:
            cloudpickle.unregister_pickle_by_value(module)

    def forget(self, function: Function) -> None:
        """Workers cannot import it: next time it goes by value."""
        self._known.pop(id(function.function), None)

    def _by_value_or(self, function: Callable[..., Any], error: Exception) -> Function:
        """By value; where that fails too, plain pickle's error, which names what is at fault, is the better one."""
        try:
            return self.by_value(function)
        except Exception:  # noqa: BLE001
            raise error from None

    def _must_be_by_value(self, function: Callable[..., Any]) -> bool:
        return not self._children_run_main and getattr(function, "__module__", None) == "__main__"

    def _make(self, function: Callable[..., Any], pickled: bytes, *, is_by_value: bool) -> Function:
        size = len(pickled)
        if size <= POOL_FUNCTION_INLINE_MAX_BYTES:
            return Function(next(self._numbers), function, pickled, None, size, is_by_value)
        block = _native.Block(size)
        memoryview(block)[:] = pickled
        return Function(next(self._numbers), function, b"", block, size, is_by_value)

    def _remember(self, function: Function) -> None:
        while len(self._known) >= POOL_FUNCTION_CACHE_COUNT:
            del self._known[next(iter(self._known))]
        self._known[id(function.function)] = function


def children_can_run_main(start_method: str) -> bool:
    """Whether a child has what `__main__` has: it is forked, or runs the same file or module."""
    main = sys.modules.get("__main__")
    if start_method == "fork" or main is None:
        return True
    return getattr(main, "__file__", None) is not None or getattr(main, "__spec__", None) is not None
