"""What holds for every test: nothing is left behind, nothing hangs, and the order is random with its seed printed."""

import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import leaks

START_METHODS = ("fork", "spawn", "forkserver")

BACKSTOP_S = 60
"""How much longer than its own limit a test may take, before the whole run is ended with every thread's stack.

The limit itself is pytest-timeout's, by a signal: it fails one test, but cannot interrupt a wait that ignores signals,
and watches nothing after it has struck. Pytest's own faulthandler plugin is off: it would end this watch at a failure.
"""

stderr_fd = pytest.StashKey[int]()


# -- the watchdog ----------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.stash[stderr_fd] = os.dup(2)  # capturing is not on yet: stacks go where a person sees them
    faulthandler.enable(config.stash[stderr_fd])
    leaks.take_own_shm()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, its children too


def pytest_unconfigure(config: pytest.Config) -> None:
    faulthandler.cancel_dump_traceback_later()
    faulthandler.disable()
    os.close(config.stash[stderr_fd])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    marker = item.get_closest_marker("timeout")
    usual_s = item.config.getoption("timeout") or float(item.config.getini("timeout"))
    limit_s = marker.args[0] if marker and marker.args else usual_s
    faulthandler.dump_traceback_later(limit_s + BACKSTOP_S, exit=True, file=item.config.stash[stderr_fd])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    seed = config.getoption("randomly_seed", None)
    if seed is not None:
        terminalreporter.write_line(f"random order; the same again: make test-python ARGS=--randomly-seed={seed}")


# -- nothing is left behind -------------------------------------------------------------------------------------------


def stop_services() -> None:
    """End what phalanx keeps for later on purpose: its fork server, its watcher, processes not reaped yet."""
    if process := sys.modules.get("phalanx.process"):
        process.active_children()
    if util := sys.modules.get("phalanx.util"):
        util._cleanup_tests()


def make_what_stays() -> None:
    """What a process makes once and keeps: its arena, the lifeline that its children watch, their standard input."""
    try:
        from phalanx import _native, util
        from phalanx._base import lifelines
    except ImportError:
        return
    _native.arena_open()
    lifelines.own()
    util._open_null_input()


def end(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    marker = request.node.get_closest_marker("leaves")
    ignored = marker.args if marker else ()
    make_what_stays()
    stop_services()
    before = leaks.Census()
    yield
    left = leaks.settle(before, stop_services, ignored)
    end([pid for pid in leaks.children() if pid not in before.processes])
    if left:
        pytest.fail("left behind: " + "; ".join(f"{kind}: {', '.join(what)}" for kind, what in left.items()))


# -- the three start methods -------------------------------------------------------------------------------------------


@pytest.fixture(params=START_METHODS)
def start_method(request: pytest.FixtureRequest) -> str:
    method: str = request.param
    return method


@pytest.fixture
def context(start_method: str) -> Any:
    import phalanx

    return phalanx.get_context(start_method)
