"""The objects of a server, with a count of the references that proxies hold."""

import os
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from phalanx._base import limits

__all__ = ["Entry", "ObjectTable", "all_methods", "public_methods"]

_REPR_MAX_CHARS = 75
_PREFIX_BYTES = 4


class Entry:
    """An object and what proxies may do with it.

    References of proxies inside the server are counted apart: objects may hold one another in a ring.
    """

    __slots__ = ("exposed", "inside_count", "key", "method_to_typeid", "obj", "reference_count")

    def __init__(self, obj: Any, exposed: frozenset[str], method_to_typeid: Mapping[str, str]) -> None:
        self.obj = obj
        self.exposed = exposed
        self.method_to_typeid = method_to_typeid
        self.key = (id(obj), exposed)
        self.reference_count = 0
        self.inside_count = 0


class ObjectTable:
    """Entries by ident. An ident is never used again, by no other server either: a stale proxy gets an error.

    An object that is added twice with the same methods keeps its ident. One that nobody refers to any more stays for
    `limits.UNREFERENCED_KEPT_S`: one may be on its way, in a pickle or to a child, whose sender has dropped its own.
    Objects are disposed of outside the table's lock, because that may run code which comes back here.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._prefix = os.urandom(_PREFIX_BYTES).hex()
        self._last_number = 0
        self._timer: threading.Timer | None = None
        self._entries: dict[str, Entry] = {}
        self._ident_by_key: dict[tuple[int, frozenset[str]], str] = {}
        self._unreferenced: dict[str, float] = {}  # ident: until when it stays; the oldest first

    def add(self, obj: Any, exposed: Iterable[str], method_to_typeid: Mapping[str, str]) -> str:
        """Store an object with one reference, which the caller owns; its ident."""
        entry = Entry(obj, frozenset(exposed), method_to_typeid)
        with self._lock:
            ident = self._ident_by_key.get(entry.key)
            if ident is None:
                self._last_number += 1
                ident = f"{self._prefix}{self._last_number:x}"
                self._entries[ident] = entry
                self._ident_by_key[entry.key] = ident
            self._entries[ident].reference_count += 1
            self._unreferenced.pop(ident, None)
            return ident

    def entry(self, ident: str) -> Entry:
        """KeyError for an object that is not, or no longer, here."""
        return self._entries[ident]

    def incref(self, ident: str, *, inside: bool = False) -> None:
        self._count(ident, 1, inside)

    def decref(self, ident: str, *, inside: bool = False) -> None:
        self._count(ident, -1, inside)

    def _count(self, ident: str, change: int, inside: bool) -> None:
        with self._lock:
            entry = self._entries[ident]
            if inside:
                entry.inside_count += change
            else:
                entry.reference_count += change
            self._unreferenced.pop(ident, None)
            if entry.reference_count <= 0 and entry.inside_count <= 0:
                self._unreferenced[ident] = time.monotonic() + limits.UNREFERENCED_KEPT_S
                self._call_sweep()
        self.sweep()

    def sweep(self) -> None:
        """Dispose of what nobody has referred to for long enough, or what is too much."""
        gone = []  # emptied after the lock is free
        with self._lock:
            now = time.monotonic()
            while self._unreferenced:
                ident, deadline = next(iter(self._unreferenced.items()))
                if deadline > now and len(self._unreferenced) <= limits.UNREFERENCED_MAX_COUNT:
                    break
                del self._unreferenced[ident]
                entry = self._entries.pop(ident)
                del self._ident_by_key[entry.key]
                gone.append(entry)

    def _call_sweep(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(limits.UNREFERENCED_KEPT_S, self._on_timer)
            self._timer.daemon = True
            self._timer.start()

    def _on_timer(self) -> None:
        self.sweep()
        with self._lock:
            self._timer = None
            if self._unreferenced:
                self._call_sweep()

    def __len__(self) -> int:
        """How many objects proxies outside refer to."""
        return len(self._referred())

    def describe(self) -> str:
        """One paragraph for each of these objects: ident, references, the beginning of its text."""
        return "\n".join(
            f"  {ident}:       refcount={entry.reference_count}\n    {str(entry.obj)[:_REPR_MAX_CHARS]}"
            for ident, entry in self._referred()
        )

    def _referred(self) -> list[tuple[str, Entry]]:
        with self._lock:
            return sorted(
                ((ident, entry) for ident, entry in self._entries.items() if entry.reference_count > 0),
                key=lambda item: item[0],
            )


def all_methods(obj: Any) -> list[str]:
    """The names of an object's callable attributes."""
    return [name for name in dir(obj) if callable(getattr(obj, name))]


def public_methods(obj: Any) -> list[str]:
    """Those that do not begin with an underscore."""
    return [name for name in all_methods(obj) if not name.startswith("_")]
