"""The interface of phalanx over threads: the same names, in one process."""

import array
import builtins
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from queue import Queue
from threading import Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore
from types import ModuleType
from typing import Any

from phalanx.dummy.connection import Pipe

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Pipe",
    "Pool",
    "Process",
    "Queue",
    "RLock",
    "Semaphore",
    "active_children",
    "current_process",
    "freeze_support",
]

JoinableQueue = Queue
dict = builtins.dict  # the names that a manager has
list = builtins.list
current_process = threading.current_thread

_children: "weakref.WeakKeyDictionary[threading.Thread, weakref.WeakSet[DummyProcess]]" = weakref.WeakKeyDictionary()


class DummyProcess(threading.Thread):
    """A thread with a process's interface, as far as a thread can have it."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(group, target, name, args, kwargs)
        self._pid = None
        self._start_called = False
        self._parent = current_process()

    def start(self) -> None:
        """Start the thread. RuntimeError unless called by the thread that made it, once."""
        if self._parent is not current_process():
            raise RuntimeError(f"Parent is {self._parent!r} but current_process is {current_process()!r}")
        self._start_called = True
        _children.setdefault(self._parent, weakref.WeakSet()).add(self)
        super().start()

    @property
    def exitcode(self) -> int | None:
        """0 once the thread has ended, None before."""
        return 0 if self._start_called and not self.is_alive() else None


Process = DummyProcess


def active_children() -> "list[DummyProcess]":
    """The live threads that the calling thread has started."""
    mine = _children.get(current_process(), weakref.WeakSet())
    for ended in [child for child in mine if not child.is_alive()]:
        mine.discard(ended)
    return [*mine]


def freeze_support() -> None:
    """Does nothing."""


class Namespace:
    """Attributes, and a repr that shows them."""

    def __init__(self, /, **kwds: Any) -> None:
        self.__dict__.update(kwds)

    def __repr__(self) -> str:
        shown = sorted(f"{name}={value!r}" for name, value in self.__dict__.items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(shown)})"


def Array(typecode: str, sequence: Iterable[Any], lock: object = True) -> "array.array[Any]":
    """An `array.array`; `lock` is not used."""
    return array.array(typecode, sequence)


class Value:
    """An object with a `value`; `typecode` and `lock` are not used."""

    def __init__(self, typecode: object, value: Any, lock: object = True) -> None:
        self._typecode = typecode
        self.value = value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._typecode!r}, {self.value!r})>"


def Manager() -> ModuleType:
    """This module: threads share their objects as they are."""
    return sys.modules[__name__]


def shutdown() -> None:
    """Does nothing; there for what calls it on a manager."""


def Pool(
    processes: int | None = None, initializer: Callable[..., object] | None = None, initargs: Iterable[Any] = ()
) -> Any:
    """A `phalanx.pool.ThreadPool`."""
    from phalanx.pool import ThreadPool

    return ThreadPool(processes, initializer, initargs)
