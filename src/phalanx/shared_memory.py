"""Named shared memory: segments that any program of the same user can attach to, and a list that is kept in one."""

from __future__ import annotations

import errno
import functools
import mmap
import operator
import os
import sys
import types

from phalanx import resource_tracker
from phalanx._base import limits, memory, segments
from phalanx._base.list_layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Generic, Self, TypeVar

    _T = TypeVar("_T", int, float, bool, str, bytes, None)

    class _ListOf(Generic[_T]): ...

else:

    class _ListOf:
        __class_getitem__ = classmethod(types.GenericAlias)


__all__ = ["ShareableList", "SharedMemory"]

_SHM_NAME_PREFIX = "/psm_"
_NAME_RANDOM_BYTES = 4
_USE_POSIX = True

_O_CREX = os.O_CREAT | os.O_EXCL


class _Unsaid(int):
    """The default of an argument that is shown as True but has another meaning than an explicit one."""

    def __repr__(self) -> str:
        return "True"


_TRACK_IF_CREATED: Any = _Unsaid(True)


class SharedMemory:
    """A block of memory with a name in the system, by which processes, also those of other programs, attach to it.

    With `create` a new one of `size` bytes (at least 1), under `name` or one that is made up; else the one of that
    name, and `size` is ignored. A segment outlives its makers until `unlink`, but a tracked one is removed when the
    whole program has ended, however it ended: by default those that this program creates. With an explicit
    `track=True` one that is attached is tracked too (the stdlib does that by default, so that the first program to end
    takes the segment from the others), with `track=False` none.

    The memory is reserved at once: MemoryError or OSError (ENOSPC) with the figures if there is not enough, where the
    stdlib's programs end by SIGBUS when they first write to it. FileExistsError and FileNotFoundError for a name that
    is taken or missing, ValueError for a size or name that cannot be, TypeError for another type.
    """

    _name: str
    _flags = os.O_RDWR
    _mode = 0o600
    _buf: memoryview | None = None
    _mmap: mmap.mmap | None = None

    def __init__(
        self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = _TRACK_IF_CREATED
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"'name' must be a str or None, not {type(name).__name__}")
        size = _checked_size(size, create)
        self._track = bool(track)
        if create:
            self._flags = _O_CREX | os.O_RDWR
            fd = self._create(name, size)
        else:
            fd = self._attach(name, track)
        try:
            self._map(fd)
        except BaseException:
            if create:
                self.unlink()
            raise
        finally:
            os.close(fd)

    def _attach(self, name: str | None, track: bool) -> int:
        if name is None:
            raise ValueError("'name' can only be None if create=True")
        self._name = "/" + name
        fd = segments.shm_open(self._name, self._flags, self._mode)
        if track and track is not _TRACK_IF_CREATED:
            resource_tracker.register(self._name, "shared_memory")
        return fd

    def _map(self, fd: int) -> None:
        self._size = os.fstat(fd).st_size
        self._mmap = _map_fd(fd, self._size)
        self._buf = memoryview(self._mmap)

    # -- making one --------------------------------------------------------------------------------------------------

    def _create(self, name: str | None, size: int) -> int:
        try:
            fd = segments.create(self._mode)
        except OSError:  # no file system for files without a name, or no /proc to name them by
            return self._under_free_name(name, lambda: self._create_named(size))
        try:
            _reserve(fd, size, name)
            self._under_free_name(name, lambda: self._publish(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _under_free_name(self, name: str | None, make: Callable[[], int]) -> int:
        """Do it under the name `name`, or under made-up ones until one is free."""
        if name is not None:
            self._name = "/" + name
            segments.check_name(self._name)
            return make()
        while True:
            self._name = _make_filename()
            try:
                return make()
            except FileExistsError:
                continue

    def _publish(self, fd: int) -> int:
        if not self._track:
            segments.publish(fd, self._name)
            return fd
        with resource_tracker.expecting(self._name, segments.identity(fd)):
            segments.publish(fd, self._name)
            resource_tracker.register(self._name, "shared_memory")
        return fd

    def _create_named(self, size: int) -> int:
        """The plain way: others may find it before it has its size, and a death right after its making leaves it."""
        if self._track:
            resource_tracker.ensure_running()
        fd = segments.shm_open(self._name, self._flags, self._mode)
        try:
            if self._track:
                resource_tracker.register(self._name, "shared_memory")
            _reserve(fd, size, self._name)
        except BaseException:
            os.close(fd)
            self.unlink()
            raise
        return fd

    # -- using it ----------------------------------------------------------------------------------------------------

    @property
    def buf(self) -> memoryview | None:
        """The memory; None once it has been closed."""
        return self._buf

    @property
    def name(self) -> str:
        """The name by which others attach to it."""
        return self._name.removeprefix("/")

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self._size

    def close(self) -> None:
        """Let go of the memory in this process; the segment stays. BufferError while something else still views it."""
        if self._buf is not None:
            self._buf.release()
            self._buf = None
        if self._mmap is not None:
            self._mmap.close()
            self._mmap = None

    def unlink(self) -> None:
        """Remove the name: nobody can attach any more, and the memory is freed when the last one has closed it.

        FileNotFoundError if that has happened before.
        """
        segments.shm_unlink(self._name)
        if self._track:
            resource_tracker.unregister(self._name, "shared_memory")

    def __enter__(self) -> Self:
        """The memory is closed at the end of the `with` block, not unlinked. (The stdlib's has no such use.)"""
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, False, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, size={self.size})"


def _make_filename() -> str:
    return _SHM_NAME_PREFIX + os.urandom(_NAME_RANDOM_BYTES).hex()


def _checked_size(size: Any, create: bool) -> int:
    try:
        size = operator.index(size)
    except TypeError:
        raise TypeError(f"'size' must be an integer, not {type(size).__name__}") from None
    if size < 0:
        raise ValueError("'size' must be a positive integer")
    if create and size == 0:
        raise ValueError("'size' must be a positive number different from zero")
    return int(size)


if sys.version_info >= (3, 13):

    def _map_fd(fd: int, size: int) -> mmap.mmap:
        return mmap.mmap(fd, size, trackfd=False)

else:

    def _map_fd(fd: int, size: int) -> mmap.mmap:
        return mmap.mmap(fd, size)


def _reserve(fd: int, size: int, name: str | None) -> None:
    """Give the segment its size, and every page of it memory, now."""
    if size > limits.SEGMENT_UNCHECKED_BYTES:
        _check_memory(size)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _mount_full(fd, size, name) from None
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        os.ftruncate(fd, size)


def _check_memory(size: int) -> None:
    """Where the limit is a cgroup's, reserving more ends the process, not the call."""
    available = memory.available_bytes()
    if available is not None and size > available:
        raise MemoryError(f"a shared memory segment of {size:,} bytes: only {available:,} bytes of memory are left")


def _mount_full(fd: int, size: int, name: str | None) -> OSError:
    mount = os.fstatvfs(fd)
    free = mount.f_bavail * mount.f_frsize
    reason = f"a shared memory segment of {size:,} bytes: only {free:,} bytes of {segments.MOUNT} are free"
    return OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {reason}", name)


class ShareableList(_ListOf["_T"]):
    """A list in shared memory, with a length and sizes of items that are fixed when it is made.

    `sequence` holds int (of 64 bits), float, bool, None, str and bytes (of up to 9,999,991 bytes); None attaches to the
    list in the segment `name`. Items can be replaced by others of any of these types; a str or bytes must fit into the
    storage that the item had at first, in UTF-8 and in whole words of 8 bytes, else ValueError. Nothing is locked:
    a reader may see an item half-replaced. Unlike the stdlib's, it keeps NULs at the end of a str or bytes.

    KeyError (a TypeError too) for other types, struct.error for an int too large, ValueError for a segment that holds
    no list.
    """

    shm: SharedMemory
    """The segment that the list lies in."""

    def __init__(self, sequence: Iterable[_T] | None = None, *, name: str | None = None) -> None:
        if name is None or sequence is not None:
            self._create(() if sequence is None else tuple(sequence), name)
        else:
            self._attach(name)

    def _create(self, values: tuple[Any, ...], name: str | None) -> None:
        self._layout = Layout.for_values(values)
        self.shm = SharedMemory(name, create=True, size=self._layout.size_bytes)
        try:
            self._layout.write_all(self._buffer(), values)
        except BaseException:
            self.shm.close()
            self.shm.unlink()
            raise

    def _attach(self, name: str) -> None:
        self.shm = SharedMemory(name)
        try:
            self._layout = Layout.of_buffer(self._buffer())
        except BaseException:
            self.shm.close()
            raise

    def _buffer(self) -> memoryview:
        buffer = self.shm.buf
        if buffer is None:
            raise TypeError("the list's shared memory has been closed")
        return buffer

    def _index(self, position: Any) -> int:
        """IndexError without words: the caller knows what was tried."""
        index = operator.index(position)
        if index < 0:
            index += self._layout.count
        if not 0 <= index < self._layout.count:
            raise IndexError
        return index

    def __getitem__(self, position: int) -> _T:
        try:
            index = self._index(position)
        except IndexError:
            raise IndexError("index out of range") from None
        item: _T = self._layout.read(self._buffer(), index)
        return item

    def __setitem__(self, position: int, value: _T) -> None:
        try:
            index = self._index(position)
        except IndexError:
            raise IndexError("assignment index out of range") from None
        self._layout.write(self._buffer(), index, value)

    def __len__(self) -> int:
        self._buffer()
        return self._layout.count

    def __iter__(self) -> Iterator[_T]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)}, name={self.shm.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), name=self.shm.name), ()

    @property
    def format(self) -> str:
        """The `struct` formats of all items, one behind the other."""
        return "".join(self._get_packing_format(index) for index in range(len(self)))

    def _get_packing_format(self, position: int) -> str:
        return self._layout.format_of(self._buffer(), self._index(position))

    def count(self, value: Any) -> int:
        """How many items equal `value`."""
        return sum(value == item for item in self)

    def index(self, value: Any) -> int:
        """The place of the first item that equals `value`. ValueError if there is none."""
        for index, item in enumerate(self):
            if value == item:
                return index
        raise ValueError(f"{value!r} not in this container")
