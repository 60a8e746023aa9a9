"""The watcher: when it is started, what it removes, what it survives, and that it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from phalanx import resource_tracker
from phalanx._base import segments, watcher
from phalanx.resource_tracker import ResourceTracker, _resource_tracker
from phalanx.shared_memory import SharedMemory

DEADLINE_S = 40
NAME = f"/phalanx-watched-{os.getpid()}"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it has not come to pass"
        time.sleep(0.01)


def exists(name: str) -> bool:
    return segments.identity(name) is not None


def has_ended(pid: int) -> bool:
    """Gone, or a zombie that an idle init has not reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in b"ZX"
    except OSError:
        return True


@pytest.fixture
def tracker() -> Iterator[ResourceTracker]:
    tracker = ResourceTracker()
    yield tracker
    tracker._stop()


@pytest.fixture
def file() -> Iterator[str]:
    """The name of a segment that nobody tracks."""
    with SharedMemory(create=True, size=1, track=False) as segment:
        yield segment._name
    if exists(segment._name):
        segments.shm_unlink(segment._name)


# -- when there is one -------------------------------------------------------------------------------------------------


def test_only_a_tracked_segment_that_is_made_here_starts_a_watcher() -> None:
    with SharedMemory(create=True, size=1, track=False) as segment, SharedMemory(segment.name):
        assert _resource_tracker.fd_if_running() is None
        segment.unlink()
    with SharedMemory(create=True, size=1) as segment:
        assert _resource_tracker.fd_if_running() is not None
        segment.unlink()


def test_an_explicit_wish_tracks_what_is_attached(file: str) -> None:
    with SharedMemory(file[1:], track=True):
        assert _resource_tracker.fd_if_running() is not None
    _resource_tracker._stop()
    assert not exists(file)


def test_taking_back_what_nobody_has_registered_starts_nothing() -> None:
    resource_tracker.unregister(NAME, "shared_memory")
    assert _resource_tracker.fd_if_running() is None


def report_tracker(queue: Any) -> None:
    queue.put(
        (_resource_tracker.fd_if_running() is not None and _resource_tracker._check_alive(), _resource_tracker._pid)
    )


def test_children_share_their_parents_watcher(context: Any) -> None:
    resource_tracker.ensure_running()
    queue = context.Queue()
    child = context.Process(target=report_tracker, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == (True, None)
    child.join()


# -- what it does ------------------------------------------------------------------------------------------------------


def test_it_removes_what_is_left_and_says_so(tracker: ResourceTracker, file: str, capfd: Any) -> None:
    tracker.register(file, "shared_memory")
    tracker._stop()
    assert not exists(file)
    assert tracker._exitcode == 1
    assert "resource_tracker: There appear to be 1 leaked shared_memory objects to clean up" in capfd.readouterr().err


def test_it_says_nothing_of_what_is_gone(tracker: ResourceTracker, file: str, capfd: Any) -> None:
    tracker.register(file, "shared_memory")
    tracker.register(NAME, "shared_memory")
    tracker.unregister(NAME, "shared_memory")
    segments.shm_unlink(file)
    tracker._stop()
    assert tracker._exitcode == 0
    assert capfd.readouterr().err == ""


def test_it_leaves_a_later_segment_of_the_same_name_alone(tracker: ResourceTracker, file: str) -> None:
    tracker.register(file, "shared_memory")
    wait_until_read(tracker)
    segments.shm_unlink(file)
    with SharedMemory(file[1:], create=True, size=1, track=False):
        tracker._stop()
        assert exists(file)


def wait_until_read(tracker: ResourceTracker) -> None:
    """The pipe is empty, and what was in it has been obeyed once the watcher waits for more."""
    import fcntl
    import termios

    def is_idle() -> bool:
        unread = int.from_bytes(fcntl.ioctl(tracker.getfd(), termios.FIONREAD, bytes(4)), sys.byteorder)
        with open(f"/proc/{tracker._pid}/stat", "rb") as file:
            return unread == 0 and file.read().rpartition(b")")[2].split()[0] == b"S"

    wait_until(is_idle)


def test_names_may_hold_anything(tracker: ResourceTracker) -> None:
    names = ["/a:b\n", "/\n", "/nön"]
    for name in names:
        SharedMemory(name[1:], create=True, size=1, track=False).close()
        tracker.register(name, "shared_memory")
    tracker._stop()
    assert not [name for name in names if exists(name)]


def test_what_cannot_be_tracked_is_refused(tracker: ResourceTracker) -> None:
    with pytest.raises(ValueError, match="is none of noop, dummy, shared_memory"):
        tracker.register("x", "umbrella")
    with pytest.raises(ValueError, match="too long"):
        tracker.register("x" * 500, "shared_memory")
    with pytest.raises(ValueError, match="null"):
        tracker.register("x\0y", "shared_memory")
    assert tracker.fd_if_running() is None


@pytest.mark.parametrize(("stays", "exit_code"), [(True, 1), (False, 0)])
def test_the_exit_code_tells_whether_something_was_left(tracker: ResourceTracker, stays: bool, exit_code: int) -> None:
    tracker.register("somename", "dummy")
    if not stays:
        tracker.unregister("somename", "dummy")
    assert tracker._check_alive()
    assert tracker._exitcode is None
    tracker._stop()
    assert tracker._exitcode == exit_code


def test_an_expected_segment_is_known_by_its_identity(file: str) -> None:
    registry = watcher.Registry()
    registry.obey(file, "EXPECT", "0:0")
    assert registry.left() == []
    registry.obey(file, "EXPECT", str(segments.identity(file)))
    assert registry.left() == [("shared_memory", file)]
    registry.obey(file, "UNEXPECT", str(segments.identity(file)))
    assert registry.left() == []


# -- what it survives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_programs_do_not_end_it(tracker: ResourceTracker, file: str, number: int) -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    tracker.register(file, "shared_memory")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert tracker._pid is not None
    os.kill(tracker._pid, number)
    tracker._stop()
    assert tracker._exitcode == 1
    assert not exists(file)


def test_one_that_was_killed_is_replaced_and_told_again(tracker: ResourceTracker, file: str) -> None:
    tracker.register(file, "shared_memory")
    pid = tracker._pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not tracker._check_alive())
    tracker.unregister("another", "dummy")
    with pytest.warns(UserWarning, match="resource_tracker: process died"):
        tracker.ensure_running()
    assert tracker._pid != pid
    tracker._stop()
    assert not exists(file)


def test_a_child_that_holds_the_pipe_does_not_hold_up_its_parent(tracker: ResourceTracker) -> None:
    tracker.ensure_running()
    watcher_pid = tracker._pid
    assert watcher_pid is not None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    tracker._stop(wait_timeout=0.05)
    assert tracker._waitpid_timed_out
    os.close(writer)
    os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(watcher_pid, 0)[1]) == 0


# -- whole programs ----------------------------------------------------------------------------------------------------

MAKE = """
import os, signal, sys
import phalanx
from phalanx import resource_tracker
from phalanx.shared_memory import SharedMemory

def make(track=True):
    segment = SharedMemory(create=True, size=10)
    print(segment.name, resource_tracker._resource_tracker._pid, flush=True)

def make_and_wait():
    make()
    signal.pause()
"""


def start(program: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MAKE + program]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def read_made(process: "subprocess.Popen[str]") -> tuple[str, int]:
    assert process.stdout is not None
    name, pid = process.stdout.readline().split()
    return f"/{name}", int(pid)


def finish(process: "subprocess.Popen[str]") -> str:
    """What it wrote on stderr, which the watcher shares: its end is the watcher's end."""
    _, errors = process.communicate(timeout=DEADLINE_S)
    return errors


@pytest.mark.parametrize("whole_group", [False, True], ids=["process", "group"])
def test_a_killed_program_leaves_neither_segment_nor_watcher(whole_group: bool) -> None:
    process = start("make_and_wait()", start_new_session=True)
    name, watcher_pid = read_made(process)
    if whole_group:
        wait_until(lambda: os.getpgid(watcher_pid) == watcher_pid)
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(process.pid, signal.SIGKILL)
    assert "There appear to be 1 leaked shared_memory objects" in finish(process)
    wait_until(lambda: not exists(name))
    wait_until(lambda: has_ended(watcher_pid))


def test_a_death_right_after_the_making_leaves_nothing() -> None:
    process = start("""
def die(name, rtype):
    print(name[1:], resource_tracker._resource_tracker._pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

resource_tracker.register = die
make()
""")
    name, _ = read_made(process)
    assert "There appear to be 1 leaked shared_memory objects" in finish(process)
    assert not exists(name)


def test_warnings_that_are_errors_do_not_keep_it_from_its_work() -> None:
    process = start("import warnings; make_and_wait()", env={**os.environ, "PYTHONWARNINGS": "error"})
    name, _ = read_made(process)
    process.kill()
    assert "There appear to be 1 leaked shared_memory objects" in finish(process)
    assert not exists(name)


def test_a_program_that_tidies_up_leaves_nothing_and_is_silent() -> None:
    process = start("""
segment = SharedMemory(create=True, size=10)
print(segment.name, resource_tracker._resource_tracker._pid, flush=True)
segment.unlink()
""")
    name, watcher_pid = read_made(process)
    assert finish(process) == ""
    assert process.returncode == 0
    assert not exists(name)
    assert has_ended(watcher_pid)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_a_child_has_made_stays_while_the_first_process_lives(method: str, tmp_path: Any) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        MAKE
        + f"""
if __name__ == "__main__":
    child = phalanx.get_context({method!r}).Process(target=make)
    child.start()
    child.join()
    print("joined", child.exitcode, flush=True)
    signal.pause()
"""
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    name, watcher_pid = read_made(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "joined 0\n"
    assert exists(name)
    assert not has_ended(watcher_pid)
    process.kill()
    finish(process)
    wait_until(lambda: not exists(name))
    wait_until(lambda: has_ended(watcher_pid))


def test_a_manager_whose_program_is_killed_leaves_no_segment() -> None:
    process = start("""
from phalanx.managers import SharedMemoryManager
manager = SharedMemoryManager(ctx=phalanx.get_context("fork"))
manager.start()
segment = manager.SharedMemory(10)
print(segment.name, manager._process.pid, flush=True)
signal.pause()
""")
    name, server_pid = read_made(process)
    process.kill()
    finish(process)
    wait_until(lambda: not exists(name))
    wait_until(lambda: has_ended(server_pid))
