"""What is built: one wheel for all Pythons from 3.11, with what it needs and no more; and what importing it loads."""

import ast
import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import phalanx

PACKAGE = Path(phalanx.__file__).parent
PUBLIC = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_"))

NOT_FOR_WORKERS = {f"phalanx.{name}" for name in ("pool", "managers", "context", "cli", "futures", "dummy")}
"""A worker must boot without these: they are the parent's part."""


@pytest.fixture
def distribution():
    for found in importlib.metadata.distributions(name="phalanx"):
        if found.read_text("WHEEL"):  # a source tree has a description too
            return found
    pytest.skip("phalanx is run from its source tree here, not installed")


def extension():
    import phalanx._native

    return Path(phalanx._native.__file__)


def loaded_by(program):
    """Names of the modules that an interpreter has after that program."""
    command = [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_one_wheel_for_all_versions(distribution):
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("a free-threaded interpreter has no stable ABI")
    assert "Tag: cp311-abi3-linux" in distribution.read_text("WHEEL")
    assert extension().name == "_native.abi3.so"


def test_what_the_wheel_holds(distribution):
    files = {str(file) for file in distribution.files}
    assert {"phalanx/py.typed", "phalanx/_native.pyi", "phalanx/_native.abi3.so", "phalanx/__init__.py"} <= files
    assert not [name for name in files if name.endswith((".c", ".h", ".o"))]
    assert {name.partition("/")[0] for name in files if not name.startswith("..")} == {
        "phalanx",
        f"phalanx-{distribution.version}.dist-info",
    }


def test_what_it_needs_and_offers(distribution):
    assert {need.partition(">")[0] for need in distribution.requires} == {"cloudpickle", "tqdm"}
    assert [(entry.name, entry.value) for entry in distribution.entry_points] == [("phalanx", "phalanx.cli:main")]


def test_the_core_shows_one_symbol_only():
    """What it exported otherwise could clash with another extension's names."""
    listing = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--format=posix", str(extension())],
        check=True,
        capture_output=True,
        text=True,
    )
    names = {line.split()[0] for line in listing.stdout.splitlines()}
    assert {name for name in names if not name.startswith("_")} == {"PyInit__native"}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_modules_say_what_they_offer(name):
    if name == "popen_spawn_win32":
        names = []  # another platform's; it is there so that looking for it ends in words
    else:
        module = importlib.import_module(f"phalanx.{name}")
        names = [missing for missing in module.__all__ if not hasattr(module, missing)]
    assert names == []


def test_nothing_imports_the_stdlib_package():
    program = "".join(f"import phalanx.{name}\n" for name in PUBLIC if name != "popen_spawn_win32")
    loaded = loaded_by(program)
    assert {f"phalanx.{name}" for name in PUBLIC} - {"phalanx.popen_spawn_win32"} <= loaded
    assert {name for name in loaded if name.split(".")[0] in {"multiprocessing", "_multiprocessing"}} == set()


def test_importing_phalanx_loads_no_room():
    loaded = loaded_by("import phalanx")
    assert "phalanx" in loaded
    assert loaded & {*NOT_FOR_WORKERS, "asyncio", "cloudpickle", "tqdm", "numpy", "logging", "tempfile"} == set()


def test_no_file_of_the_package_names_the_stdlib_package_in_an_import():
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] == "multiprocessing"]
    assert found == []


def rooms(queue):
    queue.put(sorted(NOT_FOR_WORKERS & sys.modules.keys()))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_boots_without_the_parents_rooms(method):
    context = phalanx.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=rooms, args=(queue,))
    child.start()
    assert queue.get() == []
    child.join()
    assert child.exitcode == 0
