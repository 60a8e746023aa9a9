"""Runs unmodified programs as they are and with `multiprocessing` meaning phalanx, to compare."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN_LIMIT_S = 150


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.timeout(3 * RUN_LIMIT_S))


@dataclass(frozen=True)
class Ran:
    output: str
    errors: str
    process_count: int
    """The first one included."""
    opened_stdlib: bool
    """Whether any of the processes has opened a file of the stdlib's multiprocessing."""


@dataclass(frozen=True)
class Runner:
    folder: Path

    def run(self, *arguments: str | Path, aliased: bool) -> Ran:
        """The program's result: it has ended when all that hold its pipes have. AssertionError if it failed."""
        notes = self.folder / f"notes-{aliased}"
        notes.write_text("")
        path = os.pathsep.join(filter(None, (str(HERE / "inside"), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            [sys.executable, *(["-m", "phalanx"] if aliased else []), *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path, "PROGRAM_NOTES": str(notes)},
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        words = notes.read_text().split()
        return Ran(done.stdout, done.stderr, words.count("process"), "stdlib" in words)

    def compare(self, *arguments: str | Path) -> Ran:
        """Run the program both ways: it says the same, and works with several processes. What phalanx's run gave."""
        plain, aliased = (self.run(*arguments, aliased=each) for each in (False, True))
        assert aliased.output == plain.output
        assert plain.process_count > 2
        assert plain.opened_stdlib  # or not to have opened it would mean nothing
        assert aliased.process_count > 2
        return aliased


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture
def source() -> Callable[[str], Path]:
    """The path of a program of ours."""
    return (HERE / "sources").joinpath
