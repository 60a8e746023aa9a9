"""How much memory this process may still take: the machine's, and what the limits of its cgroups leave."""

from __future__ import annotations

from phalanx._base import limits
from phalanx._base.cpus import upwards, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["available_bytes"]


def available_bytes() -> int | None:
    """Bytes that can be taken before the kernel kills; swap and what it can drop count. None if nobody knows."""
    machine = _numbers("/proc/meminfo")
    swap = machine.get("SwapFree:", 0) * 1024
    bounds = [left + swap for left in _left_in_groups()]
    if "MemAvailable:" in machine:
        bounds.append(machine["MemAvailable:"] * 1024 + swap)
    return min(bounds, default=None)


def _left_in_groups() -> list[int]:
    """What each limit on the way from this process's groups up to the root leaves."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found = (left(folder) for line in lines for left, folder in _groups_of_line(line))
    return [bytes_left for bytes_left in found if bytes_left is not None]


def _groups_of_line(line: str) -> list[tuple[Callable[[str], int | None], str]]:
    """`line` of /proc/self/cgroup, `id:controllers:path`; version 2 has no controllers."""
    _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
    if not controllers:
        return [(_left_v2, limits.CGROUP_MOUNT + folder) for folder in upwards(path)]
    if "memory" in controllers.split(","):
        return [(_left_v1, f"{limits.CGROUP_MOUNT}/memory{folder}") for folder in upwards(path)]
    return []


def _left_v2(folder: str) -> int | None:
    return _left(f"{folder}/memory.max", f"{folder}/memory.current", f"{folder}/memory.stat", "")


def _left_v1(folder: str) -> int | None:
    usage = f"{folder}/memory.usage_in_bytes"
    return _left(f"{folder}/memory.limit_in_bytes", usage, f"{folder}/memory.stat", "total_")


def _left(limit_path: str, usage_path: str, stat_path: str, prefix: str) -> int | None:
    """The limit less the usage, in which cached files do not count: the kernel drops them first."""
    limit, usage = _number(limit_path), _number(usage_path)
    if limit is None or usage is None:
        return None
    stat = _numbers(stat_path)
    cached = stat.get(f"{prefix}inactive_file", 0) + stat.get(f"{prefix}active_file", 0)
    return max(0, limit - usage + cached)


def _number(path: str) -> int | None:
    words = words_of(path)
    return int(words[0]) if words and words[0].isdecimal() else None  # "max" is no number: no limit


def _numbers(path: str) -> dict[str, int]:
    """A file of lines that are a name, a number, perhaps a unit."""
    try:
        with open(path, encoding="ascii") as file:
            lines = [line.split() for line in file]
    except (OSError, ValueError):
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
