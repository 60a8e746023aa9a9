"""The demo, over the part of the standard library whose names begin with j."""

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "examples" / "stdlib_complexity.py"
RUN_LIMIT_S = 50


def load():
    spec = importlib.util.spec_from_file_location("stdlib_complexity", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_measure(tmp_path):
    path = tmp_path / "file.py"
    path.write_text("class A:\n  def f(self, x):\n    return [1 if x and y else 2 for y in x]\nwhile False: pass\n")
    assert load().measure(path) == {"functions": 1, "classes": 1, "branches": 3}


def test_the_demo():
    all_but_j = f"{sysconfig.get_path('stdlib')}/[!j]*"
    done = subprocess.run(
        [sys.executable, PROGRAM, "--exclude", all_but_j, "--no-progress"],
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )
    command, _, title, header, *files = done.stdout.splitlines()
    assert command.startswith("$ phalanx map ")
    assert title.startswith("The 10 most complex of ")
    assert header.split() == ["branches", "functions", "classes", "file"]
    measured = {name: int(branches) for branches, _, _, name in map(str.split, files)}
    assert measured["json/decoder.py"] > measured["json/tool.py"] > 0
    assert list(measured.values()) == sorted(measured.values(), reverse=True)
    assert "speed-up" in done.stderr
    assert done.returncode == 0
