"""Ctrl-C in a terminal: the program ends, one process says why, and nothing is left."""

import fcntl
import os
import pty
import signal
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from programs import POLL_S, PROMPT_S, Program

INTERRUPTED = Path(__file__).parent / "programs" / "interrupted.py"

CTRL_C = b"\x03"

WAITS = {"map": 2, "busy map": 2, "imap": 2, "apply": 1, "result": 1, "lock": 1, "get": 1, "recv": 1, "event": 1,
         "manager": 1}  # fmt: skip
"""How many processes say `ready` before the main process waits."""


class Terminal:
    """A pseudo terminal with a program in front."""

    def __init__(self, *arguments: str) -> None:
        self._keyboard, screen = pty.openpty()
        try:
            self.program = Program(INTERRUPTED, *arguments, terminal=screen, preexec_fn=take_terminal)
        finally:
            os.close(screen)
        os.set_blocking(self._keyboard, False)
        self.said = ""

    def close(self) -> None:
        os.close(self._keyboard)

    def press_ctrl_c(self) -> None:
        os.write(self._keyboard, CTRL_C)

    def wait_said(self, word: str, count: int) -> None:
        deadline = time.monotonic() + PROMPT_S
        while self.said.count(word) < count:
            assert time.monotonic() < deadline, self.said
            self.read()
            time.sleep(POLL_S)

    def read(self) -> None:
        try:
            self.said += os.read(self._keyboard, 65536).decode()
        except BlockingIOError:
            pass
        except OSError:  # nobody has the terminal any more
            pass


def take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    screen = Terminal(*arguments)
    with screen.program:
        yield screen
    screen.close()


def is_asleep(pid: int) -> bool:
    """Whether the main thread sleeps in the kernel."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def end_by_ctrl_c(screen: Terminal) -> str:
    screen.press_ctrl_c()
    code = screen.program.wait()
    screen.program.expect_gone()
    screen.read()
    assert code in (-signal.SIGINT, 130), screen.said
    return screen.said


@pytest.mark.parametrize("wait", WAITS)
def test_one_keyboard_interrupt(start_method: str, wait: str) -> None:
    with terminal(start_method, wait) as screen:
        screen.wait_said("ready", WAITS[wait])
        wait_asleep(screen.program.process.pid)
        said = end_by_ctrl_c(screen)
    assert said.count("Traceback (most recent call last)") == 1, said
    assert said.rstrip().endswith("KeyboardInterrupt"), said


def wait_asleep(pid: int) -> None:
    deadline = time.monotonic() + PROMPT_S
    while not is_asleep(pid):
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


def test_a_process_that_is_interrupted_says_so_in_one_line(start_method: str) -> None:
    with terminal(start_method, "join") as screen:
        screen.wait_said("ready", 1)
        wait_asleep(screen.program.process.pid)
        said = end_by_ctrl_c(screen)
    assert said.count("Traceback (most recent call last)") == 1, said
    lines = [line for line in said.splitlines() if "Process-1:" in line]
    assert len(lines) == 1, said
    assert lines[0].endswith("Process-1: KeyboardInterrupt"), said
