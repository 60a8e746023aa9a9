"""Finding what cannot be pickled: an error that says `.handler.lock` is understood at once."""

from __future__ import annotations

import copyreg
import itertools
import types

from phalanx._base import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["explain_pickling_error"]

# Pickled by name or by value: there is nothing inside to look at.
_LEAVES = (str, bytes, bytearray, int, float, complex, type(None), type, types.FunctionType, types.BuiltinFunctionType)


def explain_pickling_error(obj: object, error: BaseException, dumps: Callable[[Any], object]) -> None:
    """Make `error`, raised by `dumps(obj)`, say where in `obj` the object is that cannot be pickled.

    The exception stays the same object, so its type does too; what it said is still the beginning of what it says.
    """
    path = _Search(dumps, type(error)).path_of_culprit(obj)
    if not path:
        return
    where = f"{type(obj).__name__} object{path}"
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]} (found at {where})",)
    else:
        error.add_note(f"found at {where}")


class _Search:
    """Goes from an object that fails to a part of it that fails, as long as there is one."""

    def __init__(self, dumps: Callable[[Any], object], error_type: type[BaseException]) -> None:
        self._dumps = dumps
        self._error_type = error_type
        self._budget = limits.PICKLE_SEARCH_OBJECT_MAX_COUNT

    def path_of_culprit(self, obj: object) -> str:
        path = ""
        for _ in range(limits.PICKLE_SEARCH_DEPTH_MAX_COUNT):
            step = self._failing_part(obj)
            if step is None:
                break
            label, obj = step
            path += label
        return path

    def _failing_part(self, obj: object) -> tuple[str, object] | None:
        for label, part in itertools.islice(_parts(obj), self._budget):
            self._budget -= 1
            if part is not obj and self._fails(part):
                return label, part
        return None

    def _fails(self, part: object) -> bool:
        try:
            self._dumps(part)
        except self._error_type:
            return True
        except Exception:  # noqa: BLE001  # another fault than the one to explain
            return False
        return False


def _parts(obj: object) -> Iterator[tuple[str, object]]:
    """What pickling `obj` would pickle next, each with how one would write it behind the object's name."""
    if isinstance(obj, _LEAVES):
        return
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield f"[{_short(key)}]", value
            yield f".keys(): {_short(key)}", key
    elif isinstance(obj, (list, tuple)):
        for index, item in enumerate(obj):
            yield f"[{index}]", item
    elif isinstance(obj, (set, frozenset)):
        for item in obj:
            yield f".pop(): {_short(item)}", item
    elif isinstance(obj, types.MethodType):
        yield ".__self__", obj.__self__
    yield from _reduced_parts(obj)


def _reduced_parts(obj: object) -> Iterator[tuple[str, object]]:
    try:
        reduce = copyreg.dispatch_table.get(type(obj))
        reduced: Any = reduce(obj) if reduce else obj.__reduce_ex__(4)
    except Exception:  # noqa: BLE001  # this object is the culprit itself
        return
    if not isinstance(reduced, tuple):
        return
    _, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    yield from _state_parts(state)
    for index, argument in enumerate(arguments):
        yield f" (argument {index} of its constructor)", argument
    for index, item in enumerate(items or ()):
        yield f"[{index}]", item
    for key, value in pairs or ():
        yield f"[{_short(key)}]", value


def _state_parts(state: object) -> Iterator[tuple[str, object]]:
    """`state` is what `__getstate__` gave: the attributes, or a pair of those and of those in slots, or anything."""
    if isinstance(state, tuple) and len(state) == 2 and all(isinstance(half, (dict, type(None))) for half in state):
        state = {**(state[0] or {}), **(state[1] or {})}
    if isinstance(state, dict):
        for name, value in state.items():
            yield (f".{name}" if isinstance(name, str) else f"[{_short(name)}]"), value
    elif state is not None:
        yield ".__getstate__()", state


def _short(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 60 else f"{text[:57]}..."
