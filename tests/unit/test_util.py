"""Finalizers, fork hooks, the temporary folder, starting programs."""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx import util


class Thing:
    pass


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(util._finalizer_registry)
    util._finalizer_registry.clear()
    yield
    util._finalizer_registry.clear()
    util._finalizer_registry.update(before)


# -- finalizers --------------------------------------------------------------------------------------------------------


def test_a_finalizer_is_called_once() -> None:
    calls: list[str] = []
    thing = Thing()
    finalizer = util.Finalize(thing, calls.append, args=("called",))
    assert finalizer.still_active()
    finalizer()
    finalizer()
    del thing
    gc.collect()
    assert calls == ["called"]
    assert not finalizer.still_active()
    assert repr(finalizer) == "<Finalize object, dead>"


def test_a_finalizer_is_called_when_its_object_goes() -> None:
    calls: list[str] = []
    thing = Thing()
    util.Finalize(thing, calls.append, args=("called",))
    del thing
    gc.collect()
    assert calls == ["called"]


def test_a_cancelled_finalizer_is_not_called() -> None:
    calls: list[str] = []
    thing = Thing()
    util.Finalize(thing, calls.append, args=("called",)).cancel()
    del thing
    gc.collect()
    assert calls == []


def test_finalizers_run_by_priority_and_the_last_first(registry: None) -> None:
    calls: list[str] = []
    things = [Thing() for _ in range(6)]
    for thing, (name, priority) in zip(
        things, [("none", None), ("1a", 1), ("1b", 1), ("2", 2), ("0", 0), ("-1", -1)], strict=True
    ):
        util.Finalize(thing, calls.append, args=(name,), exitpriority=priority)
    util._run_finalizers(0)
    assert calls == ["2", "1b", "1a", "0"]
    util._run_finalizers()
    assert calls == ["2", "1b", "1a", "0", "-1"]
    assert not util._finalizer_registry


def test_a_failing_finalizer_keeps_no_other_from_running(registry: None, capsys: Any) -> None:
    calls: list[str] = []
    util.Finalize(None, lambda: 1 / 0, exitpriority=2)
    util.Finalize(None, calls.append, args=("called",), exitpriority=1)
    util._run_finalizers()
    assert calls == ["called"]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_wrong_priorities_are_refused() -> None:
    with pytest.raises(ValueError, match="Without object, exitpriority cannot be None"):
        util.Finalize(None, int)
    with pytest.raises(TypeError, match=r"Exitpriority .* must be None or int"):
        util.Finalize(None, int, exitpriority="high")  # type: ignore[arg-type]


def test_a_finalizer_describes_itself(registry: None) -> None:
    thing = Thing()
    text = repr(util.Finalize(thing, print, args=(1,), kwargs={"sep": ""}, exitpriority=3))
    assert text == "<Finalize object, callback=print, args=(1,), kwargs={'sep': ''}, exitpriority=3, obj=Thing>"


def call_inherited(thing: Any) -> None:
    thing.finalizer()
    sys.exit(len(thing.calls))


def test_inherited_finalizers_are_not_called_in_a_forked_child() -> None:
    thing: Any = Thing()
    thing.calls = []
    thing.finalizer = util.Finalize(thing, thing.calls.append, args=("called",), exitpriority=1)
    child = phalanx.get_context("fork").Process(target=call_inherited, args=(thing,))
    child.start()
    child.join()
    assert child.exitcode == 0
    child.close()
    assert thing.calls == []
    thing.finalizer()
    assert thing.calls == ["called"]


# -- forks -------------------------------------------------------------------------------------------------------------


def exit_with_log(log: list[int]) -> None:
    sys.exit("".join(map(str, log)) != "123")


def test_fork_hooks_run_in_order_in_the_child_only() -> None:
    log: list[int] = []
    things = [Thing() for _ in range(3)]
    for number, thing in enumerate(things, 1):
        util.register_after_fork(thing, lambda thing, number=number: log.append(number))
    gone = Thing()
    util.register_after_fork(gone, lambda thing: log.append(9))
    del gone
    child = phalanx.get_context("fork").Process(target=exit_with_log, args=(log,))
    child.start()
    child.join()
    assert child.exitcode == 0
    child.close()
    assert log == []


def take(lock: Any) -> None:
    with lock:
        pass


def test_a_fork_aware_lock_is_free_in_the_child() -> None:
    lock = util.ForkAwareThreadLock()
    with lock:
        child = phalanx.get_context("fork").Process(target=take, args=(lock,))
        child.start()
        child.join()
    assert child.exitcode == 0
    child.close()


def exit_if_empty(local: Any) -> None:
    sys.exit(bool(local.__dict__))


def test_fork_aware_local_data_is_empty_in_the_child(context: Any) -> None:
    local = util.ForkAwareLocal()
    local.value = 1
    child = context.Process(target=exit_if_empty, args=(local,))
    child.start()
    child.join()
    assert child.exitcode == 0
    child.close()
    assert local.value == 1


# -- the temporary folder ----------------------------------------------------------------------------------------------


def exit_if_same(path: str) -> None:
    sys.exit(util.get_temp_dir() != path)


def test_children_share_the_temporary_folder_and_leave_it(context: Any) -> None:
    path = util.get_temp_dir()
    child = context.Process(target=exit_if_same, args=(path,))
    child.start()
    child.join()
    assert child.exitcode == 0
    child.close()
    assert os.path.isdir(path)
    util._run_finalizers(-100)
    assert not os.path.exists(path)
    assert util.get_temp_dir() != path
    util._run_finalizers(-100)


# -- programs ----------------------------------------------------------------------------------------------------------


def test_a_program_inherits_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    other, another = os.pipe()
    os.set_inheritable(other, True)
    program = f"""
import os
def is_open(fd):
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False
os.write({writer}, repr([is_open(fd) for fd in (0, 1, 2, {writer}, {other}, {another}, {reader})]).encode())
"""
    pid = util.spawnv_passfds(sys.executable, [sys.executable, "-c", program], [writer])
    os.close(writer)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(reader, 100) == b"[True, True, True, True, False, False, False]"
    util.close_fds(reader, other, another)


def test_a_program_that_is_not_there_raises() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        util.spawnv_passfds("/no-such-program", ["x"], [])


def test_close_fds_closes_all_and_tells() -> None:
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="Bad file descriptor"):
        util.close_fds(reader, 987654, writer)
    for fd in (reader, writer):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.parametrize(
    ("address", "expected"), [("\0name", True), (b"\0name", True), ("/path", False), (b"/p", False), ("", False)]
)
def test_abstract_addresses(address: str | bytes, expected: bool) -> None:
    assert util.is_abstract_socket_namespace(address) is expected


def test_an_address_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="address type of 5 unrecognized"):
        util.is_abstract_socket_namespace(5)  # type: ignore[arg-type]


def test_log_functions_name_their_caller(caplog: Any) -> None:
    logger = util.get_logger()
    level = logger.level
    logger.addHandler(caplog.handler)
    logger.setLevel(util.SUBDEBUG)
    try:
        for log in (util.sub_debug, util.debug, util.info, util.sub_warning, util.warn):
            log("said %s", "it")
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel(level)
    assert [record.levelno for record in caplog.records] == [5, 10, 20, 25, logging.WARNING]
    assert {record.filename for record in caplog.records} == {os.path.basename(__file__)}
    assert {record.getMessage() for record in caplog.records} == {"said it"}
