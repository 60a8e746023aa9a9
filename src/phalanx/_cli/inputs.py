"""What the function is called with: one input after the other, read when the pool has room for it."""

import fnmatch
import glob
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

from phalanx._cli.usage import CommandError

__all__ = ["InFlight", "Inputs", "gather"]


@dataclass
class Inputs:
    texts: Iterable[str]
    count: int | None
    """How many there are; None for those that are read on demand."""


def gather(texts: list[str], source: str | None, pattern: str | None, exclude: list[str]) -> Inputs:
    """The arguments, then the lines of `source`, then the files that match. CommandError if something is not there."""
    if not texts and source is None and pattern is None:
        raise CommandError("there are no inputs: name them, or use --from FILE or --glob PATTERN")
    known = texts if pattern is None else texts + matching_files(pattern, exclude)
    if source is None:
        return Inputs(known, len(known))
    return Inputs(itertools.chain(known, lines(open_source(source))), None)


def matching_files(pattern: str, exclude: list[str]) -> list[str]:
    """All at once, and sorted: so that two runs agree, and progress knows the end."""
    found = filter(os.path.isfile, glob.iglob(pattern, recursive=True))
    files = sorted(path for path in found if not any(fnmatch.fnmatch(path, other) for other in exclude))
    if not files:
        raise CommandError(f"no file matches {pattern!r}")
    return files


def open_source(name: str) -> TextIO:
    """Bytes that are no UTF-8 pass through unharmed, as they do in arguments: they may be part of a file's name."""
    if name == "-" and sys.stdin is None:
        raise CommandError("standard input is closed")
    try:
        # Not sys.stdin: closing that at exit would wait for a thread that is still reading from it.
        file = 0 if name == "-" else name
        return open(file, encoding="utf-8", errors="surrogateescape", newline="\n", closefd=file != 0)
    except OSError as error:
        raise CommandError(f"cannot read {name!r}: {error.strerror}") from None


def lines(file: TextIO) -> Iterator[str]:
    for line in file:
        yield line.removesuffix("\n").removesuffix("\r")


class InFlight:
    """Hands out numbered inputs, and remembers those whose results are still awaited.

    The pool iterates, perhaps in a thread of its own; the main thread settles. Each uses only single dict operations.
    """

    def __init__(self, texts: Iterable[str], *, keep: bool) -> None:
        self._texts = texts
        self._awaited: dict[int, str] = {}
        self.kept: list[str] | None = [] if keep else None
        """All inputs handed out so far, if they are to be kept."""
        self.error: OSError | None = None
        """Why reading ended before the end."""

    def __iter__(self) -> Iterator[tuple[int, str]]:
        try:
            for index, text in enumerate(self._texts):
                self._awaited[index] = text
                if self.kept is not None:
                    self.kept.append(text)
                yield index, text
        except OSError as error:
            self.error = error

    def __len__(self) -> int:
        return len(self._awaited)

    def settle(self, index: int) -> str:
        """The result of that input is here: which it was. KeyError if it was not awaited."""
        return self._awaited.pop(index)

    def rest(self) -> list[int]:
        """Those still awaited, once nothing more is handed out."""
        return sorted(self._awaited)
