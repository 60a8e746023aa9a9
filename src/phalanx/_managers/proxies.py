"""The proxies of the types that a `SyncManager` offers."""

import time
from collections.abc import Callable, MutableMapping, MutableSequence, MutableSet
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from phalanx._base.generic import Of, OfPairs
from phalanx._managers.proxy import BaseProxy, MakeProxyType

if TYPE_CHECKING:
    from phalanx._base.generic import K, T, V  # noqa: F401  # named in brackets below

__all__ = [
    "AcquirerProxy",
    "ArrayProxy",
    "BarrierProxy",
    "ConditionProxy",
    "DictProxy",
    "EventProxy",
    "IteratorProxy",
    "ListProxy",
    "LockProxy",
    "NamespaceProxy",
    "PoolProxy",
    "SetProxy",
    "ValueProxy",
]


class IteratorProxy(BaseProxy):
    """An iterator or generator."""

    __module__ = "phalanx.managers"
    _exposed_ = ("__next__", "send", "throw", "close")

    def __iter__(self) -> Self:
        return self

    def __next__(self, *args: Any) -> Any:
        return self._callmethod("__next__", args)

    def send(self, *args: Any) -> Any:
        return self._callmethod("send", args)

    def throw(self, *args: Any) -> Any:
        return self._callmethod("throw", args)

    def close(self, *args: Any) -> Any:
        return self._callmethod("close", args)


class AcquirerProxy(BaseProxy):
    """Whatever is acquired and released."""

    __module__ = "phalanx.managers"
    _exposed_: tuple[str, ...] = ("acquire", "release", "locked")

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> Any:
        """True once acquired; False if that was not possible at once, or within `timeout` seconds."""
        return self._callmethod("acquire", (blocking,) if timeout is None else (blocking, timeout))

    def release(self) -> Any:
        return self._callmethod("release")

    def locked(self) -> Any:
        """Whether an acquire would have to wait."""
        return self._callmethod("locked")

    def __enter__(self) -> Any:
        return self._callmethod("acquire")

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> Any:
        return self._callmethod("release")


class LockProxy(AcquirerProxy):
    """A lock that knows whether its holder lives; once it has died, `acquire` raises `OwnerDied`."""

    __module__ = "phalanx.managers"
    _exposed_ = ("acquire", "release", "locked", "recover")

    def recover(self) -> Any:
        """What the lock guards is in order, although its holder has died: the lock is free again."""
        return self._callmethod("recover")


class ConditionProxy(AcquirerProxy):
    """A condition; each thread that uses it has its own place in the manager's process."""

    __module__ = "phalanx.managers"
    _exposed_ = ("acquire", "release", "locked", "wait", "notify", "notify_all")

    def wait(self, timeout: float | None = None) -> Any:
        return self._callmethod("wait", (timeout,))

    def notify(self, n: int = 1) -> Any:
        return self._callmethod("notify", (n,))

    def notify_all(self) -> Any:
        return self._callmethod("notify_all")

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until `predicate()`, called here, is true; its last result. `timeout` is in seconds."""
        result = predicate()
        deadline = None if timeout is None else time.monotonic() + timeout
        while not result:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result


class EventProxy(BaseProxy):
    __module__ = "phalanx.managers"
    _exposed_ = ("is_set", "set", "clear", "wait")

    def is_set(self) -> Any:
        return self._callmethod("is_set")

    def set(self) -> Any:
        return self._callmethod("set")

    def clear(self) -> Any:
        return self._callmethod("clear")

    def wait(self, timeout: float | None = None) -> Any:
        return self._callmethod("wait", (timeout,))


class BarrierProxy(BaseProxy):
    __module__ = "phalanx.managers"
    _exposed_ = ("__getattribute__", "wait", "abort", "reset")

    def wait(self, timeout: float | None = None) -> Any:
        return self._callmethod("wait", (timeout,))

    def abort(self) -> Any:
        return self._callmethod("abort")

    def reset(self) -> Any:
        return self._callmethod("reset")

    @property
    def parties(self) -> Any:
        return self._callmethod("__getattribute__", ("parties",))

    @property
    def n_waiting(self) -> Any:
        return self._callmethod("__getattribute__", ("n_waiting",))

    @property
    def broken(self) -> Any:
        return self._callmethod("__getattribute__", ("broken",))


class NamespaceProxy(BaseProxy):
    """Attributes; those that begin with an underscore are the proxy's own."""

    __module__ = "phalanx.managers"
    _exposed_ = ("__getattribute__", "__setattr__", "__delattr__")

    def __getattr__(self, key: str) -> Any:
        if key[0] == "_":
            return object.__getattribute__(self, key)
        return self._callmethod("__getattribute__", (key,))

    def __setattr__(self, key: str, value: Any) -> None:
        if key[0] == "_":
            object.__setattr__(self, key, value)
        else:
            self._callmethod("__setattr__", (key, value))

    def __delattr__(self, key: str) -> None:
        if key[0] == "_":
            object.__delattr__(self, key)
        else:
            self._callmethod("__delattr__", (key,))


class ValueProxy(BaseProxy, Of["T"]):
    __module__ = "phalanx.managers"
    _exposed_ = ("get", "set")

    def get(self) -> Any:
        return self._callmethod("get")

    def set(self, value: Any) -> Any:
        return self._callmethod("set", (value,))

    value = property(get, set)


BaseListProxy = MakeProxyType(
    "BaseListProxy",
    (
        "__add__", "__contains__", "__delitem__", "__getitem__", "__imul__", "__len__", "__mul__", "__reversed__",
        "__rmul__", "__setitem__", "append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove",
        "reverse", "sort",
    ),
)  # fmt: skip


class ListProxy(BaseListProxy, Of["T"]):  # type: ignore[misc,valid-type]
    __module__ = "phalanx.managers"

    def __iadd__(self, value: Any) -> Self:
        self._callmethod("extend", (value,))
        return self

    def __imul__(self, value: Any) -> Self:
        self._callmethod("__imul__", (value,))
        return self


_BaseDictProxy = MakeProxyType(
    "DictProxy",
    (
        "__contains__", "__delitem__", "__getitem__", "__ior__", "__iter__", "__len__", "__or__", "__reversed__",
        "__ror__", "__setitem__", "clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault",
        "update", "values",
    ),
)  # fmt: skip
_BaseDictProxy._method_to_typeid_ = {"__iter__": "Iterator"}  # type: ignore[attr-defined]


class DictProxy(_BaseDictProxy, OfPairs["K", "V"]):  # type: ignore[misc,valid-type]
    __module__ = "phalanx.managers"

    def __ior__(self, value: Any) -> Self:
        self._callmethod("__ior__", (value,))
        return self


_BaseSetProxy = MakeProxyType(
    "_BaseSetProxy",
    (
        "__and__", "__contains__", "__ge__", "__gt__", "__iand__", "__ior__", "__isub__", "__iter__", "__ixor__",
        "__le__", "__len__", "__lt__", "__or__", "__rand__", "__ror__", "__rsub__", "__rxor__", "__sub__", "__xor__",
        "add", "clear", "copy", "difference", "difference_update", "discard", "intersection", "intersection_update",
        "isdisjoint", "issubset", "issuperset", "pop", "remove", "symmetric_difference", "symmetric_difference_update",
        "union", "update",
    ),
)  # fmt: skip
_BaseSetProxy._method_to_typeid_ = {"__iter__": "Iterator"}  # type: ignore[attr-defined]


class SetProxy(_BaseSetProxy, Of["T"]):  # type: ignore[misc,valid-type]
    __module__ = "phalanx.managers"

    def __ior__(self, value: Any) -> Self:
        self._callmethod("__ior__", (value,))
        return self

    def __iand__(self, value: Any) -> Self:
        self._callmethod("__iand__", (value,))
        return self

    def __ixor__(self, value: Any) -> Self:
        self._callmethod("__ixor__", (value,))
        return self

    def __isub__(self, value: Any) -> Self:
        self._callmethod("__isub__", (value,))
        return self


ArrayProxy = MakeProxyType("ArrayProxy", ("__len__", "__getitem__", "__setitem__"))

BasePoolProxy = MakeProxyType(
    "PoolProxy",
    (
        "apply", "apply_async", "close", "imap", "imap_unordered", "join", "map", "map_async", "starmap",
        "starmap_async", "terminate",
    ),
)  # fmt: skip
BasePoolProxy._method_to_typeid_ = {  # type: ignore[attr-defined]
    "apply_async": "AsyncResult",
    "map_async": "AsyncResult",
    "starmap_async": "AsyncResult",
    "imap": "Iterator",
    "imap_unordered": "Iterator",
}


class PoolProxy(BasePoolProxy):  # type: ignore[misc,valid-type]
    __module__ = "phalanx.managers"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.terminate()


MutableSequence.register(BaseListProxy)
MutableMapping.register(_BaseDictProxy)
MutableSet.register(_BaseSetProxy)
