"""The programs in the README print what the README says, in each start method."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
PROGRAM = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
GUARD = 'if __name__ == "__main__":\n'
START_METHODS = ["fork", "spawn", "forkserver"]
RUN_LIMIT_S = 50


def programs():
    return PROGRAM.findall(README.read_text(encoding="utf-8"))


def test_every_program_shows_its_output():
    assert len(programs()) == README.read_text(encoding="utf-8").count("```python") > 0


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize(("source", "output"), programs())
def test_output(tmp_path, source, output, method):
    path = tmp_path / "program.py"
    path.write_text(source.replace(GUARD, f"{GUARD}    mp.set_start_method({method!r})\n"), encoding="utf-8")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)
