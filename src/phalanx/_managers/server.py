"""The process side of a manager: a thread for each connection, calling methods of the objects in its table."""

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from phalanx import connection, process, util
from phalanx._base import limits
from phalanx._connection.listening import xml_connection
from phalanx._managers import protocol
from phalanx._managers.clients import Client, serving
from phalanx._managers.ledger import Ledger
from phalanx._managers.objects import ObjectTable, public_methods

__all__ = ["Registry", "Server", "listener_client"]

Registry = dict[str, tuple[Callable[..., Any] | None, Sequence[str] | None, Mapping[str, str] | None, Any]]

listener_client: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "pickle": (connection.Listener, connection.Client),
    "xmlrpclib": (connection.XmlListener, connection.XmlClient),
}

_ALREADY_ANSWERED = object()
_EXPECTED_ERRORS = (StopIteration, queue.Empty, queue.Full)


class Server:
    """Serves the types of a manager's registry at an address, to whoever has the key."""

    public = [
        "shutdown",
        "create",
        "accept_connection",
        "get_methods",
        "debug_info",
        "number_of_objects",
        "dummy",
        "incref",
        "decref",
    ]

    def __init__(self, registry: Registry, address: Any, authkey: bytes, serializer: str) -> None:
        if not isinstance(authkey, bytes):
            raise TypeError(f"Authkey {authkey!r} is type {type(authkey)!s}, not bytes")
        self.registry = registry
        self.authkey = process.AuthenticationString(authkey)
        self.objects = ObjectTable()
        self._ledger = Ledger()
        self.stop_event = threading.Event()
        self._wrap = xml_connection if serializer == "xmlrpclib" else _unwrapped
        self.listener = listener_client[serializer][0](address=address, backlog=128, authkey=self.authkey)
        self.address = self.listener.address

    # -- threads ------------------------------------------------------------------------------------------------------

    def serve_forever(self) -> None:
        """Serve until a client asks for the end, or the parent process has died; then raises SystemExit."""
        process.current_process()._manager_server = self  # type: ignore[attr-defined]
        try:
            _start_thread(self.accepter)
            _start_thread(self._watch_parent)
            self.stop_event.wait()
        except (KeyboardInterrupt, SystemExit):
            pass
        finally:
            self.listener._stop()
            sys.exit(0)

    def accepter(self) -> None:
        """Take connections; each is authenticated in a thread of its own, so that a silent client holds nobody up."""
        while not self.stop_event.is_set():
            try:
                conn = self.listener._accept_stranger()
            except OSError:
                if self.listener._listener is None:
                    return
                time.sleep(limits.ACCEPT_RETRY_S)
                continue
            _start_thread(self.handle_request, conn)

    def handle_request(self, conn: Any) -> None:
        """Authenticate a connection, then serve it to its end."""
        with conn:
            try:
                self.listener._authenticate(conn)
            except Exception as error:  # noqa: BLE001  # a stranger's fault is not ours
                util.info("connection refused: %r", error)
                return
            with serving(conn) as client:
                self._ledger.on_connected(client.pid)
                try:
                    self.serve_client(self._wrap(conn))
                finally:
                    self._return_references(client)

    def _return_references(self, client: Client) -> None:
        for ident in self._ledger.on_disconnected(client.pid, client.has_died):
            self.objects.decref(ident)

    def serve_client(self, conn: Any) -> None:
        """Answer the requests of one connection until it ends."""
        while not self.stop_event.is_set():
            try:
                reply = self._next_reply(conn)
                if reply is not _ALREADY_ANSWERED:
                    _send_reply(conn, reply)
            except (EOFError, OSError):
                return

    def _watch_parent(self) -> None:
        parent = process.parent_process()
        if parent is not None:
            connection.wait([parent.sentinel])
            self.stop_event.set()

    # -- requests -----------------------------------------------------------------------------------------------------

    def _next_reply(self, conn: Any) -> Any:
        try:
            request = conn.recv()
        except (EOFError, OSError):
            raise
        except Exception:  # noqa: BLE001  # the client gets it
            return protocol.TRACEBACK, traceback.format_exc()
        return self._reply_to(conn, request)

    def _reply_to(self, conn: Any, request: Any) -> Any:
        try:
            ident, methodname, args, kwds = request
            if ident is None:
                return self._call_own_function(conn, methodname, args, kwds or {})
            return self._call_method(conn, ident, methodname, args, kwds or {})
        except Exception:  # noqa: BLE001  # the client gets it
            return protocol.TRACEBACK, traceback.format_exc()

    def _call_own_function(self, conn: Any, name: str, args: Sequence[Any], kwds: Mapping[str, Any]) -> Any:
        if name not in self.public:
            raise AttributeError(f"{name!r} is no function of the server")
        result = getattr(self, name)(conn, *args, **kwds)
        return result if result is _ALREADY_ANSWERED else (protocol.RETURN, result)

    def _call_method(self, conn: Any, ident: str, name: str, args: Sequence[Any], kwds: Mapping[str, Any]) -> Any:
        entry = self.objects.entry(ident)
        if name not in entry.exposed:
            return protocol.RETURN, self._call_fallback(conn, ident, entry, name, args, kwds)
        try:
            result = getattr(entry.obj, name)(*args, **kwds)
        except BaseException as error:  # noqa: BLE001  # the client gets it, SystemExit too
            return protocol.ERROR, _with_remote_traceback(error)
        typeid = entry.method_to_typeid.get(name)
        if typeid is None:
            return protocol.RETURN, result
        new_ident, exposed = self.create(conn, typeid, result)
        return protocol.PROXY, (exposed, protocol.Token(typeid, self.address, new_ident))

    def _call_fallback(
        self, conn: Any, ident: str, entry: Any, name: str, args: Sequence[Any], kwds: Mapping[str, Any]
    ) -> Any:
        function = self.fallback_mapping.get(name)
        if function is None:
            raise AttributeError(
                f"method {name!r} of {type(entry.obj)!r} object is not in exposed={sorted(entry.exposed)!r}"
            )
        return function(self, conn, ident, entry.obj, *args, **kwds)

    def fallback_getvalue(self, conn: Any, ident: str, obj: Any) -> Any:
        return obj

    def fallback_str(self, conn: Any, ident: str, obj: Any) -> str:
        return str(obj)

    def fallback_repr(self, conn: Any, ident: str, obj: Any) -> str:
        return repr(obj)

    fallback_mapping = {"__str__": fallback_str, "__repr__": fallback_repr, "#GETVALUE": fallback_getvalue}

    # -- the server's own functions; `c` is the connection of the caller -----------------------------------------------

    def create(self, c: Any, typeid: str, /, *args: Any, **kwds: Any) -> tuple[str, tuple[str, ...]]:
        """Make an object of a registered type: (ident, exposed). The caller owns one reference."""
        function, exposed, method_to_typeid, _ = self.registry[typeid]
        if function is not None:
            obj = function(*args, **kwds)
        elif kwds or len(args) != 1:
            raise ValueError("Without callable, must have one non-keyword argument")
        else:
            (obj,) = args
        if method_to_typeid is not None and not isinstance(method_to_typeid, dict):
            raise TypeError(f"Method_to_typeid {method_to_typeid!r}: type {type(method_to_typeid)!s}, not dict")
        names = (*(public_methods(obj) if exposed is None else exposed), *(method_to_typeid or ()))
        ident = self.objects.add(obj, names, method_to_typeid or {})
        self._ledger.note(ident, 1)
        return ident, names

    def get_methods(self, c: Any, token: protocol.Token) -> tuple[str, ...]:
        return tuple(self.objects.entry(token.id).exposed)

    def incref(self, c: Any, ident: str) -> None:
        self.objects.incref(ident)
        self._ledger.note(ident, 1)

    def decref(self, c: Any, ident: str) -> None:
        self.objects.decref(ident)
        self._ledger.note(ident, -1)

    def number_of_objects(self, c: Any) -> int:
        return len(self.objects)

    def debug_info(self, c: Any) -> str:
        return self.objects.describe()

    def accept_connection(self, c: Any, name: str) -> None:
        """Names the thread that serves this connection."""
        threading.current_thread().name = name

    def dummy(self, c: Any) -> None:
        """Does nothing: shows that the server is there and that the key is right."""

    def shutdown(self, c: Any) -> Any:
        """Answer, then end the server."""
        try:
            c.send((protocol.RETURN, None))
        finally:
            self.stop_event.set()
        return _ALREADY_ANSWERED


def _start_thread(target: Callable[..., object], *args: Any) -> None:
    threading.Thread(target=target, args=args, daemon=True).start()


def _unwrapped(conn: Any) -> Any:
    return conn


def _send_reply(conn: Any, reply: Any) -> None:
    try:
        conn.send(reply)
    except OSError:
        raise
    except Exception:  # noqa: BLE001  # whatever pickling raises
        conn.send((protocol.UNSERIALIZABLE, traceback.format_exc()))


def _with_remote_traceback(error: BaseException) -> BaseException:
    """Add what was called here to an error of the user's code; one that merely answers the caller stays as it is."""
    frames = error.__traceback__ and error.__traceback__.tb_next
    if frames and not isinstance(error, _EXPECTED_ERRORS):
        error.add_note("In the manager's process:\n" + "".join(traceback.format_tb(frames)).rstrip())
    error.__traceback__ = None
    return error
