"""The watcher's process: it removes what a program has named in the system and not removed when it has ended.

It knows what the processes of the program write into its pipe, and that they are gone when the pipe has no writer left.
A message is `name NUL command NUL operand NUL newline`: no name holds a NUL, so a name may hold anything else.
"""

from __future__ import annotations

import _signal
import os
import sys

from phalanx._base import limits, segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

__all__ = ["CLEANUP_FUNCS", "IGNORED_SIGNALS", "Registry", "main", "message"]

# "noop" and "dummy" are kinds of nothing: what test suites register.
CLEANUP_FUNCS: dict[str, Callable[[str], object]] = {
    "noop": lambda name: None,
    "dummy": lambda name: None,
    "shared_memory": segments.shm_unlink,
}

IGNORED_SIGNALS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT)

_END = b"\0\n"


def message(command: str, name: str, operand: str) -> bytes:
    """What the watcher understands. ValueError for a name too long to be written at once, or with a NUL in it."""
    if "\0" in name:
        raise ValueError("embedded null character")
    encoded = b"\0".join((os.fsencode(name), command.encode(), operand.encode())) + _END
    if len(encoded) > limits.WATCHER_MESSAGE_MAX_BYTES:
        raise ValueError(f"a resource's name is too long to be tracked: {name[:40]!r}...")
    return encoded


def main(fd: int, root_fd: int = -1) -> NoReturn:
    """Read what is registered until every writer has gone; then remove what is left, and say so on stderr.

    `root_fd` is the lifeline of the program's first process, if that is not among the writers: it may still use what
    its children have made. The exit status is 1 if there was something to remove, else 0.
    """
    _leave_the_crowd()
    registry = Registry()
    for name, command, operand in _messages(fd):
        registry.obey(name, command, operand)
    if root_fd >= 0 and registry.left():
        _wait_readable(root_fd)
    left = registry.left()
    registry.remove(left)
    sys.stderr.flush()
    os._exit(1 if left else 0)


def _leave_the_crowd() -> None:
    """Ctrl-C, a terminal's end and a kill of the program's process group are the program's end, not the watcher's."""
    os.setsid()
    for number in IGNORED_SIGNALS:
        _signal.signal(number, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, IGNORED_SIGNALS)
    # Whoever reads the program's output waits for its end; stderr stays, for the warnings.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)


def _messages(fd: int) -> Iterator[list[str]]:
    rest = b""
    while data := os.read(fd, limits.WATCHER_READ_BYTES):
        *messages, rest = (rest + data).split(_END)
        for encoded in messages:
            yield os.fsdecode(encoded).split("\0")


def _wait_readable(fd: int) -> None:
    import select

    poller = select.poll()
    poller.register(fd, select.POLLIN)
    poller.poll()


class Registry:
    """What is registered: by type and name, with the file's identity: a later file of that name is not ours."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str | None] = {}
        self._expected: set[tuple[str, str]] = set()
        self._commands: dict[str, Callable[[str, str], object]] = {
            "REGISTER": lambda name, rtype: self._names.update({(rtype, name): _identity_of(rtype, name)}),
            "UNREGISTER": lambda name, rtype: self._names.pop((rtype, name), None),
            "EXPECT": lambda name, identity: self._expected.add((name, identity)),
            "UNEXPECT": lambda name, identity: self._expected.discard((name, identity)),
        }

    def obey(self, name: str, command: str, operand: str) -> None:
        """`operand` is a type, or the identity of a segment that is about to get its name."""
        self._commands[command](name, operand)

    def left(self) -> list[tuple[str, str]]:
        """(type, name) of what is there still. What processes have removed that could not tell the watcher is not."""
        names = {key for key, identity in self._names.items() if _is_left(*key, identity)}
        expected = {("shared_memory", name) for name, identity in self._expected if segments.identity(name) == identity}
        return sorted(names | expected)

    def remove(self, left: list[tuple[str, str]]) -> None:
        for rtype in sorted({rtype for rtype, _ in left}):
            names = [name for kind, name in left if kind == rtype]
            if rtype != "dummy":
                _warn(f"There appear to be {len(names)} leaked {rtype} objects to clean up at shutdown: {set(names)}")
            for name in names:
                try:
                    CLEANUP_FUNCS[rtype](name)
                except OSError as error:
                    _warn(f"{name!r}: {error}")


def _identity_of(rtype: str, name: str) -> str | None:
    return segments.identity(name) if rtype == "shared_memory" else None


def _is_left(rtype: str, name: str, identity: str | None) -> bool:
    """One that was not there when it was registered may have come since."""
    if rtype != "shared_memory":
        return True
    now = segments.identity(name)
    return now is not None and identity in (None, now)


def _warn(text: str) -> None:
    import warnings

    try:
        warnings.warn(f"resource_tracker: {text}", stacklevel=2)
    except UserWarning as error:  # the program runs with -W error
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
