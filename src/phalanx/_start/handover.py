"""What a child that is not forked gets from its parent: a file without a name that describes it, file descriptors."""

from __future__ import annotations

import os

from phalanx import _native, reduction, resource_tracker, spawn
from phalanx._base import lifelines, spawning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from phalanx.process import BaseProcess

__all__ = ["anonymous_file", "write_description"]


def write_description(process_obj: BaseProcess, popen: spawning.SpawningPopen, slot: int, fds: dict[str, int]) -> int:
    """A file descriptor of a file that says all that the child in that slot needs; `fds` are handed to it by name.

    The file is complete before the child exists: whatever cannot be pickled raises now, and no one waits for a reader.
    """
    data = spawn.get_preparation_data(process_obj.name)
    spawning.set_spawning_popen(popen)
    _native.granting_begin(slot)
    try:
        fds = {**fds, "parent": lifelines.own(), **_helper_fds()}
        data["slot"] = slot
        data["leader"] = process_obj._leader()
        data["fds"] = {name: popen.duplicate_for_child(fd) for name, fd in fds.items()}
        dumps = reduction.current_reducer().ForkingPickler.dumps
        return anonymous_file(dumps(data), dumps(process_obj))
    finally:
        _native.granting_end()
        spawning.set_spawning_popen(None)


def _helper_fds() -> dict[str, int]:
    fds = {"tracker": resource_tracker._resource_tracker.fd_if_running(), "root": lifelines.of_root()}
    return {name: fd for name, fd in fds.items() if fd is not None}


def anonymous_file(*parts: Any) -> int:
    """A file descriptor of a file with that content, to be read from its start."""
    fd = _open_anonymous()
    try:
        with open(fd, "wb", closefd=False) as file:
            file.writelines(parts)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_anonymous() -> int:
    try:
        return os.memfd_create("phalanx-child", os.MFD_CLOEXEC)
    except OSError:  # a filter of system calls forbids it
        import tempfile

        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
