"""The package itself: its names, how little its import loads, what a child gets of the stdlib's objects."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import phalanx

LONG_S = 40.0

DOCUMENTED = {
    "Array", "AuthenticationError", "Barrier", "BoundedSemaphore", "BufferTooShort", "Condition", "Event",
    "JoinableQueue", "Lock", "Manager", "Pipe", "Pool", "Process", "ProcessError", "Queue", "RLock", "RawArray",
    "RawValue", "Semaphore", "SimpleQueue", "TimeoutError", "Value", "active_children", "allow_connection_pickling",
    "cpu_count", "current_process", "freeze_support", "get_all_start_methods", "get_context", "get_logger",
    "get_start_method", "log_to_stderr", "parent_process", "reducer", "set_executable", "set_forkserver_preload",
    "set_start_method",
}  # fmt: skip
EXTRAS = {"OwnerDied", "RemoteError", "TaskTimeout", "WorkerDied", "available_cpus"}


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=LONG_S)
    return done.stdout


def test_the_names_are_the_stdlibs_and_few_more() -> None:
    assert set(phalanx.__all__) == DOCUMENTED | EXTRAS
    assert DOCUMENTED | EXTRAS | {"SUBDEBUG", "SUBWARNING"} == {name for name in dir(phalanx) if name[0] != "_"}


def test_a_type_checker_sees_the_same_names() -> None:
    import ast

    stub = ast.parse(Path(phalanx.__file__).with_suffix(".pyi").read_text())
    names = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    names |= {target.id for node in stub.body if isinstance(node, ast.Assign) for target in node.targets}  # type: ignore[attr-defined]
    names |= {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
    assert {name for name in names if name and name[0] != "_"} == {name for name in dir(phalanx) if name[0] != "_"}


def test_every_name_is_there() -> None:
    for name in dir(phalanx):
        assert getattr(phalanx, name) is not None
    assert (phalanx.SUBDEBUG, phalanx.SUBWARNING) == (5, 25)
    with pytest.raises(AttributeError, match="module 'phalanx' has no attribute 'Elephant'"):
        _ = phalanx.Elephant  # type: ignore[attr-defined]


def test_a_star_import_brings_all_and_shadows_no_builtin() -> None:
    names: dict[str, Any] = {}
    exec("from phalanx import *", names)
    import builtins

    assert set(phalanx.__all__) <= set(names)
    assert {name for name in names if hasattr(builtins, name) and name[0] != "_"} == {"TimeoutError"}


def test_importing_the_package_loads_nothing_else() -> None:
    program = "import sys; before = set(sys.modules); import phalanx; print(*sorted(set(sys.modules) - before))"
    assert set(run(program).split()) <= {"phalanx", "__future__"}


def test_submodules_are_attributes() -> None:
    program = "import phalanx; print(phalanx.context.__name__, phalanx.util.__name__, phalanx.connection.__name__)"
    assert run(program) == "phalanx.context phalanx.util phalanx.connection\n"


def test_another_platform_is_told_in_one_sentence() -> None:
    program = (
        "import sys; sys.platform = 'win32'\ntry:\n    import phalanx\nexcept ImportError as error:\n    print(error)\n"
    )
    assert run(program) == "phalanx runs on Linux only, not on win32\n"


def test_a_platform_module_is_there_to_be_imported_but_refuses_to_start() -> None:
    from phalanx.popen_spawn_win32 import Popen

    with pytest.raises(OSError, match="phalanx does not run on Windows"):
        Popen(phalanx.Process())


STDLIB_OBJECTS = """
import multiprocessing, sys
import phalanx

def put(queue, lock):
    with lock:
        queue.put("from the child")

if __name__ == "__main__":
    stdlib = multiprocessing.get_context("spawn")
    queue, lock = stdlib.SimpleQueue(), stdlib.Lock()
    child = phalanx.get_context(sys.argv[1]).Process(target=put, args=(queue, lock))
    child.start()
    print(queue.get())
    child.join()
    print(child.exitcode)
"""


def test_objects_of_the_stdlib_can_be_handed_to_a_child(start_method: str, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(STDLIB_OBJECTS)
    command = [sys.executable, path, start_method]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LONG_S)
    assert (done.stdout, done.stderr) == ("from the child\n0\n", "")
