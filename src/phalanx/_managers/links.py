"""How the proxies of this process reach their servers: a connection for each thread, made at its first request.

The thread that serves a connection stands for the thread at this end, so that a manager's RLock knows its owner. A
request that comes while another of the same thread is under way (from a signal handler, from a collected proxy) takes a
second connection: requests never mix on one.
"""

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from phalanx import process
from phalanx._managers import protocol
from phalanx._managers.server import listener_client

__all__ = ["Link", "link_to"]


class Link:
    """The way to one server. Proxies and managers hold it; the connections go with the last of them."""

    def __init__(self, address: Any, authkey: bytes, serializer: str) -> None:
        self.address = address
        self.authkey = process.AuthenticationString(authkey)
        self._client = listener_client[serializer][1]
        self._per_thread = threading.local()

    def request(self, ident: str | None, method: str, args: Sequence[Any] = (), kwds: Mapping[str, Any] = {}) -> Any:
        """Send a request, return the reply: (kind, value).

        Raises OSError or EOFError if the server is gone, and whatever pickling raises.
        """
        free = self._free_connections()
        conn = free.pop() if free else self._client(self.address, authkey=self.authkey)
        try:
            conn.send((ident, method, args, kwds or None))  # without a dict it needs no pickler
        except OSError:
            conn.close()
            raise
        except Exception:  # could not be pickled: nothing was sent
            free.append(conn)
            raise
        try:
            reply = conn.recv()
        except BaseException:  # the reply may still come, and would be taken for the next one's
            conn.close()
            raise
        free.append(conn)
        return reply

    def call_server(self, function: str, *args: Any, **kwds: Any) -> Any:
        """Call a function of the server itself; its result. `RemoteError` if it raises."""
        kind, result = self.request(None, function, args, kwds)
        if kind == protocol.RETURN:
            return result
        raise protocol.convert_to_error(kind, result)

    def forget_connections(self) -> None:
        """In a forked child those that it has are the parent's; after the server's end they lead nowhere."""
        self._per_thread = threading.local()

    def _free_connections(self) -> list[Any]:
        try:
            return self._per_thread.free  # type: ignore[no-any-return]
        except AttributeError:
            free: list[Any] = []
            self._per_thread.free = free
            return free


_links: "weakref.WeakValueDictionary[tuple[Any, bytes, str], Link]" = weakref.WeakValueDictionary()
_links_lock = threading.Lock()


def link_to(address: Any, authkey: bytes, serializer: str) -> Link:
    """The link of this process to that server; nothing is connected yet."""
    key = (address, bytes(authkey), serializer)
    with _links_lock:
        link = _links.get(key)
        if link is None:
            link = _links[key] = Link(address, authkey, serializer)
        return link


def _after_fork_in_child() -> None:
    global _links_lock
    _links_lock = threading.Lock()
    for link in list(_links.values()):
        link.forget_connections()


os.register_at_fork(after_in_child=_after_fork_in_child)
