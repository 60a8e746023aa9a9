"""How many CPUs this process may really use: its affinity, the quota of its cgroups, and the user's own limit."""

import os

from phalanx._base import limits

__all__ = ["available_cpus", "upwards", "words_of"]


def available_cpus() -> int:
    """CPUs that this process may use, at least 1: affinity and cgroup quota, cut by `PHALANX_MAX_WORKERS`.

    ValueError if that variable is set to anything but a whole number from 1.
    """
    bounds = [len(os.sched_getaffinity(0)), _quota_cpus(), _user_limit()]
    return max(1, min(bound for bound in bounds if bound is not None))


def _user_limit() -> int | None:
    text = os.environ.get("PHALANX_MAX_WORKERS", "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"PHALANX_MAX_WORKERS must be a whole number from 1, not {text!r}")
    return int(text)


def _quota_cpus() -> int | None:
    """The smallest quota on the way from this process's cgroup up to the root, rounded up; None without a quota."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    quotas = [quota for line in lines for quota in _quotas_of_line(line)]
    return min(quotas, default=None)


def _quotas_of_line(line: str) -> list[int]:
    """`line` of /proc/self/cgroup, `id:controllers:path`; version 2 has no controllers."""
    _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
    if not controllers:
        read, mounts = _quota_v2, [limits.CGROUP_MOUNT]
    elif "cpu" in controllers.split(","):
        read, mounts = _quota_v1, [f"{limits.CGROUP_MOUNT}/{controllers}", f"{limits.CGROUP_MOUNT}/cpu"]
    else:
        return []
    found = (read(mount + folder) for mount in mounts for folder in upwards(path))
    return [quota for quota in found if quota is not None]


def upwards(path: str) -> list[str]:
    """`/a/b` gives `/a/b`, `/a` and the root. In a container the path is the host's, and only the root is there."""
    parts = [part for part in path.split("/") if part and part != ".."]
    return ["".join(f"/{part}" for part in parts[:count]) for count in range(len(parts), -1, -1)]


def _quota_v2(folder: str) -> int | None:
    words = words_of(f"{folder}/cpu.max")
    return _rounded_up(words[0], words[1]) if len(words) == 2 else None


def _quota_v1(folder: str) -> int | None:
    quota, period = words_of(f"{folder}/cpu.cfs_quota_us"), words_of(f"{folder}/cpu.cfs_period_us")
    return _rounded_up(quota[0], period[0]) if quota and period else None


def _rounded_up(quota_us: str, period_us: str) -> int | None:
    if not (quota_us.isdecimal() and period_us.isdecimal() and int(period_us)):
        return None  # "max" in version 2 and -1 in version 1: no quota
    return -(-int(quota_us) // int(period_us))


def words_of(path: str) -> list[str]:
    """What a small file of the kernel says; nothing if it cannot be read."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except (OSError, ValueError):
        return []
