"""Bases of classes that are generic for type checkers. At run time they only take the brackets: `typing` stays out."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, TypeVar

    T = TypeVar("T")
    S = TypeVar("S")
    K = TypeVar("K")
    V = TypeVar("V")

    class Of(Generic[T]): ...

    class OfPairs(Generic[K, V]): ...

else:

    class Of:
        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))

    OfPairs = Of


__all__ = ["Of", "OfPairs"]
