"""Objects that live in a manager's process, and how results that cannot be pickled as they are travel."""

import array
from collections.abc import Iterable
from typing import Any

from phalanx import reduction

__all__ = ["Array", "Namespace", "Value"]


class Namespace:
    """Attributes, and a repr that shows the public ones."""

    __module__ = "phalanx.managers"

    def __init__(self, /, **kwds: Any) -> None:
        self.__dict__.update(kwds)

    def __repr__(self) -> str:
        shown = sorted(f"{name}={value!r}" for name, value in self.__dict__.items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(shown)})"


class Value:
    """An object with a `value`; the type code is kept for its repr only, and `lock` is not used."""

    __module__ = "phalanx.managers"

    def __init__(self, typecode: object, value: Any, lock: object = True) -> None:
        self._typecode = typecode
        self.value = value

    def get(self) -> Any:
        return self.value

    def set(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._typecode!r}, {self.value!r})"


def Array(typecode: str, sequence: Iterable[Any], lock: object = True) -> "array.array[Any]":
    """An `array.array`; `lock` is not used."""
    return array.array(typecode, sequence)


def rebuild_as_list(obj: Iterable[Any]) -> tuple[Any, ...]:
    return list, (list(obj),)


def reduce_array(a: "array.array[Any]") -> tuple[Any, ...]:
    return array.array, (a.typecode, a.tobytes())


reduction.ForkingPickler.register(array.array, reduce_array)
_empty: dict[Any, Any] = {}
for _view in (_empty.keys(), _empty.values(), _empty.items()):
    reduction.ForkingPickler.register(type(_view), rebuild_as_list)
