"""What a worker does: call the function with one input, and turn what comes of it into one line of JSON."""

import json
import os
import sys
import time
import traceback
from typing import Any, NamedTuple

from phalanx._cli.target import Target

__all__ = ["Done", "failed", "prepare", "run_all", "run_one"]


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


def run_one(target: Target, as_json: bool, item: tuple[int, str]) -> Done:
    index, text = item
    start_ns = time.perf_counter_ns()
    try:
        result = encode(target.load()(json.loads(text) if as_json else text))
    except BaseException as error:  # noqa: BLE001 - SystemExit, too, is the failure of this one input
        return failed(index, text, error, time.perf_counter_ns() - start_ns)
    line = f'{{"index": {index}, "input": {json.dumps(text)}, "result": {result}}}'
    return Done(index, line, False, time.perf_counter_ns() - start_ns)


def run_all(target: Target, as_json: bool, texts: list[str]) -> float:
    """Seconds that one process needs for all of them, with no message in between."""
    target.load()
    start_s = time.perf_counter()
    for item in enumerate(texts):
        run_one(target, as_json, item)
    return time.perf_counter() - start_s


def encode(result: Any) -> str:
    """JSON. What JSON cannot hold (an object, infinity, a key that is no string) is written as its `repr`."""
    try:
        return json.dumps(result, allow_nan=False, default=repr)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(repr(result))


def failed(index: int, text: str, error: BaseException, busy_ns: int = 0) -> Done:
    fields = {
        "index": index,
        "input": text,
        "error": traceback.format_exception_only(error)[-1].strip(),
        "traceback": "".join(traceback.format_exception(without_our_frame(error))),
    }
    return Done(index, json.dumps(fields), True, busy_ns)


def without_our_frame(error: BaseException) -> BaseException:
    """The traceback then begins in the user's function."""
    return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
