"""What a worker does: call the function with one input, and turn what comes of it into one line of JSON."""

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from phalanx._cli.failure import full_story, headline
from phalanx._cli.target import Target

__all__ = ["Done", "Work", "failed", "prepare"]


class Done(NamedTuple):
    """One input's outcome. The line is made by the worker, so results need not be picklable, only describable."""

    number: int
    line: str
    is_failed: bool
    busy_ns: int


def prepare(target: Target) -> None:
    """Once in each worker: what the function prints goes to stderr, so that stdout has nothing but lines of JSON."""
    sys.path.insert(0, target.folder)  # not before this interpreter is complete: a file there may be called json.py
    if sys.stdout is not None and sys.stderr is not None:
        sys.stdout.flush()
        os.dup2(2, 1)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


@dataclass(frozen=True)
class Work:
    """What is to be done with each input. Its `repr` is what an error calls it."""

    target: Target
    as_json: bool

    def __repr__(self) -> str:
        return f"{self.target.module}:{self.target.function}"

    def __call__(self, item: tuple[int, str]) -> Done:
        number, text = item
        start_ns = time.perf_counter_ns()
        try:
            result = encode(self.target.load()(json.loads(text) if self.as_json else text))
        except BaseException as error:  # noqa: BLE001 - SystemExit, too, is the failure of this one input
            return failed(number, text, error, time.perf_counter_ns() - start_ns)
        line = f'{{"index": {number}, "input": {json.dumps(text)}, "result": {result}}}'
        return Done(number, line, False, time.perf_counter_ns() - start_ns)

    def time_all(self, texts: list[str]) -> float:
        """Seconds that one process needs for all of them, with no message in between."""
        self.target.load()
        start_s = time.perf_counter()
        for item in enumerate(texts):
            self(item)
        return time.perf_counter() - start_s


def encode(result: Any) -> str:
    """JSON. What JSON cannot hold (an object, infinity, a key that is no string) is written as its `repr`."""
    try:
        return json.dumps(result, allow_nan=False, default=repr)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(repr(result))


def failed(number: int, text: str, error: BaseException, busy_ns: int = 0) -> Done:
    """Of an error that the function raised, or of what happened to the worker that ran it."""
    fields = {"index": number, "input": text, "error": headline(error), "traceback": full_story(error)}
    return Done(number, json.dumps(fields), True, busy_ns)
