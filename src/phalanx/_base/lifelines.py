"""Lifelines: file descriptors that become readable when a process has ended, however it died and whoever reaps it.

A lifeline is a pidfd. Where the kernel has none it is a pipe's reading end, whose writing end only that process keeps.
"""

import os
import select
import time

from phalanx._base import limits

__all__ = [
    "adopt_root",
    "close_inherited",
    "ends_of_child",
    "exit_code_of",
    "is_readable",
    "keep_in_child",
    "of_child",
    "of_root",
    "own",
]

# From linux/pidfd.h: the ioctl that tells about a process, and what it tells about one that has been reaped.
_GET_INFO_TYPE = 0xFF
_GET_INFO_NUMBER = 11
_INFO_BYTES = 64
_INFO_EXIT = 1 << 3
_EXIT_STATUS_AT = 60  # mask, cgroup id (8 bytes each), pid, tgid, ppid, 8 ids (4 bytes each), exit status

_has_pidfds: bool | None = None
_own_pid, _own_fd, _own_writer = 0, -1, -1  # another pid means that a fork has made them the parent's
_root_fd = -1


def has_pidfds() -> bool:
    """Whether this kernel (and its filter of system calls) gives pidfds."""
    global _has_pidfds
    if _has_pidfds is None:
        try:
            os.close(os.pidfd_open(os.getpid()))
            _has_pidfds = True
        except OSError:
            _has_pidfds = False
    return _has_pidfds


def own() -> int:
    """This process's own lifeline, for its children to watch; made once."""
    global _own_pid, _own_fd, _own_writer, _root_fd
    pid = os.getpid()
    if _own_pid != pid:
        if _own_pid and _root_fd < 0:  # forked by the first process, whose this is
            _root_fd = _own_fd
        if has_pidfds():
            _own_fd, _own_writer = os.pidfd_open(pid), -1
        else:
            _own_fd, _own_writer = os.pipe()
        _own_pid = pid
    return _own_fd


def of_root() -> int | None:
    """The lifeline of the program's first process; None in that process itself."""
    if _root_fd < 0 and _own_pid not in (0, os.getpid()):
        return _own_fd  # inherited through a fork
    return _root_fd if _root_fd >= 0 else None


def adopt_root(fd: int) -> None:
    """In a child that is not forked: what its parent has handed over."""
    global _root_fd
    _root_fd = fd


def close_inherited() -> None:
    """In a forked child: let go of the parent's end, or the parent would seem to live as long as this child."""
    global _own_writer
    if _own_writer >= 0 and _own_pid != os.getpid():
        os.close(_own_writer)
        _own_writer = -1


def ends_of_child() -> tuple[int, int] | None:
    """What has to be made before a child starts: nothing with pidfds, else a pipe (reader, writer)."""
    return None if has_pidfds() else os.pipe()


def keep_in_child(ends: tuple[int, int] | None) -> None:
    """In a forked child: the writer stays open until the process ends."""
    if ends:
        os.close(ends[0])


def of_child(pid: int, ends: tuple[int, int] | None) -> int:
    """In the parent: the lifeline of the child that has been started, not yet reaped, with those ends."""
    if ends:
        os.close(ends[1])
        return ends[0]
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:  # SIGCHLD is ignored, so the kernel has reaped it already
        reader, writer = os.pipe()
        os.close(writer)
        return reader


def is_readable(fd: int, timeout_s: float | None) -> bool:
    """Wait until `fd` is readable or its other end is gone. None: for ever; 0 or less: only look."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    if timeout_s is None:
        return bool(poller.poll())
    deadline_s = time.monotonic() + timeout_s
    while timeout_s > limits.POLL_MAX_S:
        if poller.poll(limits.POLL_MAX_S * 1000):
            return True
        timeout_s = deadline_s - time.monotonic()
    return bool(poller.poll(max(timeout_s, 0.0) * 1000))


def exit_code_of(lifeline: int) -> int | None:
    """How a process ended that somebody else has reaped, as `Process.exitcode`; None where the kernel does not say."""
    import fcntl

    info = bytearray(_INFO_EXIT.to_bytes(8, "little").ljust(_INFO_BYTES, b"\0"))
    request = 0xC000_0000 | _INFO_BYTES << 16 | _GET_INFO_TYPE << 8 | _GET_INFO_NUMBER
    try:
        fcntl.ioctl(lifeline, request, info)
    except OSError:
        return None
    if not int.from_bytes(info[:8], "little") & _INFO_EXIT:
        return None
    return os.waitstatus_to_exitcode(int.from_bytes(info[_EXIT_STATUS_AT : _EXIT_STATUS_AT + 4], "little"))
