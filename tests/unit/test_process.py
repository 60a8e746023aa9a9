"""Processes: what they are called, how they start and end, and what they tell of it, by each start method."""

import asyncio
import atexit
import faulthandler
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx import connection, process, util
from phalanx._base import lifelines

GONE_S = 30.0
"""A bound for what must happen by itself: it fails a test instead of hanging it."""

LONG_S = 40.0


@pytest.fixture
def start(context: Any) -> Iterator[Any]:
    """Starts a process, and sees to it that it is gone at the end."""
    started = []

    def start(target: Any, *args: Any, **options: Any) -> Any:
        child = context.Process(target=target, args=args, **options)
        child.start()
        started.append(child)
        return child

    yield start
    for child in started:
        if child._popen is not None:
            child.kill()
            child.join()
            child.close()


def wait_for_ever() -> None:
    while True:
        signal.pause()


def report(path: Path, *lines: object) -> None:
    """Appears as a whole, so that whoever waits for the file sees all of it."""
    part = path.with_suffix(".part")
    part.write_text("\n".join(map(str, lines)))
    part.rename(path)


def wait_for_report(path: Path) -> list[str]:
    deadline_s = time.monotonic() + LONG_S
    while not path.exists():
        assert time.monotonic() < deadline_s, f"nothing came in {path}"
        time.sleep(0.005)
    return path.read_text().splitlines()


# -- before it is started ----------------------------------------------------------------------------------------------


def test_a_process_is_described_as_the_stdlibs(context: Any) -> None:
    child = context.Process(name="Bob", daemon=True)
    assert repr(child) == f"<{type(child).__name__} name='Bob' parent={os.getpid()} initial daemon>"
    assert child.exitcode is None
    assert child.pid is None
    assert child.ident is None
    assert not child.is_alive()
    with pytest.raises(ValueError, match="process not started"):
        _ = child.sentinel


def test_names_say_class_and_number(context: Any) -> None:
    first, second = context.Process(), context.Process()
    name, _, number = first.name.rpartition("-")
    assert name == type(first).__name__
    assert second.name == f"{name}-{int(number) + 1}"


@pytest.mark.parametrize("name", [1, None, b"x"])
def test_a_name_must_be_a_string(name: Any) -> None:
    with pytest.raises(AssertionError, match="name must be a string"):
        phalanx.Process().name = name


def test_the_daemon_flag_is_inherited_and_can_be_given() -> None:
    assert not phalanx.Process().daemon
    assert phalanx.Process(daemon=True).daemon
    child = phalanx.Process()
    child.daemon = True
    assert child.daemon


def test_a_group_is_refused() -> None:
    with pytest.raises(AssertionError, match="group argument must be None"):
        phalanx.Process(group=1)  # type: ignore[arg-type]


def test_a_process_that_was_not_started_cannot_be_joined_or_ended() -> None:
    child = phalanx.Process()
    with pytest.raises(AssertionError, match="can only join a started process"):
        child.join()
    for end in (child.terminate, child.kill, child.interrupt):
        with pytest.raises(AttributeError):
            end()


def test_an_authkey_is_pickled_only_for_a_child() -> None:
    import pickle

    key = phalanx.current_process().authkey
    assert isinstance(key, process.AuthenticationString)
    with pytest.raises(TypeError, match="disallowed for security reasons"):
        pickle.dumps(key)


def test_the_main_process_describes_itself() -> None:
    main = phalanx.current_process()
    assert repr(main) == "<_MainProcess name='MainProcess' parent=None started>"
    assert main.is_alive()
    assert main.pid == os.getpid()
    assert phalanx.parent_process() is None


# -- while it runs, and when it has ended ------------------------------------------------------------------------------


def test_a_running_process_is_an_active_child(start: Any) -> None:
    child = start(wait_for_ever)
    assert child in phalanx.active_children()
    assert child.is_alive()
    assert child.exitcode is None
    assert f" pid={child.pid} parent={os.getpid()} started>" in repr(child)
    child.kill()
    child.join()
    assert child not in phalanx.active_children()
    assert not child.is_alive()
    assert repr(child).endswith("stopped exitcode=-SIGKILL>")


def test_a_process_starts_once(start: Any) -> None:
    child = start(int)
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        child.start()


@pytest.mark.parametrize(
    ("code", "expected"), [(None, 0), (0, 0), (7, 7), (True, 1), (False, 0), ("a message", 1), ([1, 2], 1)]
)
def test_sys_exit_gives_the_exit_code(start: Any, code: object, expected: int, capfd: Any) -> None:
    child = start(sys.exit, code)
    child.join()
    assert child.exitcode == expected
    assert capfd.readouterr().err == ("" if isinstance(code, int | None) else f"{code}\n")


def raise_in_child() -> None:
    raise ZeroDivisionError("told to")


def test_an_uncaught_exception_is_told_on_stderr_and_exits_with_1(start: Any, capfd: Any) -> None:
    child = start(raise_in_child, name="Unlucky")
    child.join()
    err = capfd.readouterr().err
    assert child.exitcode == 1
    assert err.startswith("Process Unlucky:\nTraceback ")
    assert err.endswith("ZeroDivisionError: told to\n")


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_in_a_child_is_told_in_one_line(start: Any, capfd: Any) -> None:
    child = start(raise_interrupt, name="Stopped")
    child.join()
    assert child.exitcode == 1
    assert capfd.readouterr().err == "Process Stopped: KeyboardInterrupt\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_gives_minus_its_number(start: Any, number: int) -> None:
    child = start(signal.pause)
    os.kill(child.pid, number)
    child.join()
    assert child.exitcode == -number


def abort() -> None:
    faulthandler.disable()
    os.abort()


def test_a_crash_gives_minus_its_signals_number(start: Any) -> None:
    child = start(abort)
    child.join()
    assert child.exitcode == -signal.SIGABRT


def test_terminate_and_kill_end_a_process(start: Any) -> None:
    for end, code in (("terminate", -signal.SIGTERM), ("kill", -signal.SIGKILL)):
        child = start(wait_for_ever)
        getattr(child, end)()
        child.join()
        assert child.exitcode == code
        getattr(child, end)()  # of one that has ended: nothing happens


def wait_for_interrupt(path: Path) -> None:
    try:
        report(path, "ready")
        wait_for_ever()
    except KeyboardInterrupt:
        sys.exit(5)


def test_interrupt_raises_in_the_child(start: Any, tmp_path: Path) -> None:
    child = start(wait_for_interrupt, tmp_path / "ready")
    wait_for_report(tmp_path / "ready")
    child.interrupt()
    child.join()
    assert child.exitcode == 5


def test_a_stopped_process_can_be_killed(start: Any) -> None:
    child = start(wait_for_ever)
    os.kill(child.pid, signal.SIGSTOP)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def test_the_sentinel_is_readable_at_the_end(start: Any) -> None:
    child = start(wait_for_ever)
    assert connection.wait([child.sentinel], 0) == []
    child.kill()
    assert connection.wait([child.sentinel], LONG_S) == [child.sentinel]


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_join_gives_up_after_its_timeout(start: Any, timeout: float) -> None:
    child = start(wait_for_ever)
    assert child.join(timeout) is None
    assert child.exitcode is None


def test_threads_may_join_the_same_process_at_once(start: Any) -> None:
    child = start(wait_for_ever)
    codes: list[int | None] = []
    threads = [threading.Thread(target=lambda: (child.join(), codes.append(child.exitcode))) for _ in range(8)]
    for thread in threads:
        thread.start()
    child.kill()
    for thread in threads:
        thread.join()
    assert codes == [-signal.SIGKILL] * 8


def test_close_releases_and_refuses_all_else(context: Any) -> None:
    child = context.Process(target=wait_for_ever, name="Closed")
    child.start()
    with pytest.raises(ValueError, match="Cannot close a process while it is still running"):
        child.close()
    child.kill()
    child.join()
    child.close()
    child.close()
    assert repr(child) == f"<{type(child).__name__} name='Closed' parent={os.getpid()} closed>"
    for use in (child.join, child.is_alive, child.terminate, lambda: child.exitcode, lambda: child.pid):
        with pytest.raises(ValueError, match="process object is closed"):
            use()


def test_somebody_else_may_reap_a_child(context: Any) -> None:
    """A test suite's `reap_children` does, and so does a program with a SIGCHLD handler of its own."""
    child = context.Process(target=sys.exit, args=(3,))
    child.start()
    lifelines.is_readable(child.sentinel, None)
    try:
        os.waitpid(child.pid, 0)
    except ChildProcessError:  # it is the fork server's
        pass
    child.join()
    assert child.exitcode in (3, 255)
    child.close()


def test_a_child_ends_where_sigchld_is_ignored(context: Any) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        child = context.Process(target=sys.exit, args=(0,))
        child.start()
        child.join()
        assert child.exitcode in (0, 255)
        child.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


class Target:
    def __call__(self, *args: object) -> None:
        pass


def test_a_started_process_keeps_nothing_of_its_target(context: Any) -> None:
    import weakref

    target, arguments = Target(), Target()
    gone = weakref.ref(target), weakref.ref(arguments)
    child = context.Process(target=target, args=(arguments,))
    del target, arguments
    child.start()
    child.join()
    assert [ref() for ref in gone] == [None, None]
    child.close()


def test_all_works_where_the_kernel_has_no_pidfds(context: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(lifelines, "_has_pidfds", False)
    for name in ("_own_pid", "_own_fd", "_own_writer"):
        monkeypatch.setattr(lifelines, name, 0)  # restored at the end
    child = context.Process(target=outlive_parent, args=(tmp_path / "dead",))
    child.start()
    assert wait_for_report(tmp_path / "alive") == ["True"]
    assert not lifelines.is_readable(child.sentinel, 0)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    child.close()
    util.close_fds(lifelines._own_fd, lifelines._own_writer)


# -- what the child sees -----------------------------------------------------------------------------------------------


def tell_about_itself(path: Path) -> None:
    current, parent = phalanx.current_process(), phalanx.parent_process()
    assert parent is not None
    report(path, current.name, current.pid == os.getpid(), bytes(current.authkey).hex(), current.daemon, parent.name,
           parent.pid, parent.is_alive(), repr(parent), phalanx.get_start_method(), phalanx.active_children(),
           sys.stdin.read() == "")  # fmt: skip


def test_a_child_knows_itself_and_its_parent(start: Any, start_method: str, tmp_path: Path) -> None:
    start(tell_about_itself, tmp_path / "told", name="Told", daemon=True)
    key = bytes(phalanx.current_process().authkey).hex()
    assert wait_for_report(tmp_path / "told") == [
        "Told", "True", key, "True", "MainProcess", str(os.getpid()), "True",
        "<_ParentProcess name='MainProcess' parent=None unknown>", start_method, "[]", "True",
    ]  # fmt: skip


def start_grandchild(path: Path) -> None:
    child = phalanx.Process(target=outlive_parent, args=(path,))
    child.start()
    report(path.with_name("grandchild"), child.pid)
    wait_for_ever()


def outlive_parent(path: Path) -> None:
    parent = phalanx.parent_process()
    assert parent is not None
    report(path.with_name("alive"), parent.is_alive())
    parent.join(LONG_S)
    report(path, parent.is_alive())


@pytest.mark.leaves("processes")  # the grandchild is nobody's child when it has ended
def test_a_child_sees_its_parent_die(start: Any, tmp_path: Path) -> None:
    child = start(start_grandchild, tmp_path / "dead")
    assert wait_for_report(tmp_path / "alive") == ["True"]
    child.kill()
    assert wait_for_report(tmp_path / "dead") == ["False"]


def exit_if_no_input(code: int) -> None:
    sys.exit(code if sys.stdin.read() == "" else 1)


def be_daemon_with_child() -> None:
    child = phalanx.Process(target=exit_if_no_input, args=(4,))
    child.start()
    child.join()
    sys.exit(child.exitcode)


def test_a_daemonic_process_may_have_children(start: Any) -> None:
    child = start(be_daemon_with_child, daemon=True)
    child.join()
    assert child.exitcode == 4


class Overridden(process.BaseProcess):
    """`run` instead of a target; the start method is put in by the test."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def run(self) -> None:
        sys.exit(self.code)


class ForkOverridden(Overridden, phalanx.get_context("fork").Process):  # type: ignore[misc,name-defined]
    pass


class SpawnOverridden(Overridden, phalanx.get_context("spawn").Process):  # type: ignore[misc,name-defined]
    pass


class ForkServerOverridden(Overridden, phalanx.get_context("forkserver").Process):  # type: ignore[misc,name-defined]
    pass


def test_run_can_be_overridden(start_method: str) -> None:
    classes = {"fork": ForkOverridden, "spawn": SpawnOverridden, "forkserver": ForkServerOverridden}
    child = classes[start_method](6)
    child.start()
    child.join()
    assert child.exitcode == 6
    child.close()


def leave_threads(path: Path) -> None:
    release = threading.Event()
    threading.Thread(target=lambda: (release.wait(), report(path, "thread has ended"))).start()
    threading.Thread(target=wait_for_ever_in_thread, daemon=True).start()
    threading.Timer(0.05, release.set).start()


def wait_for_ever_in_thread() -> None:
    threading.Event().wait()


def test_threads_are_joined_at_the_end_unless_daemonic(start: Any, tmp_path: Path) -> None:
    child = start(leave_threads, tmp_path / "ended")
    child.join()
    assert child.exitcode == 0
    assert (tmp_path / "ended").exists()


def use_exit_functions(path: Path) -> None:
    log: list[str] = []
    atexit.register(lambda: report(path, *log))
    util.Finalize(None, log.append, args=("priority 1",), exitpriority=1)
    util.Finalize(None, log.append, args=("priority -1",), exitpriority=-1)
    threading.Thread(target=log.append, args=("thread",)).start()
    sys.stdout.write("flushed")


def test_exit_functions_of_the_child_run_those_of_the_parent_do_not(start: Any, tmp_path: Path, capfd: Any) -> None:
    calls: list[int] = []
    atexit.register(calls.append, 1)
    try:
        child = start(use_exit_functions, tmp_path / "log")
        child.join()
    finally:
        atexit.unregister(calls.append)
    assert wait_for_report(tmp_path / "log")[-2:] == ["priority 1", "priority -1"]
    assert capfd.readouterr().out == "flushed"


def exit_with_too_much() -> None:
    sys.exit(2**40 + 3)


def test_an_exit_code_is_cut_as_the_kernel_does(start: Any) -> None:
    child = start(exit_with_too_much)
    child.join()
    assert child.exitcode == 3


def test_a_fork_of_the_programs_own_has_none_of_the_children(start: Any) -> None:
    child = start(wait_for_ever, daemon=True)
    pid = os.fork()
    if pid == 0:
        util._exit_function()
        os._exit(len(phalanx.active_children()))
    assert os.waitpid(pid, 0)[1] == 0
    assert child.is_alive()


def start_daemon_and_end(path: Path) -> None:
    child = phalanx.Process(target=wait_for_ever, daemon=True)
    child.start()
    report(path, child.pid)


def test_a_daemon_ends_with_the_process_that_started_it(start: Any, tmp_path: Path) -> None:
    child = start(start_daemon_and_end, tmp_path / "pid")
    child.join()
    (pid,) = wait_for_report(tmp_path / "pid")
    wait_until_gone(int(pid))


def wait_until_gone(pid: int) -> None:
    """A fork server reaps what has lost its client a moment later than that."""
    deadline = time.monotonic() + GONE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- signals and event loops of the parent -----------------------------------------------------------------------------


def tell_signals(path: Path) -> None:
    report(path, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.set_wakeup_fd(-1),
           signal.getsignal(signal.SIGINT) is signal.default_int_handler)  # fmt: skip


def test_a_child_inherits_nothing_of_an_event_loop(context: Any, tmp_path: Path) -> None:
    async def serve() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, int)
        child = context.Process(target=tell_signals, args=(tmp_path / "told",))
        child.start()
        child.join()
        child.close()

    asyncio.run(serve())
    assert wait_for_report(tmp_path / "told") == ["True", "-1", "True"]


# -- logging -----------------------------------------------------------------------------------------------------------


def tell_process_name(path: Path, set_up: Any = None) -> None:
    if set_up:
        set_up()
    record = logging.getLogger("x").makeRecord("x", logging.INFO, "file", 1, "message", (), None)
    report(path, record.processName, getattr(record, "mark", None))


def wrap_factory() -> None:
    make_record = logging.getLogRecordFactory()

    def make_marked(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make_record(*args, **kwargs)
        record.mark = "marked"
        return record

    logging.setLogRecordFactory(make_marked)


@pytest.mark.parametrize("set_up", [None, wrap_factory])
def test_log_records_name_the_process(start: Any, tmp_path: Path, set_up: Any) -> None:
    start(tell_process_name, tmp_path / "told", set_up, name="Logged")
    assert wait_for_report(tmp_path / "told") == ["Logged", "None" if set_up is None else "marked"]


def test_a_factory_of_the_users_goes_on_working_in_a_forked_child(tmp_path: Path) -> None:
    before = logging.getLogRecordFactory()
    wrap_factory()
    try:
        child = phalanx.get_context("fork").Process(target=tell_process_name, args=(tmp_path / "told",), name="Logged")
        child.start()
        child.join()
        child.close()
    finally:
        logging.setLogRecordFactory(before)
    assert wait_for_report(tmp_path / "told") == ["Logged", "marked"]


# -- programs ----------------------------------------------------------------------------------------------------------


NO_LOGGING_AT_FIRST = """
import sys
import phalanx

def f():
    loaded = "logging" in sys.modules
    import logging
    logging.basicConfig(format="%(processName)s", stream=sys.stdout)
    logging.warning("x")
    print(loaded, "multiprocessing" in sys.modules, flush=True)

if __name__ == "__main__":
    child = phalanx.get_context(sys.argv[1]).Process(target=f, name="Late")
    child.start()
    child.join()
"""


def run_program(source: str, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path.write_text(source)
    return subprocess.run(
        [sys.executable, path, *arguments], check=False, capture_output=True, text=True, timeout=LONG_S
    )


def test_logging_loaded_late_names_the_process_too(start_method: str, tmp_path: Path) -> None:
    done = run_program(NO_LOGGING_AT_FIRST, tmp_path / "program.py", start_method)
    assert (done.stdout, done.stderr) == ("Late\nFalse False\n", "")


STUBBORN_DAEMON = """
import signal, sys
import phalanx
from phalanx._base import limits

limits.DAEMON_JOIN_TIMEOUT_S = 0.1

def f(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    while True:
        signal.pause()

if __name__ == "__main__":
    context = phalanx.get_context(sys.argv[1])
    ready = context.Event()
    context.Process(target=f, args=(ready,), daemon=True).start()
    ready.wait()
    print("end")
"""


def test_a_program_ends_though_its_daemon_will_not(start_method: str, tmp_path: Path) -> None:
    done = run_program(STUBBORN_DAEMON, tmp_path / "program.py", start_method)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
