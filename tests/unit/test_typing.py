"""Programs typed for typeshed's `multiprocessing` are accepted with `phalanx` in its place."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import phalanx

TYPED = Path(__file__).parent / "data" / "typed"
SOURCES = Path(phalanx.__file__).parents[1]
LONG_S = 300.0


def check(folder: Path) -> str:
    """mypy's complaints of the programs in a folder, checked strictly, with no configuration of anybody's."""
    options = ["--strict", "--config-file=", "--follow-imports=silent", "--no-error-summary", "--hide-error-context"]
    cache = ["--cache-dir", str(Path(__file__).parents[2] / ".mypy_cache" / "typed")]
    command = [sys.executable, "-m", "mypy", *options, *cache, *sorted(folder.glob("*.py"))]
    environment = {"PATH": "/usr/bin:/bin"}
    if "site-packages" not in SOURCES.parts:  # installed, the package is found by itself, and mypy wants no path to it
        environment |= {"MYPYPATH": str(SOURCES), "PYTHONPATH": str(SOURCES)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONG_S, check=False
    )
    return done.stdout + done.stderr


def rename(text: str) -> str:
    """The program with its imports changed, and nothing else."""
    text = re.sub(r"^import multiprocessing$", "import phalanx as multiprocessing", text, flags=re.MULTILINE)
    return re.sub(r"^from multiprocessing\b", "from phalanx", text, flags=re.MULTILINE)


@pytest.mark.timeout(2 * LONG_S)
def test_typed_programs(tmp_path: Path) -> None:
    assert check(TYPED) == ""  # with the stdlib's types
    for path in TYPED.glob("*.py"):
        (tmp_path / path.name).write_text(rename(path.read_text()))
    assert check(tmp_path) == ""


@pytest.mark.timeout(2 * LONG_S)
def test_a_wrong_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "import phalanx\n"
        "words: list[str] = phalanx.Pool(2).map(len, ['a'])\n"
        "phalanx.Process(target=3)\n"
        "phalanx.Nothing\n"
    )
    complaints = check(tmp_path)
    assert [line.split(":")[1] for line in complaints.splitlines() if "error" in line] == ["2", "3", "4"]
