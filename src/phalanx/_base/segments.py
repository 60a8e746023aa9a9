"""Named shared memory as the system has it: files of a mount, which C programs reach by shm_open(3)."""

from __future__ import annotations

import errno
import os

__all__ = ["check_name", "create", "identity", "publish", "shm_open", "shm_unlink"]

MOUNT = "/dev/shm"
"""Where the C libraries of Linux keep segments, whatever the program."""

_NAME_MAX_BYTES = 255  # NAME_MAX of limits.h

_OPEN_FILES = "/proc/self/fd"


def check_name(name: str) -> None:
    """ValueError for a NUL in the name, OSError for one that no segment can have."""
    _path(name)


def _path(name: str) -> str:
    """ValueError for a NUL in the name, OSError for one that shm_open(3) refuses too."""
    if "\0" in name:
        raise ValueError("embedded null character")
    bare = name.lstrip("/")
    if bare in ("", ".", "..") or "/" in bare or len(os.fsencode(bare)) > _NAME_MAX_BYTES:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    return f"{MOUNT}/{bare}"


def _open_file(name: str, flags: int, mode: int = 0o777) -> int:
    path = _path(name)
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except OSError as error:
        raise _of_segment(error, name) from None


def _unlink_file(name: str) -> None:
    path = _path(name)
    try:
        os.unlink(path)
    except OSError as error:
        raise _of_segment(error, name) from None


def _of_segment(error: OSError, name: str) -> OSError:
    """The error as shm_open(3) would have it, of a name and not of a path; it says if there is no mount at all."""
    if error.errno == errno.ENOENT and not os.path.isdir(MOUNT):
        return OSError(errno.ENOENT, f"{MOUNT}, where named shared memory would be, is missing", name)
    return OSError(error.errno, os.strerror(error.errno or 0), name)


try:
    from _posixshmem import shm_open as _c_open
    from _posixshmem import shm_unlink as _c_unlink
except ImportError:  # an interpreter without that module: the C library would do the same
    _c_open, _c_unlink = _open_file, _unlink_file


def shm_open(name: str, flags: int, mode: int = 0o777) -> int:
    """A file descriptor of the segment. OSError (its number says why), ValueError for a NUL in the name."""
    _path(name)
    fd: int = _c_open(name, flags, mode)
    return fd


def shm_unlink(name: str) -> None:
    """Remove the name; the memory stays until nobody maps it. OSError, ValueError for a NUL in the name."""
    _path(name)
    _c_unlink(name)


def identity(name_or_fd: str | int) -> str | None:
    """What tells a segment from another one that got its name later; None if there is none of that name."""
    try:
        target = name_or_fd if isinstance(name_or_fd, int) else _path(name_or_fd)
        status = os.stat(target)
    except (OSError, ValueError):
        return None
    return f"{status.st_dev}:{status.st_ino}"


def create(mode: int) -> int:
    """A file descriptor of a segment without a name, which vanishes with its last user unless it is published.

    OSError where the system has no such files, or no way to give them a name.
    """
    os.stat(_OPEN_FILES)
    return os.open(MOUNT, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)


def publish(fd: int, name: str) -> None:
    """Give it that name, in one step, so that nobody can find it half-made. FileExistsError if the name is taken."""
    path = _path(name)
    try:
        # Only with a folder's descriptor, which an absolute path makes idle, does Python follow the link in /proc.
        os.link(f"{_OPEN_FILES}/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
    except OSError as error:
        raise _of_segment(error, name) from None
