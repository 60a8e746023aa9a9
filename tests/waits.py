"""What tests of waiting share: bounds, signals that interrupt, threads and children that must end."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LONG_S = 30.0
"""A bound for what must happen at once: it fails a test instead of hanging it."""

SHORT_S = 0.02
"""How long a wait lasts that must end with its timeout."""


class Interrupted(Exception):
    pass


@contextmanager
def interrupting(raises: bool = True) -> Iterator[list[int]]:
    """Signals for this thread until its handler has run once; the list has an item from then on."""
    runs: list[int] = []

    def handler(number: int, frame: Any) -> None:
        runs.append(number)
        if raises and len(runs) == 1:
            raise Interrupted

    def send() -> None:
        while not runs and not over.wait(0.005):
            os.kill(os.getpid(), signal.SIGUSR1)

    over = threading.Event()
    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield runs
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def running(target: Any, *args: Any) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=target, args=args)
    thread.start()
    yield thread
    thread.join(LONG_S)
    assert not thread.is_alive()


def run_in_child(context: Any, target: Any, *args: Any) -> int:
    process = context.Process(target=target, args=args)
    process.start()
    process.join(LONG_S)
    assert process.exitcode is not None
    exitcode: int = process.exitcode
    process.close()
    return exitcode
