"""What the user sees: the lines of output, the progress bar, the summary."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from phalanx._cli.usage import CommandError
from phalanx._cli.work import Done

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["OutputClosed", "Report", "Tally", "discard_output", "open_report", "summary"]

NS_PER_S = 1_000_000_000


class OutputClosed(Exception):
    """Nobody reads the output any more, as after `| head`."""


@dataclass
class Tally:
    """What the summary tells."""

    workers: int
    items: int = 0
    failed: int = 0
    busy_ns: int = 0
    wall_s: float = 0.0
    one_process_s: float | None = None

    def add(self, done: Done) -> None:
        self.items += 1
        self.failed += done.is_failed
        self.busy_ns += done.busy_ns


@dataclass
class Report:
    output: TextIO
    bar: "tqdm[Any] | None"
    tally: Tally

    def add(self, done: Done) -> None:
        """Write the line at once: who reads the output of an endless run wants it now. OutputClosed, CommandError."""
        self.tally.add(done)
        if self.bar is not None and self.output.isatty():
            self.bar.clear()
        try:
            self.output.write(done.line + "\n")
            self.output.flush()
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            raise CommandError(f"cannot write {self.output.name!r}: {error.strerror}") from None
        if self.bar is not None:
            self._advance()

    def _advance(self) -> None:
        assert self.bar is not None
        if self.tally.failed:
            self.bar.set_postfix_str(f"{self.tally.failed} failed", refresh=False)
        self.bar.update()


@contextmanager
def open_report(path: str | None, progress: bool | None, total: int | None, tally: Tally) -> Iterator[Report]:
    with open_output(path) as output, open_bar(progress, total, output) as bar:
        yield Report(output, bar, tally)


def open_output(path: str | None) -> Any:
    if path is None or path == "-":
        if sys.stdout is None:
            raise CommandError("standard output is closed: name a file with --output")
        return nullcontext(sys.stdout)
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {path!r}: {error.strerror}") from None


def open_bar(wanted: bool | None, total: int | None, output: TextIO) -> Any:
    """Unless it was asked for: only in a terminal, and not where it would mix with the lines of output."""
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty() and not output.isatty()
    return make_bar(total) if wanted else nullcontext()


def make_bar(total: int | None) -> "tqdm[Any]":
    import threading

    try:
        from tqdm import tqdm
    except ImportError:
        raise CommandError("--progress needs the package tqdm: pip install tqdm") from None
    tqdm.set_lock(threading.RLock())  # its own choice would load multiprocessing
    tqdm.monitor_interval = 0  # no thread: workers may be forked while the bar lives
    return tqdm(total=total, unit=" items", file=sys.stderr, dynamic_ncols=True)


def summary(tally: Tally) -> str:
    busy_s = tally.busy_ns / NS_PER_S
    share = busy_s / (tally.wall_s * tally.workers) if tally.wall_s else 0.0
    workers = f"{tally.workers} worker{'s' if tally.workers > 1 else ''}"
    rows = [
        ("items", f"{tally.items:,}"),
        ("failed", f"{tally.failed:,}"),
        ("wall time", f"{tally.wall_s:.2f} s"),
        ("busy time", f"{busy_s:.2f} s of {workers} ({share:.0%})"),
    ]
    if tally.one_process_s is not None:
        speedup = tally.one_process_s / tally.wall_s
        rows.append(("speed-up", f"{speedup:.3g} (one process needs {tally.one_process_s:.2f} s)"))
    return "".join(f"{name:<10} {value}\n" for name, value in rows)


def discard_output() -> None:
    """What is still buffered for a closed stdout goes nowhere, so that the interpreter's exit does not complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
