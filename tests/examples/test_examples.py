"""Each example program, run as a reader would run it, in each start method."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
START_METHODS = ["fork", "spawn", "forkserver"]
RUN_LIMIT_S = 50

# What each program prints, as a regular expression for the whole of its output. `{method}` is the start method.
OUTPUTS = {
    "01_process.py": r"""
Hello, Ada\. I am first
Hello, Bob! I am second
Exit codes: 0 and 0
""",
    "02_pool_map.py": r"""
There are 1229 primes below 10,000
""",
    "03_queue.py": r"""
0 squared is 0
1 squared is 1
2 squared is 4
3 squared is 9
4 squared is 16
The producer is done
""",
    "04_value_array.py": r"""
The counter is at 2000
Each process counted \[1000, 1000\]
""",
    "05_manager.py": r"""
eleven: 6
one: 3
seventeen: 9
thirteen: 8
three: 5
""",
    "06_lock.py": r"""
2 times 10,000 makes 20,000
""",
    "07_semaphore.py": r"""
All 6 were in the room, 0 are left
Never more than 2 at a time: True
""",
    "08_start_method.py": r"""
The start method is {method}
A child was started with {method}
The second time: context has already been set
A context of its own: spawn
""",
    "09_speedup.py": r"""
Same results: True
Sequential: \d+\.\d\d s
Parallel:   \d+\.\d\d s
Speed-up:   \d+\.\d
""",
}


def run(*command):
    """Ends only when every process that holds the pipes has ended: a child left behind shows as a time-out."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )


def test_every_example_has_a_test():
    assert {path.name for path in EXAMPLES.glob("[0-9]*.py")} == {*OUTPUTS, "10_no_main_guard.py"}


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("name", OUTPUTS)
def test_output(name, method):
    done = run(EXAMPLES / name, "--start-method", method)
    assert done.stderr == ""
    assert re.fullmatch(OUTPUTS[name].lstrip("\n").replace("{method}", method), done.stdout)
    assert done.returncode == 0


@pytest.mark.parametrize("name", OUTPUTS)
def test_default_start_method(name):
    done = run(EXAMPLES / name)
    assert (done.stderr, done.returncode) == ("", 0)


def test_without_guard_fork_works():
    done = run(EXAMPLES / "10_no_main_guard.py", "--start-method", "fork")
    assert done.stdout == "Hello from the child\nThe child ended with exit code 0\n"
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_without_guard_is_one_clear_error(method):
    done = run(EXAMPLES / "10_no_main_guard.py", "--start-method", method)
    assert done.stdout == "The child ended with exit code 1\n"
    assert done.stderr.count("Traceback") == 1
    assert len(re.findall("^RuntimeError:", done.stderr, re.MULTILINE)) == 1
    assert "if __name__ == '__main__':" in done.stderr
    assert done.returncode == 0


def test_without_guard_no_process_storm(tmp_path):
    """Each process that comes to run the program says so in a file: the parent, and the one child it starts."""
    program = tmp_path / "program.py"
    started = tmp_path / "started"
    count_me = f"open({str(started)!r}, 'a').write('x')\n"
    text = (EXAMPLES / "10_no_main_guard.py").read_text()
    program.write_text(text.replace("import argparse\n", "import argparse\n" + count_me))
    assert run(program, "--start-method", "spawn").returncode == 0
    assert started.read_text() == "xx"
