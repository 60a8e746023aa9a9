"""What tests of executors have workers run, and objects that do not like to travel."""

import logging
import os
import signal
from typing import Any

import phalanx
from phalanx.futures import ProcessPoolExecutor
from waits import LONG_S


def square(x: int) -> int:
    return x * x


def add(x: int, y: int = 0) -> int:
    return x + y


def keywords(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def divide(x: int) -> int:
    return 12 // x


def raise_exit(code: int) -> None:
    raise SystemExit(code)


def end_abruptly(code: int) -> None:
    os._exit(code)


def die_once(mark: str) -> str:
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "second try"
    os.kill(os.getpid(), signal.SIGKILL)
    return "unreachable"


def announce_and_wait(announced: Any, gate: Any) -> int:
    announced.release()
    gate.wait()
    return os.getpid()


def wait_for(gate: Any) -> bool:
    return bool(gate.wait(LONG_S))


def set_up(value: str) -> None:
    global setting
    setting = value


setting = "unset"


def get_setting(_: object = None) -> str:
    return setting


def refuse_to_start() -> None:
    logging.disable()
    raise LookupError("no")


def run_with(executor_kind: Any) -> list[int]:
    with executor_kind(1, mp_context=phalanx.get_context("fork")) as inner:
        return list(inner.map(square, range(3)))


def nested() -> list[int]:
    return run_with(ProcessPoolExecutor)


class Refuses:
    """Cannot be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise LookupError("not me")


class Unloadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return divide, (0,)


class Numbers:
    def __init__(self, base: int) -> None:
        self.base = base

    def plus(self, x: int) -> int:
        return self.base + x


def make_refusing() -> Refuses:
    return Refuses()


def make_unloadable() -> Unloadable:
    return Unloadable()


def event_that_is_set(context: Any) -> Any:
    event = context.Event()
    event.set()
    return event
