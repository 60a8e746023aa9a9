"""Whole programs that a test runs, kills or interrupts, and the trees of processes that they make."""

import os
import selectors
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import phalanx

SOURCES = Path(phalanx.__file__).parents[1]
"""Where the package that is under test lies, installed or not: a program started from elsewhere finds the same one."""

PROMPT_S = 30.0
"""A bound for what a program says or does by itself: it fails a test instead of hanging it."""

GONE_S = 10.0
"""The same for the end of a tree: what is promised for 2 s, on a machine with much else to do."""

POLL_S = 0.01

MARK = "PHALANX_TEST_TREE"


class Program:
    """A running program. All that it starts has the mark in its environment, and ends with the block."""

    def __init__(self, file: Path, *arguments: str, terminal: int | None = None, **options: Any) -> None:
        self._mark = uuid.uuid4().hex
        path = os.pathsep.join([str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONFAULTHANDLER": "1",
            MARK: self._mark,
            **options.pop("environment", {}),
        }
        out: Any = subprocess.PIPE if terminal is None else terminal
        self.process = subprocess.Popen(
            [sys.executable, str(file), *arguments],
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            **options,
        )
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while tree := self.tree():
            for pid in tree:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(POLL_S)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def lines(self, count: int) -> list[str]:
        """The next lines that it says."""
        deadline = time.monotonic() + PROMPT_S
        while self._read.count(b"\n") < count:
            assert self._read_on(deadline), f"it has ended, or says nothing: {self._read.decode()}"
        *lines, self._read = self._read.split(b"\n", count)
        return [line.decode() for line in lines]

    def rest(self) -> str:
        """All that it still says, to the end of the last process that could say something."""
        deadline = time.monotonic() + PROMPT_S
        while self._read_on(deadline):
            pass
        assert time.monotonic() < deadline, f"it does not end: {self.tree()}, {self._read.decode()}"
        said, self._read = self._read.decode(), b""
        return said

    def _read_on(self, deadline: float) -> bool:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return False
        data = os.read(self.process.stdout.fileno(), 65536)
        self._read += data
        return bool(data)

    def wait(self, timeout_s: float = PROMPT_S) -> int:
        """Its exit code. If it does not end in time, it says with the stacks of its threads where it is."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            tree = self.tree()
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            for pid in set(tree) - {self.process.pid}:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"it does not end: {tree}, {self.rest()}") from None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def tree(self) -> dict[int, str]:
        """pid -> command line of each process of it that runs."""
        return dict(marked_processes(self._mark))

    def expect_gone(self, besides: Collection[int] = (), of: Collection[int] | None = None) -> None:
        """Wait until no process of it (or of those that `of` names) is left but those in `besides`."""
        deadline = time.monotonic() + GONE_S
        while left := {
            pid: line for pid, line in self.tree().items() if pid not in besides and (of is None or pid in of)
        }:
            assert time.monotonic() < deadline, f"still there: {left}"
            time.sleep(POLL_S)


def marked_processes(mark: str) -> Iterator[tuple[int, str]]:
    wanted = f"{MARK}={mark}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if wanted in Path(f"/proc/{pid}/environ").read_bytes():  # empty for one that has only to be reaped
                yield int(pid), Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


@contextmanager
def running(file: Path, *arguments: str, **options: Any) -> Iterator[Program]:
    with Program(file, *arguments, **options) as program:
        yield program
