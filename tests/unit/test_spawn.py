"""Children that are fresh interpreters: how they become as the parent was, and what keeps programs from storms."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx import process, spawn

LONG_S = 40.0

NOT_FORKED = ["spawn", "forkserver"]


def run_program(path: Path, source: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    path.write_text(source)
    command = [sys.executable, *options.pop("flags", ()), str(path), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=LONG_S, **options)


# -- the command line --------------------------------------------------------------------------------------------------


def test_a_child_is_recognised_by_its_command_line() -> None:
    line = spawn.get_command_line(pipe_handle=7, parent_pid=8)
    assert line[0] == sys.executable
    assert line[-3:] == ["-c", "from phalanx.spawn import spawn_main; spawn_main(pipe_handle=7, parent_pid=8)",
                         "--multiprocessing-fork"]  # fmt: skip
    assert spawn.is_forking(["-c", "--multiprocessing-fork"])
    assert not spawn.is_forking(["program", "argument"])
    assert not spawn.is_forking([])


def test_a_frozen_program_starts_itself(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    line = spawn.get_command_line(pipe_handle=7, parent_pid=None)
    assert line == [sys.executable, "--multiprocessing-fork", "pipe_handle=7", "parent_pid=None"]
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(spawn, "spawn_main", lambda **arguments: calls.append(arguments))
    monkeypatch.setattr(sys, "argv", line)
    phalanx.freeze_support()
    assert calls == [{"pipe_handle": 7, "parent_pid": None}]


def test_the_executable_can_be_set() -> None:
    before = spawn.get_executable()
    try:
        phalanx.set_executable(Path("/another/python"))
        assert spawn.get_executable() == "/another/python"
        assert spawn.get_command_line()[0] == "/another/python"
    finally:
        spawn.set_executable(before)


@pytest.mark.parametrize("method", NOT_FORKED)
def test_an_executable_that_is_not_there_raises_at_start(method: str) -> None:
    before = spawn.get_executable()
    spawn.set_executable("/no-such-python")
    try:
        child = phalanx.get_context(method).Process()
        with pytest.raises(FileNotFoundError, match="no-such-python"):
            child.start()
        assert child.pid is None
    finally:
        spawn.set_executable(before)


def test_what_cannot_be_pickled_raises_at_start(context: Any, start_method: str) -> None:
    if start_method == "fork":
        pytest.skip("a forked child needs no pickle")
    child = context.Process(target=print, args=(lambda: None,))
    with pytest.raises(Exception, match="pickle"):
        child.start()
    assert not child.is_alive()


# -- becoming as the parent was ----------------------------------------------------------------------------------------


def test_preparation_data_holds_what_documentation_promises() -> None:
    data = spawn.get_preparation_data("Bob")
    assert data["name"] == "Bob"
    assert data["dir"] == os.getcwd()
    assert data["sys_path"] == [entry or process.ORIGINAL_DIR for entry in sys.path]
    assert data["authkey"] == phalanx.current_process().authkey


TELL_ALL = """
import json, os, sys
import phalanx

def tell():
    main = sys.modules["__main__"]
    print(json.dumps([sys.argv[1:], os.getcwd(), main.__name__, main is sys.modules["__mp_main__"],
                      os.path.samefile(main.__file__, path), sys.flags.optimize, sys.warnoptions, "extra" in sys.path,
                      tell.__globals__ is main.__dict__, __name__]))

path = __file__
sys.path.append("extra")

if __name__ == "__main__":
    os.chdir("/")
    child = phalanx.get_context(sys.argv[1]).Process(target=tell)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("method", NOT_FORKED)
def test_a_child_becomes_as_its_parent_was(method: str, tmp_path: Path) -> None:
    done = run_program(
        tmp_path / "program.py", TELL_ALL, method, "second", flags=["-O", "-W", "error::FutureWarning"], cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [
        [method, "second"], "/", "__mp_main__", True, True, 1, ["error::FutureWarning"], True, True, "__mp_main__",
    ]  # fmt: skip


@pytest.mark.parametrize("method", NOT_FORKED)
def test_a_program_run_by_name_is_imported_by_name(method: str, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "module.py").write_text(
        "import sys, phalanx\n"
        "def tell(): print(__name__, sys.modules['__main__'].__name__, __package__, flush=True)\n"
        "if __name__ == '__main__':\n"
        "    child = phalanx.get_context(sys.argv[1]).Process(target=tell)\n"
        "    child.start(); child.join(); sys.exit(child.exitcode)\n"
    )
    command = [sys.executable, "-m", "package.module", method]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=LONG_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "__mp_main__ __mp_main__ package\n", "")


@pytest.mark.parametrize("method", NOT_FORKED)
def test_a_program_without_a_file_works(method: str) -> None:
    program = (
        "import os, phalanx\n"
        f"child = phalanx.get_context({method!r}).Process(target=os._exit, args=(9,))\n"
        "child.start(); child.join(); print(child.exitcode)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=LONG_S)
    assert (done.stdout, done.stderr) == ("9\n", "")


NO_GUARD = """
import sys
import phalanx

print("main is run", flush=True)
child = phalanx.get_context(sys.argv[1]).Process(target=print, args=("never",))
child.start()
child.join()
sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("method", NOT_FORKED)
def test_a_program_without_a_guard_gets_one_clear_error(method: str, tmp_path: Path) -> None:
    done = run_program(tmp_path / "program.py", NO_GUARD, method)
    assert done.returncode == 1
    assert "never" not in done.stdout
    assert done.stderr.count("\nRuntimeError: ") == 1
    assert "if __name__ == '__main__':" in done.stderr


# -- what a child loads ------------------------------------------------------------------------------------------------

WHAT_IS_LOADED = """
import sys
import phalanx

def tell():
    print(*sorted(sys.modules), flush=True)

if __name__ == "__main__":
    child = phalanx.get_context("spawn").Process(target=tell)
    child.start()
    child.join()
"""


def test_a_child_loads_little(tmp_path: Path) -> None:
    loaded = set(run_program(tmp_path / "program.py", WHAT_IS_LOADED).stdout.split())
    rooms = {name.split(".")[1] for name in loaded if name.startswith("phalanx.")}
    assert rooms == {"_base", "_native", "_start", "popen_fork", "process", "spawn", "util"}
    assert not loaded & {"multiprocessing", "threading", "pickle", "socket", "subprocess", "typing", "logging", "enum"}
