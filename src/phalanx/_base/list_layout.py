"""How a `ShareableList` lies in its segment: as the stdlib's does, so that programs of both kinds can share one.

    8 bytes           the number of items, n
    (n + 1) * 8       where each item begins, from the start of the items; the last one: where they end
    ...               the items, each in a slot of a multiple of 8 bytes, padded with NULs
    n * 8             the format of each item, for `struct`
    n                 the code of each item: what its bytes mean

The stdlib's format of a str or bytes is its slot's (`16s`), and NULs at the end of a value are lost with the padding.
Here a value that ends in NULs has its own length as format, and a space behind it: `struct` passes over that, the
stdlib still reads such an item, and gives it the slot's format when it writes it.
"""

from __future__ import annotations

import struct
from types import NoneType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

__all__ = ["Layout", "UnstorableError"]

WORD_BYTES = 8

_TEXT_MAX_BYTES = 9_999_992
"""The longest slot of which the format fits into its 8 bytes: 7 digits and an `s`."""

_FORMATS = {int: "q", float: "d", bool: "xxxxxxx?", NoneType: "xxxxxx?x"}
_VALUE, _STR, _BYTES, _NONE = range(4)
_CODES = {int: _VALUE, float: _VALUE, bool: _VALUE, str: _STR, bytes: _BYTES, NoneType: _NONE}


class UnstorableError(TypeError, KeyError):
    """A value of a type that no list in shared memory can hold. (The stdlib raises a KeyError of the type.)"""

    def __str__(self) -> str:
        return str(self.args[0])


class Layout:
    """Where what lies in a list that has been made; the methods read and write it in a buffer."""

    def __init__(self, offsets: Sequence[int]) -> None:
        self._offsets = offsets
        self.count = len(offsets) - 1
        self._items_at = (self.count + 2) * WORD_BYTES
        self._formats_at = self._items_at + offsets[-1]
        self._codes_at = self._formats_at + self.count * WORD_BYTES
        self.size_bytes = self._codes_at + self.count

    @classmethod
    def for_values(cls, values: Sequence[Any]) -> Self:
        """Slots that hold those values. UnstorableError, ValueError for one that is too long."""
        offsets = [0]
        for value in values:
            offsets.append(offsets[-1] + _slot_bytes(value))
        return cls(offsets)

    @classmethod
    def of_buffer(cls, buffer: memoryview) -> Self:
        """As a list that is there says. ValueError if there is none."""
        (count,) = struct.unpack_from("q", buffer) if len(buffer) >= WORD_BYTES else (-1,)
        if not 0 <= count <= len(buffer) // WORD_BYTES - 2:
            raise ValueError("the segment holds no ShareableList")
        layout = cls(struct.unpack_from(f"{count + 1}q", buffer, WORD_BYTES))
        if layout.size_bytes > len(buffer) or list(layout._offsets) != sorted(layout._offsets):
            raise ValueError("the segment holds no ShareableList")
        return layout

    def write_all(self, buffer: memoryview, values: Sequence[Any]) -> None:
        """Fill a new segment."""
        struct.pack_into(f"{self.count + 2}q", buffer, 0, self.count, *self._offsets)
        for index, value in enumerate(values):
            self.write(buffer, index, value)

    def read(self, buffer: memoryview, index: int) -> Any:
        code = buffer[self._codes_at + index]
        if code == _NONE:
            return None
        field = self._field(buffer, index)
        (value,) = struct.unpack_from(field, buffer, self._items_at + self._offsets[index])
        if code == _VALUE:
            return value
        if not self._is_exact(field, index):
            value = value.rstrip(b"\0")
        return value.decode() if code == _STR else value

    def write(self, buffer: memoryview, index: int, value: Any) -> None:
        """Replace an item. UnstorableError, ValueError if it needs more than its slot; then nothing has changed."""
        field, data = self._packed(index, value)
        start = self._items_at + self._offsets[index]
        struct.pack_into("8s", buffer, self._formats_at + index * WORD_BYTES, field.encode())
        buffer[self._codes_at + index] = _CODES[type(value)]
        buffer[start : start + len(data)] = data

    def format_of(self, buffer: memoryview, index: int) -> str:
        """The format of the item as the stdlib writes it: of a str or bytes it is that of the whole slot."""
        field = self._field(buffer, index).rstrip()
        return f"{self._slot_bytes(index)}s" if field.endswith("s") else field

    def _packed(self, index: int, value: Any) -> tuple[str, bytes]:
        """The item's field in the table of formats, and all that goes into its slot."""
        kind = _checked_type(value)
        if kind in _FORMATS:
            return _FORMATS[kind], struct.pack(_FORMATS[kind], value)
        data, slot_bytes = _encoded(value), self._slot_bytes(index)
        if len(data) > slot_bytes:
            raise ValueError("bytes/str item exceeds available storage")
        return _text_field(data, slot_bytes), data.ljust(slot_bytes, b"\0")

    def _slot_bytes(self, index: int) -> int:
        return self._offsets[index + 1] - self._offsets[index]

    def _field(self, buffer: memoryview, index: int) -> str:
        start = self._formats_at + index * WORD_BYTES
        return bytes(buffer[start : start + WORD_BYTES]).rstrip(b"\0").decode()

    def _is_exact(self, field: str, index: int) -> bool:
        """Whether a text's format says how long it is; else it ends where the padding begins."""
        return field.endswith(" ") or int(field[:-1]) < self._slot_bytes(index)


def _text_field(data: bytes, slot_bytes: int) -> str:
    """With 7 digits there is no room for the space; then only a value that fills its slot loses the NULs at its end."""
    if not data.endswith(b"\0"):
        return f"{slot_bytes}s"
    return f"{len(data)}s "[:WORD_BYTES]


def _checked_type(value: Any) -> type:
    """Exactly one of the types, no subclass: it would come back as what it is not."""
    kind = type(value)
    if kind not in _CODES:
        raise UnstorableError(f"a ShareableList cannot hold {value!r}, a {kind.__qualname__}")
    return kind


def _encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _slot_bytes(value: Any) -> int:
    """The stdlib counts characters and adds one; a slot here is larger only where the text would not fit into that."""
    if _checked_type(value) in _FORMATS:
        return WORD_BYTES
    words = max(len(value) // WORD_BYTES + 1, -(-len(_encoded(value)) // WORD_BYTES))
    if words * WORD_BYTES > _TEXT_MAX_BYTES:
        raise ValueError(f"a ShareableList holds str and bytes of up to {_TEXT_MAX_BYTES - 1} bytes, not {len(value)}")
    return words * WORD_BYTES
