"""What a test may leave behind: nothing. A census of this process before and after, and the difference in words."""

import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

SETTLE_S = 5.0
"""How long what is on its way out (threads, children, a fork server told to stop) may take after the test."""

POLL_S = 0.01

ARENA_KINDS = ("blocks", "leases", "slots")


def children() -> dict[int, str]:
    """pid -> state and command line of each child of this process, zombies too."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
            if int(parent) == os.getpid():
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
                found[int(pid)] = f"{state.decode()} {words[:120]}"
        except OSError:  # it has ended meanwhile
            continue
    return found


def fds() -> dict[int, str]:
    """fd -> what it is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the fd of the listing itself
            continue
    return found


def threads() -> dict[int, str]:
    """Kernel thread -> its name: Python's where it has one, else the kernel's. Those of the C core are among them."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    return {int(tid): names.get(int(tid), "not Python's") for tid in os.listdir("/proc/self/task")}


def shm() -> dict[str, str]:
    try:
        return {name: name for name in os.listdir("/dev/shm")}
    except OSError:
        return {}


CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000


def take_own_shm() -> bool:
    """Mount a /dev/shm for this process and its children alone, so that others' names there are not taken for theirs.

    False where that is not allowed: then names that come and go beside the tests may be blamed on them.
    """
    libc = ctypes.CDLL(None)
    if libc.unshare(CLONE_NEWNS) != 0:
        return False
    libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    mounted: int = libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"mode=1777")
    return mounted == 0


def is_used_by_strangers(name: str) -> bool:
    """Whether a process outside this one maps that file of /dev/shm: then it is somebody else's."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) != os.getpid():
            try:
                with open(f"/proc/{pid}/maps", errors="replace") as file:
                    if f"/dev/shm/{name}\n" in file.read():
                        return True
            except OSError:
                continue
    return False


def arena() -> dict[str, int]:
    """Counts of what the tree's arena holds; empty until an arena is open."""
    native: Any = sys.modules.get("phalanx._native")
    if native is None or not native.arena_is_open():
        return {}
    native.arena_sweep()
    stats = native.arena_stats()
    return {kind: stats[kind] for kind in ARENA_KINDS}


@dataclass(frozen=True)
class Census:
    """What this process holds at one moment."""

    fds: dict[int, str] = field(default_factory=fds)
    processes: dict[int, str] = field(default_factory=children)
    threads: dict[int, str] = field(default_factory=threads)
    shm: dict[str, str] = field(default_factory=shm)
    arena: dict[str, int] = field(default_factory=arena)

    def grown_since(self, before: "Census", ignored: Collection[str] = ()) -> dict[str, list[str]]:
        """kind -> what is here and was not there, in words; only kinds with something to say."""
        grown = {
            "fds": _new(self.fds, before.fds),
            "processes": _new(self.processes, before.processes),
            "threads": _new(self.threads, before.threads),
            "shm": [name for name in _new(self.shm, before.shm) if not is_used_by_strangers(name.split()[0])],
            "arena": [f"{kind}: {n - before.arena[kind]} more" for kind, n in self._arena_growth(before)],
        }
        return {kind: what for kind, what in grown.items() if what and kind not in ignored}

    def _arena_growth(self, before: "Census") -> list[tuple[str, int]]:
        return [(kind, n) for kind, n in self.arena.items() if before.arena and n > before.arena[kind]]


def _new(now: dict[Any, str], before: dict[Any, str]) -> list[str]:
    return [f"{key} ({what})" for key, what in now.items() if before.get(key) != what]


def settle(before: Census, tidy: Callable[[], None], ignored: Collection[str] = ()) -> dict[str, list[str]]:
    """What has been left behind since `before`, once all that is ending has had the time to end."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        gc.collect()  # first: tidying up forgets the finalizers of what is garbage and not collected yet
        tidy()
        gc.collect()
        left = Census().grown_since(before, ignored)
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_S)
