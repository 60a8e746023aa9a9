"""The base of all proxies, and the making of proxy types from lists of method names."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from phalanx import process, util
from phalanx._base.spawning import get_spawning_popen
from phalanx._managers import protocol
from phalanx._managers.links import Link, link_to

__all__ = [
    "AutoProxy",
    "BaseProxy",
    "MakeProxyType",
    "RebuildProxy",
    "give_reference",
    "proxy_type_of",
    "proxy_types",
]

proxy_types: dict[str, Any] = {}
"""What a manager class has registered last for each type's name: for proxies that have no manager beside them."""

_made_types: dict[tuple[str, tuple[str, ...]], "type[BaseProxy]"] = {}
_live: "weakref.WeakValueDictionary[int, BaseProxy]" = weakref.WeakValueDictionary()  # by id: a proxy may have no hash


class BaseProxy:
    """Stands for an object in a manager's process; holds one reference to it.

    Subclasses forward their methods with `_callmethod`. `str` shows the object's `repr`, `repr` shows the proxy.
    """

    __module__ = "phalanx.managers"

    def __init__(
        self,
        token: protocol.Token,
        serializer: str,
        manager: Any = None,
        authkey: bytes | None = None,
        exposed: Sequence[str] | None = None,
        incref: bool = True,
        manager_owned: bool = False,
    ) -> None:
        self._token = token
        self._id = token.id
        self._manager = manager
        self._serializer = serializer
        self._authkey = _key_for(authkey, manager)
        self._owned_by_manager = manager_owned
        self._link = link_to(token.address, self._authkey, serializer)
        self._close: util.Finalize | None = None
        if incref:
            self._incref()
        _live[id(self)] = self

    def _callmethod(self, methodname: str, args: Sequence[Any] = (), kwds: Mapping[str, Any] = {}) -> Any:
        """Call a method of the object; what it returns, or a proxy of that.

        Raises what the method raises, `RemoteError` if the method is not exposed or its result cannot be pickled,
        OSError or EOFError if the manager has ended.
        """
        kind, result = self._link.request(self._id, methodname, args, kwds)
        if kind == protocol.RETURN:
            return result
        if kind == protocol.PROXY:
            return self._proxy_of_result(*result)
        try:
            raise protocol.convert_to_error(kind, result)
        finally:
            del result  # the traceback's frame would keep the exception alive

    def _getvalue(self) -> Any:
        """A copy of the object."""
        return self._callmethod("#GETVALUE")

    def _proxy_of_result(self, exposed: Sequence[str], token: protocol.Token) -> Any:
        token.address = self._token.address  # the server may know itself by another name
        proxytype = proxy_type_of(token.typeid, self._manager)
        return give_reference(proxytype, token, self._serializer, self._manager, self._authkey, exposed)

    def _incref(self) -> None:
        if self._owned_by_manager:
            process.current_process()._manager_server.objects.incref(self._id, inside=True)  # type: ignore[attr-defined]
        else:
            self._link.call_server("incref", self._id)
        self._own_reference()

    def _own_reference(self) -> None:
        """There is a reference for this proxy: give it back at the end."""
        release: Callable[..., None] = _release
        holder: Any = self._link
        if self._owned_by_manager:
            release = _release_in_server
            holder = process.current_process()._manager_server  # type: ignore[attr-defined]
        self._close = util.Finalize(self, release, args=(holder, self._id), exitpriority=10)

    def _after_fork(self) -> None:
        """A child holds references of its own."""
        self._manager = None
        try:
            self._incref()
        except Exception as error:  # noqa: BLE001  # the first use of the proxy will say it better
            util.info("incref failed: %s", error)

    def __reduce__(self) -> tuple[Any, ...]:
        kwds: dict[str, Any] = {}
        if get_spawning_popen() is not None:
            kwds["authkey"] = self._authkey
        if getattr(self, "_isauto", False):
            kwds["exposed"] = self._exposed_  # type: ignore[attr-defined]
            return RebuildProxy, (AutoProxy, self._token, self._serializer, kwds)
        return RebuildProxy, (type(self), self._token, self._serializer, kwds)

    def __deepcopy__(self, memo: object) -> Any:
        return self._getvalue()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object, typeid {self._token.typeid!r} at {id(self):#x}>"

    def __str__(self) -> str:
        try:
            return str(self._callmethod("__repr__"))
        except Exception:  # noqa: BLE001  # a text is wanted, whatever happens
            return repr(self)[:-1] + "; '__str__()' failed>"


def give_reference(
    proxytype: Any, token: protocol.Token, serializer: str, manager: Any, authkey: bytes, exposed: Sequence[str]
) -> Any:
    """A proxy for an object to which the caller has a reference; that is the proxy's from here on."""
    if proxytype is AutoProxy or getattr(proxytype, "__init__", None) is BaseProxy.__init__:
        proxy = proxytype(token, serializer, manager=manager, authkey=authkey, exposed=exposed, incref=False)
        proxy._own_reference()
        return proxy
    proxy = proxytype(token, serializer, manager=manager, authkey=authkey, exposed=exposed)
    link_to(token.address, authkey, serializer).call_server("decref", token.id)
    return proxy


def RebuildProxy(func: Callable[..., Any], token: protocol.Token, serializer: str, kwds: dict[str, Any]) -> Any:
    """A proxy from its pickle. In the server's own process it counts its reference without a connection."""
    current = process.current_process()
    server = getattr(current, "_manager_server", None)
    if server is not None and server.address == token.address:
        kwds["manager_owned"] = True
    # A child that is being prepared counts its proxies in one go, once it has its key.
    incref = kwds.pop("incref", True) and not getattr(current, "_inheriting", False)
    return func(token, serializer, incref=incref, **kwds)


def MakeProxyType(name: str, exposed: Sequence[str]) -> type[BaseProxy]:
    """A subclass of `BaseProxy` that forwards the methods of `exposed`; the same one for the same arguments."""
    key = (name, tuple(exposed))
    made = _made_types.get(key)
    if made is None:
        namespace: dict[str, Any] = {method: _forwarder(method) for method in key[1]}
        namespace |= {"_exposed_": key[1], "__module__": BaseProxy.__module__}
        made = _made_types[key] = type(name, (BaseProxy,), namespace)
    return made


def AutoProxy(
    token: protocol.Token,
    serializer: str,
    manager: Any = None,
    authkey: bytes | None = None,
    exposed: Sequence[str] | None = None,
    incref: bool = True,
    manager_owned: bool = False,
) -> Any:
    """A proxy with the public methods of its object."""
    if exposed is None:
        exposed = link_to(token.address, _key_for(authkey, manager), serializer).call_server("get_methods", token)
    proxytype = MakeProxyType(f"AutoProxy[{token.typeid}]", exposed)
    proxy = proxytype(token, serializer, manager=manager, authkey=authkey, incref=incref, manager_owned=manager_owned)
    proxy._isauto = True  # type: ignore[attr-defined]
    return proxy


def proxy_type_of(typeid: str, manager: Any) -> Any:
    """The proxy type for a type's name: the manager's own, else what any manager class has registered."""
    if manager is not None:
        return manager._registry[typeid][-1]
    return proxy_types.get(typeid, AutoProxy)


def _key_for(authkey: bytes | None, manager: Any) -> Any:
    if authkey is not None:
        return process.AuthenticationString(authkey)
    return manager._authkey if manager is not None else process.current_process().authkey


def _forwarder(method: str) -> Callable[..., Any]:
    def forward(self: BaseProxy, /, *args: Any, **kwds: Any) -> Any:
        return self._callmethod(method, args, kwds)

    forward.__name__ = method
    forward.__qualname__ = f"BaseProxy.{method}"
    return forward


def _release(link: Link, ident: str) -> None:
    try:
        link.call_server("decref", ident)
    except Exception as error:  # noqa: BLE001  # the manager has ended, and the object with it
        util.debug("decref failed: %s", error)


def _release_in_server(server: Any, ident: str) -> None:
    try:
        server.objects.decref(ident, inside=True)
    except KeyError:
        util.debug("decref of an unknown object: %s", ident)


class _AfterFork:
    """Registered once for all proxies: in a child each takes a reference of its own."""

    def count_proxies(self) -> None:
        for proxy in list(_live.values()):
            proxy._after_fork()


_after_fork = _AfterFork()
util.register_after_fork(_after_fork, _AfterFork.count_proxies)
