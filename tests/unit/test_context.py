"""Contexts: the start methods by name, and the one that the program chooses."""

import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import phalanx
from phalanx import context as contexts
from phalanx import reduction
from phalanx._base import cpus
from phalanx._base import start_method as choice

CLASSES = {
    "fork": ("ForkContext", "ForkProcess"),
    "spawn": ("SpawnContext", "SpawnProcess"),
    "forkserver": ("ForkServerContext", "ForkServerProcess"),
}


@pytest.fixture
def open_choice() -> Iterator[None]:
    before = choice.current(allow_none=True)
    choice.choose(None, force=True)
    yield
    choice.choose(before, force=True)


def test_each_method_has_its_context(start_method: str) -> None:
    context = phalanx.get_context(start_method)
    assert (type(context).__name__, context.Process.__name__) == CLASSES[start_method]
    assert context.get_start_method() == start_method
    assert context.get_context() is context
    with pytest.raises(ValueError, match="cannot set start method of concrete context"):
        context.set_start_method("spawn")


def test_an_unknown_method_is_refused(open_choice: None) -> None:
    with pytest.raises(ValueError, match="cannot find context for 'threads'"):
        phalanx.get_context("threads")
    with pytest.raises(ValueError, match="cannot find context for 'threads'"):
        phalanx.set_start_method("threads")
    assert phalanx.get_start_method(allow_none=True) is None


def test_the_method_is_chosen_once(open_choice: None, start_method: str) -> None:
    assert phalanx.get_start_method(allow_none=True) is None
    phalanx.set_start_method(start_method)
    assert phalanx.get_start_method() == start_method
    assert type(phalanx.get_context()).__name__ == CLASSES[start_method][0]
    with pytest.raises(RuntimeError, match="context has already been set"):
        phalanx.set_start_method("spawn")
    phalanx.set_start_method("spawn", force=True)
    assert phalanx.get_start_method() == "spawn"
    phalanx.set_start_method(None, force=True)
    assert phalanx.get_start_method(allow_none=True) is None
    phalanx.set_start_method(None)
    assert phalanx.get_start_method(allow_none=True) == choice.default()


def test_the_default_is_the_interpreters(open_choice: None) -> None:
    expected = "forkserver" if sys.version_info >= (3, 14) else "fork"
    assert phalanx.get_all_start_methods()[0] == expected
    assert sorted(phalanx.get_all_start_methods()) == ["fork", "forkserver", "spawn"]
    assert phalanx.get_start_method() == expected
    with pytest.raises(RuntimeError, match="context has already been set"):
        phalanx.set_start_method("spawn")


def tell_method() -> None:
    sys.exit(choice.NAMES.index(str(phalanx.get_start_method())))


def test_process_uses_the_method_chosen_and_so_does_its_child(open_choice: None, start_method: str) -> None:
    phalanx.set_start_method(start_method)
    child = phalanx.Process(target=tell_method)
    child.start()
    child.join()
    assert child.exitcode == choice.NAMES.index(start_method)
    child.close()


def test_a_process_of_a_context_leaves_the_choice_open(open_choice: None, start_method: str) -> None:
    child = phalanx.get_context(start_method).Process(target=tell_method)
    child.start()
    child.join()
    assert child.exitcode == choice.NAMES.index(start_method)
    child.close()
    assert phalanx.get_start_method(allow_none=True) is None


def test_preload_takes_names_only() -> None:
    with pytest.raises(TypeError, match="module_names must be a list of strings"):
        phalanx.set_forkserver_preload([1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="on_error must be one of 'ignore', 'warn', 'fail', not 'shout'"):
        phalanx.set_forkserver_preload([], on_error="shout")


def test_what_other_libraries_reach_for() -> None:
    assert contexts.get_spawning_popen() is None
    with pytest.raises(RuntimeError, match="int objects should only be shared between processes through inheritance"):
        contexts.assert_spawning(5)
    assert phalanx.get_context("spawn").reducer is reduction
    phalanx.freeze_support()
    phalanx.allow_connection_pickling()


def test_loggers_are_the_packages_own() -> None:
    logger = phalanx.get_logger()
    assert logger is logging.getLogger("multiprocessing")
    assert not logger.propagate
    handlers = list(logger.handlers)
    assert phalanx.log_to_stderr() is logger
    (handler,) = set(logger.handlers) - set(handlers)
    logger.removeHandler(handler)
    assert handler.formatter is not None
    assert handler.formatter._fmt == "[%(levelname)s/%(processName)s] %(message)s"


# -- processors --------------------------------------------------------------------------------------------------------


def test_cpu_count_is_the_stdlibs(monkeypatch: Any) -> None:
    assert phalanx.cpu_count() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    with pytest.raises(NotImplementedError):
        phalanx.cpu_count()


def test_available_cpus_honours_affinity(monkeypatch: Any) -> None:
    monkeypatch.delenv("PHALANX_MAX_WORKERS", raising=False)
    assert 1 <= phalanx.available_cpus() <= len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert phalanx.available_cpus() == 1


@pytest.mark.parametrize(("text", "limit"), [("1", 1), (" 3 ", 3), ("", 8)])
def test_available_cpus_honours_the_users_limit(monkeypatch: Any, text: str, limit: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(cpus, "_quota_cpus", lambda: None)
    monkeypatch.setenv("PHALANX_MAX_WORKERS", text)
    assert phalanx.available_cpus() == limit


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_limit_that_is_no_count_is_refused(monkeypatch: Any, text: str) -> None:
    monkeypatch.setenv("PHALANX_MAX_WORKERS", text)
    with pytest.raises(ValueError, match="PHALANX_MAX_WORKERS must be a whole number from 1"):
        phalanx.available_cpus()


@pytest.mark.parametrize(
    ("files", "line", "expected"),
    [
        ({"/a/cpu.max": "150000 100000"}, "0::/a/b", [2]),
        ({"/a/b/cpu.max": "max 100000", "/a/cpu.max": "50000 100000"}, "0::/a/b", [1]),
        ({"/a/cpu.max": "max 100000"}, "0::/a", []),
        ({"/cpu.max": "400000 100000"}, "0::/elsewhere/of/the/host", [4]),
        ({"/cpu,cpuacct/x/cpu.cfs_quota_us": "300000", "/cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
         "4:cpu,cpuacct:/x", [3]),
        ({"/cpu/cpu.cfs_quota_us": "-1", "/cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", []),
        ({"/a/cpu.max": "150000 100000"}, "7:memory:/a", []),
    ],
)  # fmt: skip
def test_quotas_of_both_versions_of_cgroups(
    monkeypatch: Any, tmp_path: Any, files: dict[str, str], line: str, expected: list[int]
) -> None:
    for name, content in files.items():
        path = tmp_path / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(cpus.limits, "CGROUP_MOUNT", str(tmp_path))
    assert list(dict.fromkeys(cpus._quotas_of_line(line))) == expected
