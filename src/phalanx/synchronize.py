"""Locks, semaphores, conditions, events and barriers: the core's types, which live in the arena, are the public ones.

What each does when a process dies is in native/sync/README.md.
"""

from __future__ import annotations

import abc
import threading

from phalanx import _native, process
from phalanx._native import SEM_VALUE_MAX, Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]

_ = SEM_VALUE_MAX  # programs take it from here


class SemLock(abc.ABC):  # noqa: B024
    """What locks and semaphores have in common, for `isinstance`: there is nothing to inherit from."""


for _type in (Lock, RLock, Semaphore):
    SemLock.register(_type)


def _owner_name() -> str:
    """What the calling thread is called in a lock's repr: its process's name, and its own unless it is the main one."""
    name = process.current_process().name
    thread = threading.current_thread().name
    return name if thread == "MainThread" else f"{name}|{thread}"


_native.set_owner_namer(_owner_name)
