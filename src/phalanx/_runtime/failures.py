"""A remote exception and its traceback, on the way from a worker to the caller."""

import pickle
from typing import Any

from phalanx._base.errors import RemoteError
from phalanx.reduction import ForkingPickler

__all__ = [
    "ExceptionWithTraceback",
    "MaybeEncodingError",
    "RemoteTraceback",
    "encoding_failure",
    "original_error",
    "pack_failure",
    "rebuild_exc",
    "unpack_failure",
]

PUBLIC_MODULE = "phalanx.pool"


class RemoteTraceback(Exception):
    """The cause of an exception that came out of a worker: `tb` is the traceback there, as text."""

    __module__ = PUBLIC_MODULE

    def __init__(self, tb: str) -> None:
        super().__init__(tb)
        self.tb = tb

    def __str__(self) -> str:
        return self.tb


class ExceptionWithTraceback:
    """An exception that, pickled and unpickled, comes back with its traceback (as text) as its cause."""

    __module__ = PUBLIC_MODULE

    def __init__(self, exc: BaseException, tb: Any) -> None:
        self.exc = exc
        self.tb = _quoted(_traceback_text(exc.with_traceback(tb)))
        # The frames would keep alive what the task had.
        exc.__traceback__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_exc, (self.exc, self.tb)


def rebuild_exc(exc: BaseException, tb: str) -> BaseException:
    """`exc` with the remote traceback as its cause."""
    exc.__cause__ = RemoteTraceback(tb)
    return exc


rebuild_exc.__module__ = PUBLIC_MODULE


class MaybeEncodingError(Exception):
    """A result could not be pickled: `exc` and `value` are the error and the result, as text."""

    __module__ = PUBLIC_MODULE

    def __init__(self, exc: object, value: object) -> None:
        self.exc = repr(exc)
        self.value = repr(value)
        self.packed: bytes | None = None
        super().__init__(self.exc, self.value)

    def __str__(self) -> str:
        return f"Error sending result: '{self.value}'. Reason: '{self.exc}'"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


def encoding_failure(error: BaseException, value: object) -> MaybeEncodingError:
    """The error for a result that could not be pickled; `original_error` has what pickling raised."""
    made = MaybeEncodingError(error, value)
    made.packed = pack_failure(error)
    return made


def original_error(error: MaybeEncodingError) -> BaseException:
    """What pickling the result raised, with the remote traceback as its cause."""
    return error if error.packed is None else unpack_failure(error.packed)


def pack_failure(error: BaseException) -> bytes:
    """An exception as bytes, whatever it holds. Drops its traceback, whose frames keep alive what the task had."""
    text = _quoted(_traceback_text(error))
    error.__traceback__ = None
    try:
        pickled: bytes | None = bytes(ForkingPickler.dumps(error))
    except Exception:  # noqa: BLE001  # whatever the exception's own __reduce__ raises
        pickled = None
    return pickle.dumps((pickled, _type_name(error), _safe_str(error), text))


def unpack_failure(data: bytes) -> BaseException:
    """The exception that `pack_failure` was given, or a RemoteError about it; its cause is the remote traceback."""
    pickled, type_name, message, text = pickle.loads(data)
    error: object = None
    if pickled is not None:
        try:
            error = pickle.loads(pickled)
        except Exception:  # noqa: BLE001  # an __init__ with other arguments, a class that is not here...
            error = None
    if not isinstance(error, BaseException):
        error = RemoteError(f"{type_name}: {message}\n{text}")
    return rebuild_exc(error, text)


def _traceback_text(error: BaseException) -> str:
    import traceback

    try:
        return "".join(traceback.format_exception(error))
    except Exception as own:  # noqa: BLE001  # an exception whose __str__ or attributes raise
        return f"{_type_name(error)} (its traceback cannot be shown: {own!r})\n"


def _quoted(text: str) -> str:
    return f'\n"""\n{text}"""'


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _safe_str(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001
        return "(its text cannot be shown)"
