"""The fork server: it is started once, survives its clients' deaths, is replaced when it dies, ends with its owner."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx import forkserver
from phalanx._base import lifelines, limits

LONG_S = 40.0

server = forkserver._forkserver


@pytest.fixture
def context() -> Any:
    return phalanx.get_context("forkserver")


@pytest.fixture(autouse=True)
def fresh_server() -> Iterator[None]:
    server._stop()
    modules, on_error = server._preload_modules, server._preload_on_error
    yield
    server.set_forkserver_preload(modules, on_error=on_error)
    server._stop()


def exit_code_of_child(context: Any, target: Any, *args: Any) -> int | None:
    child = context.Process(target=target, args=args)
    child.start()
    child.join()
    code: int | None = child.exitcode
    child.close()
    return code


def test_one_server_serves_all(context: Any) -> None:
    assert exit_code_of_child(context, sys.exit, 3) == 3
    pid = server._forkserver_pid
    assert pid is not None
    forkserver.ensure_running()
    assert exit_code_of_child(context, sys.exit, 4) == 4
    assert server._forkserver_pid == pid


def kill_server() -> None:
    assert server._forkserver_pid is not None
    pidfd = os.pidfd_open(server._forkserver_pid)
    os.kill(server._forkserver_pid, signal.SIGKILL)
    lifelines.is_readable(pidfd, LONG_S)
    os.close(pidfd)


def test_a_dead_server_is_replaced(context: Any) -> None:
    forkserver.ensure_running()
    pid = server._forkserver_pid
    kill_server()
    assert exit_code_of_child(context, sys.exit, 5) == 5
    assert server._forkserver_pid != pid


def test_a_child_outlives_its_server_and_is_waited_for(context: Any) -> None:
    child = context.Process(target=signal.pause)
    child.start()
    kill_server()
    assert child.is_alive()
    child.kill()
    child.join()
    assert child.exitcode in (-signal.SIGKILL, 255)
    child.close()


def test_a_stopped_server_holds_up_nobody_who_waits_for_a_dead_child(context: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "EXIT_STATUS_TIMEOUT_S", 0.1)
    child = context.Process(target=signal.pause)
    child.start()
    assert server._forkserver_pid is not None
    os.kill(server._forkserver_pid, signal.SIGSTOP)
    child.kill()
    child.join()
    assert child.exitcode == 255
    child.close()


def test_ctrl_c_does_not_end_the_server(context: Any) -> None:
    forkserver.ensure_running()
    pid = server._forkserver_pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    assert exit_code_of_child(context, sys.exit, 6) == 6
    assert server._forkserver_pid == pid


def test_children_get_ctrl_c(context: Any, tmp_path: Path) -> None:
    child = context.Process(target=exit_at_interrupt, args=(tmp_path / "ready",))
    child.start()
    wait_for(tmp_path / "ready")
    os.kill(child.pid, signal.SIGINT)
    child.join()
    assert child.exitcode == 7
    child.close()


def exit_at_interrupt(path: Path) -> None:
    try:
        path.touch()
        while True:
            signal.pause()
    except KeyboardInterrupt:
        sys.exit(7)


def wait_for(path: Path) -> None:
    deadline_s = time.monotonic() + LONG_S
    while not path.exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def start_from_child(pid: int) -> None:
    """In a child of the server: its own children come from the same server."""
    child = phalanx.Process(target=sys.exit, args=(8,))
    child.start()
    child.join()
    with open(f"/proc/{os.getpid()}/stat") as file:
        is_servers = int(file.read().rpartition(")")[2].split()[1]) == pid
    sys.exit(child.exitcode if is_servers and server._forkserver_pid is None else 1)


def test_children_of_the_server_use_it_too(context: Any) -> None:
    forkserver.ensure_running()
    assert exit_code_of_child(context, start_from_child, server._forkserver_pid) == 8


def test_threads_may_start_processes_at_once(context: Any) -> None:
    codes: list[int | None] = []
    threads = [
        threading.Thread(target=lambda n=n: codes.append(exit_code_of_child(context, sys.exit, n))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == list(range(8))  # type: ignore[type-var]


def count_fds() -> None:
    sys.exit(len(os.listdir("/proc/self/fd")))


def test_a_child_has_no_descriptors_of_its_siblings(context: Any) -> None:
    siblings = [context.Process(target=signal.pause) for _ in range(3)]
    alone = exit_code_of_child(context, count_fds)
    for sibling in siblings:
        sibling.start()
    assert exit_code_of_child(context, count_fds) == alone
    for sibling in siblings:
        sibling.kill()
        sibling.join()
        sibling.close()


def test_too_many_descriptors_are_refused(context: Any) -> None:
    with pytest.raises(ValueError, match="too many fds"):
        forkserver.connect_to_new_process([0] * (limits.INHERITED_FDS_MAX_COUNT + 2))


def test_only_a_child_of_the_server_has_inherited_descriptors() -> None:
    assert forkserver.get_inherited_fds() is None


# -- preloading --------------------------------------------------------------------------------------------------------


def exit_if_loaded(name: str) -> None:
    sys.exit(name in sys.modules)


def test_modules_are_preloaded(context: Any) -> None:
    context.set_forkserver_preload(["wave"])
    assert exit_code_of_child(context, exit_if_loaded, "wave") == 1
    assert exit_code_of_child(context, exit_if_loaded, "sndhdr_of_nobody") == 0


PRELOAD_MISSING = """
import sys
import phalanx

if __name__ == "__main__":
    context = phalanx.get_context("forkserver")
    context.set_forkserver_preload(["no_such_module"], on_error=sys.argv[1])
    child = context.Process(target=print, args=("runs",))
    child.start()
    child.join()
"""


@pytest.mark.parametrize(
    ("on_error", "stdout", "stderr"),
    [("ignore", "runs\n", ""), ("warn", "runs\n", "ImportWarning"), ("fail", "", "ModuleNotFoundError")],
)
def test_a_module_that_cannot_be_preloaded(on_error: str, stdout: str, stderr: str, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PRELOAD_MISSING)
    done = subprocess.run([sys.executable, path, on_error], check=False, capture_output=True, text=True, timeout=LONG_S)
    assert done.stdout == stdout
    assert stderr in done.stderr
    assert (done.stderr == "") is (on_error == "ignore")
    assert ("EOFError" in done.stderr) is (on_error == "fail")


# -- the owner's end ---------------------------------------------------------------------------------------------------

KILL_OWNER = """
import os, signal
import phalanx
from phalanx import forkserver

if __name__ == "__main__":
    forkserver.ensure_running()
    print(forkserver._forkserver._forkserver_pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_server_ends_with_its_owner_however_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(KILL_OWNER)
    done = subprocess.run([sys.executable, path], check=False, capture_output=True, text=True, timeout=LONG_S)
    assert done.returncode == -signal.SIGKILL
    try:
        pidfd = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:
        return
    assert lifelines.is_readable(pidfd, LONG_S)
    os.close(pidfd)


def test_a_default_timeout_for_sockets_is_not_for_the_server(context: Any) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.001)
    try:
        assert exit_code_of_child(context, sys.exit, 9) == 9
    finally:
        socket.setdefaulttimeout(before)


def kill_with_nothing_for_ever(pid: int) -> None:
    while True:
        os.kill(pid, 0)


def test_a_pid_is_nobody_elses_until_its_end_has_been_seen(context: Any) -> None:
    child = context.Process(target=sys.exit)
    child.start()
    lifelines.is_readable(child.sentinel, None)
    os.kill(child.pid, 0)
    child.join()
    with pytest.raises(ProcessLookupError):  # the server reaps it as soon as it hears of it
        kill_with_nothing_for_ever(child.pid)
    child.close()
