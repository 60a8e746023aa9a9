"""C values, arrays and structures in shared memory, raw or with a lock: Value, Array, RawValue, RawArray.

Values and arrays of the simple types are the core's own types with a lock beside their data; everything else is a
ctypes object over a block of the arena, wrapped where it is to have a lock.
"""

from __future__ import annotations

import ctypes

from phalanx import _native
from phalanx._base.generic import Of
from phalanx.heap import BufferWrapper
from phalanx.reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, overload

    from phalanx._base.generic import T

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

typecode_to_type: dict[str, Any] = {
    "c": ctypes.c_char, "b": ctypes.c_byte, "B": ctypes.c_ubyte, "u": ctypes.c_wchar, "h": ctypes.c_short,
    "H": ctypes.c_ushort, "i": ctypes.c_int, "I": ctypes.c_uint, "l": ctypes.c_long, "L": ctypes.c_ulong,
    "q": ctypes.c_longlong, "Q": ctypes.c_ulonglong, "f": ctypes.c_float, "d": ctypes.c_double,
}  # fmt: skip

# The simple types that the core knows. bool has no typecode in the stdlib, so it is known by its type alone.
_code_of_type: dict[Any, str] = {kind: code for code, kind in typecode_to_type.items()} | {ctypes.c_bool: "?"}
_type_of_code: dict[str, Any] = {code: kind for kind, code in _code_of_type.items()} | typecode_to_type


def _type_of(typecode_or_type: Any) -> Any:
    """The ctypes type that is meant; TypeError for what is neither one nor a typecode."""
    kind = typecode_to_type.get(typecode_or_type, typecode_or_type)
    try:
        ctypes.sizeof(kind)
    except TypeError:
        *most, last = typecode_to_type
        raise TypeError(f"bad typecode (must be a ctypes type or one of {', '.join(most)} or {last})") from None
    return kind


# -- without a lock --------------------------------------------------------------------------------------------------


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """A ctypes object in shared memory, zero unless `args` say otherwise.

    TypeError for what is neither a typecode nor a ctypes type, and for what that type does not take.
    """
    obj = _new_value(_type_of(typecode_or_type))
    obj.__init__(*args)
    return obj


def RawArray(typecode_or_type: Any, size_or_initializer: int | Sequence[Any]) -> Any:
    """A ctypes array in shared memory: so many zeroes, or a sequence's items.

    TypeError for what is neither a typecode nor a ctypes type, for items that this type does not take, and for an
    initializer without a length; ValueError for a negative size.
    """
    kind = _type_of(typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new_value(kind * size_or_initializer)
    obj = _new_value(kind * len(size_or_initializer))
    obj.__init__(*size_or_initializer)
    return obj


def copy(obj: Any) -> Any:
    """A ctypes object in shared memory with the bytes of `obj`."""
    new = _new_value(type(obj))
    ctypes.memmove(ctypes.addressof(new), ctypes.addressof(obj), ctypes.sizeof(obj))
    return new


def _new_value(kind: Any) -> Any:
    return rebuild_ctype(kind, BufferWrapper(ctypes.sizeof(kind)), None)


def reduce_ctype(obj: Any) -> Any:
    """How a ctypes object in shared memory is handed over; one that is not in shared memory travels by its value.

    RuntimeError when nothing is being handed over.
    """
    wrapper = getattr(obj, "_wrapper", None)
    if wrapper is None:
        return obj.__reduce__()
    _assert_granting(type(obj).__name__)
    if isinstance(obj, ctypes.Array):
        return rebuild_ctype, (obj._type_, wrapper, obj._length_)
    return rebuild_ctype, (type(obj), wrapper, None)


def rebuild_ctype(kind: Any, wrapper: BufferWrapper, length: int | None) -> Any:
    """The object of type `kind` (an array of `length`, unless None) over the bytes of `wrapper`."""
    if length is not None:
        kind = kind * length
    ForkingPickler.register(kind, reduce_ctype)
    obj = kind.from_buffer(wrapper.create_memoryview())
    obj._wrapper = wrapper
    return obj


def _assert_granting(name: str) -> None:
    if not _native.is_granting():
        raise RuntimeError(f"{name} objects should only be shared between processes through inheritance")


# -- with a lock -----------------------------------------------------------------------------------------------------


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """A ctypes object in shared memory with a lock: a new RLock, or `lock`; without one if `lock` is False.

    AttributeError for a `lock` that has no `acquire`; else as RawValue.
    """
    code = _code_of_type.get(_type_of(typecode_or_type))
    if lock is False or code is None or len(args) > 1:
        obj = RawValue(typecode_or_type, *args)
        return obj if lock is False else synchronized(obj, _checked(lock), ctx=ctx)
    return _Cell(code, *args, lock=_checked(lock))


def Array(typecode_or_type: Any, size_or_initializer: int | Sequence[Any], *, lock: Any = True, ctx: Any = None) -> Any:
    """A ctypes array in shared memory with a lock: a new RLock, or `lock`; without one if `lock` is False.

    AttributeError for a `lock` that has no `acquire`; else as RawArray.
    """
    code = _code_of_type.get(_type_of(typecode_or_type))
    if lock is False or code is None:
        obj = RawArray(typecode_or_type, size_or_initializer)
        return obj if lock is False else synchronized(obj, _checked(lock), ctx=ctx)
    kind = _CellString if code == "c" else _CellArray
    return kind(code, _indexable(size_or_initializer), lock=_checked(lock))


def _checked(lock: Any) -> Any:
    """None for the default lock, or the user's own."""
    if lock is True or lock is None:
        return None
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return lock


def _indexable(size_or_initializer: Any) -> Any:
    """What the core can read by index; the stdlib takes everything that has a length."""
    if isinstance(size_or_initializer, (int, list, tuple, bytes, bytearray, str, range)):
        return size_or_initializer
    len(size_or_initializer)  # TypeError for an iterator, as in the stdlib
    return list(size_or_initializer)


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> Any:
    """A wrapper with a lock around a ctypes object: a new RLock unless `lock` is given."""
    assert not isinstance(obj, SynchronizedBase), "object already synchronized"
    if isinstance(obj, ctypes._SimpleCData):
        return Synchronized(obj, lock, ctx)
    if isinstance(obj, ctypes.Array):
        kind = SynchronizedString if obj._type_ is ctypes.c_char else SynchronizedArray
        return kind(obj, lock, ctx)
    return _wrapper_class(type(obj))(obj, lock, ctx)


_wrapper_classes: dict[Any, type[SynchronizedBase[Any]]] = {}


def _wrapper_class(kind: Any) -> type[SynchronizedBase[Any]]:
    """The wrapper of a structure or union: each of its fields, under the lock."""
    if kind not in _wrapper_classes:
        fields = [field[0] for base in kind.__mro__ for field in base.__dict__.get("_fields_", ())]
        members = {name: _locked_property(name) for name in fields}
        _wrapper_classes[kind] = type("Synchronized" + kind.__name__, (SynchronizedBase,), members)
    return _wrapper_classes[kind]


def _locked_property(name: str) -> property:
    def read(self: SynchronizedBase[Any]) -> Any:
        with self:
            return getattr(self._obj, name)

    def write(self: SynchronizedBase[Any], value: Any) -> None:
        with self:
            setattr(self._obj, name, value)

    return property(read, write)


class SynchronizedBase(Of["T"]):
    """A ctypes object with a lock; a context manager that holds the lock."""

    def __init__(self, obj: Any, lock: Any = None, ctx: Any = None) -> None:
        self._obj = obj
        self._lock = lock or _native.RLock()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *exc: object) -> Any:
        return self._lock.__exit__(*exc)

    def __reduce__(self) -> Any:
        _assert_granting(type(self).__name__)
        return synchronized, (self._obj, self._lock)

    def get_obj(self) -> Any:
        """The ctypes object itself: whoever uses it takes care of the lock."""
        return self._obj

    def get_lock(self) -> Any:
        """The lock that guards the object."""
        return self._lock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} wrapper for {self._obj}>"


class Synchronized(SynchronizedBase["T"]):
    """A value with a lock."""

    if TYPE_CHECKING:
        value: T
    else:
        value = _locked_property("value")


class SynchronizedArray(SynchronizedBase["T"]):
    """An array with a lock."""

    def __len__(self) -> int:
        return len(self._obj)

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> T: ...
        @overload
        def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: Any) -> Any:
        with self:
            return self._obj[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        with self:
            self._obj[index] = value

    def __getslice__(self, start: int, stop: int) -> Any:
        return self[start:stop]

    def __setslice__(self, start: int, stop: int, values: Any) -> None:
        self[start:stop] = values


class SynchronizedString(SynchronizedArray[bytes]):
    """An array of bytes with a lock: `value` ends at the first zero, `raw` is all of it."""

    value = _locked_property("value")
    raw = _locked_property("raw")


# -- the simple types: the core's own ----------------------------------------------------------------------------------


class _OverBlock:
    """What the core's types lack of their wrappers' interface: the ctypes object over the same memory, when needed."""

    if TYPE_CHECKING:

        @property
        def block(self) -> _native.Block: ...
        @property
        def typecode(self) -> str: ...
        def get_lock(self) -> Any: ...

    @property
    def _obj(self) -> Any:
        obj = self.__dict__.get("_made")
        if obj is None:
            kind = self._ctype()
            wrapper = BufferWrapper.over(self.block, ctypes.sizeof(kind))
            obj = self.__dict__["_made"] = rebuild_ctype(kind, wrapper, None)
        return obj

    @property
    def _lock(self) -> Any:
        return self.get_lock()

    def _ctype(self) -> Any:
        return _type_of_code[self.typecode]


class _Cell(_OverBlock, _native.Cell, Synchronized["Any"]):  # type: ignore[override]  # the core's methods come first
    def __repr__(self) -> str:
        return f"<Synchronized wrapper for {self._obj}>"


class _CellArray(_OverBlock, _native.CellArray, SynchronizedArray["Any"]):  # type: ignore[override]
    def _ctype(self) -> Any:
        return _type_of_code[self.typecode] * len(self)

    def __repr__(self) -> str:
        return f"<SynchronizedArray wrapper for {self._obj}>"


class _CellString(_CellArray, SynchronizedString):  # type: ignore[override]
    def __repr__(self) -> str:
        return f"<SynchronizedString wrapper for {self._obj}>"
