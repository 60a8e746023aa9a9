"""How objects become bytes for another process, and how file descriptors travel beside them."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import sys
from _thread import _local
from abc import ABCMeta

from phalanx import _native
from phalanx._base import explain, picklers, spawning

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import IO, Any, Protocol

    Reducer = Callable[[Any], str | tuple[Any, ...]]

    class HasFileno(Protocol):
        def fileno(self) -> int: ...


__all__ = ["ForkingPickler", "dump", "recv_handle", "register", "send_handle"]

# Passing file descriptors works on every system that this package runs on.
HAVE_SEND_HANDLE = True

# Once, a receiver told the sender of descriptors that it had them; some system closed them too early otherwise.
ACKNOWLEDGE = False

PROTOCOL = pickle.HIGHEST_PROTOCOL


class ForkingPickler(pickle.Pickler):
    """A pickler that also knows the reducers registered here, for what is to be handed to another process."""

    _extra_reducers: dict[type, Reducer] = {}

    def __init__(self, file: Any, protocol: int | None = PROTOCOL, **options: Any) -> None:
        super().__init__(file, protocol, **options)
        self.dispatch_table = _reducers(self._extra_reducers)

    @classmethod
    def register(cls, type: type, reduce: Reducer) -> None:
        """Pickle objects of exactly that type as `reduce(obj)` says, which returns what `__reduce__` would."""
        cls._extra_reducers[type] = reduce

    @classmethod
    def dumps(cls, obj: Any, protocol: int | None = PROTOCOL) -> memoryview:
        """The pickle of `obj`. Errors say where in `obj` the object is that cannot be pickled."""
        if cls is ForkingPickler and protocol == PROTOCOL:
            return memoryview(_dumps(obj, in_band=True)[0])
        file = io.BytesIO()
        try:
            cls(file, protocol).dump(obj)
        except Exception as error:
            explain.explain_pickling_error(obj, error, lambda part: cls(io.BytesIO(), protocol).dump(part))
            raise
        return file.getbuffer()

    @classmethod
    def dumps_with_buffers(cls, obj: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
        """The pickle of `obj`, and the big buffers in it that the pickle does not contain; `loads` takes both."""
        data, buffers = _dumps(obj)
        return data, [pickle.PickleBuffer(buffer) for buffer in buffers]

    loads = staticmethod(pickle.loads)


register = ForkingPickler.register


def _dumps(obj: Any, in_band: bool = False) -> tuple[bytes, list[memoryview]]:
    """The pickle of `obj`, and those buffers in it, of `OUT_OF_BAND_BYTES` or more, that are not in it."""
    try:
        return picklers.dumps(obj, _reducers(ForkingPickler._extra_reducers), in_band)
    except Exception as error:
        explain_pickling_error(obj, error)
        raise


def dump(obj: Any, file: IO[bytes], protocol: int | None = PROTOCOL) -> None:
    """Pickle `obj` into a file, as `ForkingPickler.dumps`."""
    file.write(ForkingPickler.dumps(obj, protocol))


def explain_pickling_error(obj: object, error: BaseException) -> None:
    """For whoever pickles by other means: make `error` name the attribute of `obj` at fault, keeping its type."""
    explain.explain_pickling_error(obj, error, lambda part: ForkingPickler(io.BytesIO()).dump(part))


# -- reducers --------------------------------------------------------------------------------------------------------


class _OfThread(_local):
    """What a thread pickles by, for the time of one message, beyond what the process does."""

    reducers: dict[type, Reducer] = {}


_of_thread = _OfThread()


class pickling_by:  # used as a function
    """While the block runs, this thread pickles by these reducers before all others."""

    def __init__(self, reducers: dict[type, Reducer]) -> None:
        self._reducers = reducers

    def __enter__(self) -> None:
        self._outer, _of_thread.reducers = _of_thread.reducers, self._reducers

    def __exit__(self, *exc: object) -> None:
        _of_thread.reducers = self._outer


def _reducers(own: dict[type, Reducer]) -> dict[type, Reducer]:
    """Who pickles what, the later the stronger: copyreg's, ours, what libraries gave the stdlib, this thread's."""
    if "socket" in sys.modules:
        _know_sockets(sys.modules["socket"])
    stdlib = sys.modules.get("multiprocessing.reduction")
    if stdlib is None or stdlib.__name__ == __name__:
        return {**copyreg.dispatch_table, **own, **_of_thread.reducers}
    return {**copyreg.dispatch_table, **own, **_libraries_reducers(stdlib), **_of_thread.reducers}


def _libraries_reducers(stdlib: ModuleType) -> dict[type, Reducer]:
    """Without the stdlib's own for types that are not its own: their pickles would load the stdlib's package."""
    extra: dict[type, Reducer] = stdlib.ForkingPickler._extra_reducers
    return {known: reduce for known, reduce in list(extra.items()) if not _is_stdlib(reduce) or _is_stdlib(known)}


def _is_stdlib(obj: object) -> bool:
    return str(getattr(obj, "__module__", "")).startswith("multiprocessing.")


def _know_sockets(module: Any) -> None:
    """Sockets can be handed over from the moment somebody can have one."""
    ForkingPickler._extra_reducers.setdefault(module.socket, _reduce_socket)


def _reduce_socket(sock: socket.socket) -> tuple[Any, ...]:
    return _rebuild_socket, (DupFd(sock.fileno()), sock.family, sock.type, sock.proto)


def _rebuild_socket(duplicate: Any, family: int, kind: int, proto: int) -> socket.socket:
    import socket

    return socket.socket(family, kind, proto, fileno=duplicate.detach())


# -- for channels ----------------------------------------------------------------------------------------------------


def _from_channel(data: Any, buffers: list[Any]) -> Any:
    return pickle.loads(data, buffers=buffers)


_native.set_serializer(_dumps, _from_channel)


# -- file descriptors ------------------------------------------------------------------------------------------------


def DupFd(fd: int) -> Any:
    """Something to pickle in the place of `fd`: where it is unpickled, `detach()` gives a duplicate of it."""
    popen = spawning.get_spawning_popen()
    if popen is not None:
        return popen.DupFd(popen.duplicate_for_child(fd))
    from phalanx import resource_sharer

    return resource_sharer.DupFd(fd)


def sendfds(sock: socket.socket, fds: Iterable[int]) -> None:
    """Send file descriptors over a unix socket, with one byte that tells their number modulo 256."""
    import socket

    fds = list(fds)
    socket.send_fds(sock, [bytes([len(fds) % 256])], fds)


def recvfds(sock: socket.socket, size: int) -> list[int]:
    """Receive what `sendfds` sent, `size` at most. EOFError if the peer is gone, RuntimeError if some were lost."""
    import socket

    data, fds, _, _ = socket.recv_fds(sock, 1, size)
    if not data and not fds:
        raise EOFError
    for fd in fds:
        os.set_inheritable(fd, False)
    if not data or len(fds) % 256 != data[0]:
        for fd in fds:
            os.close(fd)
        raise RuntimeError(f"received {len(fds)} file descriptors of {data[0] if data else 0} (modulo 256)")
    return fds


def send_handle(conn: HasFileno, handle: int, destination_pid: int | None) -> None:
    """Send a file descriptor over a connection; the other side calls `recv_handle`. The pid is not needed here."""
    _tell(conn, "_before_sending_descriptors")
    with _socket_of(conn) as sock:
        sendfds(sock, [handle])
    _tell(conn, "_after_sending_descriptors")


def recv_handle(conn: HasFileno) -> int:
    """Receive a file descriptor over a connection, which then belongs to the caller."""
    _tell(conn, "_before_receiving_descriptors")
    with _socket_of(conn) as sock:
        fds = recvfds(sock, 1)
    if not fds:
        raise RuntimeError("the data came without a file descriptor")
    return fds[0]


def _socket_of(conn: HasFileno) -> socket.socket:
    import socket

    return socket.socket(fileno=os.dup(getattr(conn, "_descriptor", conn.fileno)()))


def _tell(conn: HasFileno, event: str) -> None:
    """Connections of this package keep descriptors apart from what else is in their sockets."""
    handler = getattr(conn, event, None)
    if handler is not None:
        handler()


# -- replacing it all ------------------------------------------------------------------------------------------------


class AbstractReducer(metaclass=ABCMeta):  # noqa: B024  # what a subclass leaves out is taken from here
    """The base of classes that may take this module's place through a context's `reducer`."""

    ForkingPickler = ForkingPickler
    register = register
    dump = dump
    send_handle = send_handle
    recv_handle = recv_handle
    DupFd = DupFd

    def __init__(self, *args: Any) -> None:
        for known, reduce in ForkingPickler._extra_reducers.items():
            register(known, reduce)


_reducer: Any = None


def current_reducer() -> Any:
    """What a program has put in this module's place, else this module."""
    return sys.modules[__name__] if _reducer is None else _reducer


def set_reducer(reducer: Any) -> None:
    """Let a program's `ForkingPickler` and `dump` prepare children from now on; None: this module's again."""
    global _reducer
    _reducer = reducer
