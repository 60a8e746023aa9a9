"""What a proxy and its server say to one another.

A request is (ident, method, args, kwds); ident is None for a function of the server itself. A reply is (kind, value):

    #RETURN          the result
    #PROXY           (exposed, token) of an object that the call has made; the caller owns one reference to it
    #ERROR           the exception that the method raised
    #TRACEBACK       the text of one that the server raised: no such object, method not exposed
    #UNSERIALIZABLE  the text of one raised while the reply was pickled
"""

from collections.abc import Mapping, Sequence
from typing import Any

from phalanx._base import errors

__all__ = [
    "ERROR",
    "PROXY",
    "RETURN",
    "TRACEBACK",
    "UNSERIALIZABLE",
    "RemoteError",
    "Token",
    "convert_to_error",
    "dispatch",
]

RETURN = "#RETURN"
PROXY = "#PROXY"
ERROR = "#ERROR"
TRACEBACK = "#TRACEBACK"
UNSERIALIZABLE = "#UNSERIALIZABLE"


class Token:
    """Names an object of a manager: its type's name, the server's address, the object's ident there."""

    __module__ = "phalanx.managers"
    __slots__ = ("address", "id", "typeid")

    def __init__(self, typeid: str, address: Any, id: str) -> None:
        self.typeid = typeid
        self.address = address
        self.id = id

    def __repr__(self) -> str:
        return f"{type(self).__name__}(typeid={self.typeid!r}, address={self.address!r}, id={self.id!r})"


class RemoteError(errors.RemoteError):
    """The server could not serve a request; `args[0]` is its traceback."""

    __module__ = "phalanx.managers"

    def __str__(self) -> str:
        line = "-" * 75
        return f"\n{line}\n{self.args[0]}{line}"


def dispatch(c: Any, id: str | None, methodname: str, args: Sequence[Any] = (), kwds: Mapping[str, Any] = {}) -> Any:
    """Call a method of an object behind the connection `c` (of the server itself if `id` is None); its result."""
    c.send((id, methodname, args, kwds))
    kind, result = c.recv()
    if kind == RETURN:
        return result
    try:
        raise convert_to_error(kind, result)
    finally:
        del result  # the traceback's frame would keep the exception alive


def convert_to_error(kind: str, result: Any) -> BaseException:
    """The exception to raise for a reply that is neither a result nor a proxy."""
    if kind == ERROR:
        return result if isinstance(result, BaseException) else RemoteError(f"{result!r}\n")
    if kind not in (TRACEBACK, UNSERIALIZABLE):
        return ValueError(f"Unrecognized message type {kind!r}")
    if not isinstance(result, str):
        return TypeError(f"Result {result!r} (kind '{kind}') type is {type(result)}, not str")
    return RemoteError(f"Unserializable message: {result}\n" if kind == UNSERIALIZABLE else result)
