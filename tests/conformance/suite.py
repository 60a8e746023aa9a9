"""The interpreter's own tests over one package: class by class, and test by test where a class hung or crashed."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance import isolation

STDLIB = "multiprocessing"
SUITES = ("multiprocessing", "executor", "own-executor")
"""The package's own tests; those of the stdlib's executor over it; the same with phalanx's executor in its place."""
INSIDE = Path(__file__).parent / "inside"

CLASS_LIMIT_S = 240.0
TEST_LIMIT_S = 90.0
LISTING_LIMIT_S = 60.0

HANGING_TESTS = 5
"""After so many tests of one class have hung alone too, the rest of that class is not run."""

SEVERITY = ("pass", "skip", "fail", "error", "crash", "hang", "not run")


@dataclass
class Result:
    """One test's outcome; `detail` is a traceback, a reason, or all stacks of one that hung."""

    status: str
    detail: str = ""


@dataclass
class Session:
    """What was seen of one package under one start method."""

    package: str
    start: str
    tests: dict[str, Result] = field(default_factory=dict)
    left_behind: dict[str, list[str]] = field(default_factory=dict)
    stdlib_modules: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        statuses = [result.status for result in self.tests.values()]
        return {status: statuses.count(status) for status in SEVERITY if status in statuses}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Session":
        return cls(**data | {"tests": {name: Result(**result) for name, result in data["tests"].items()}})


@dataclass
class Reading:
    """What a worker wrote into its log before it ended, in whatever way."""

    results: dict[str, Result] = field(default_factory=dict)
    running: str | None = None
    end: dict[str, Any] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)

    def on_start(self, event: dict[str, Any]) -> None:
        self.running = event["id"]

    def on_stop(self, event: dict[str, Any]) -> None:
        self.running = None

    def on_result(self, event: dict[str, Any]) -> None:
        """Sub-tests tell more than once: the worst counts."""
        known = self.results.get(event["id"])
        if known is None or SEVERITY.index(event["status"]) >= SEVERITY.index(known.status):
            self.results[event["id"]] = Result(event["status"], event["detail"])

    def on_fixture(self, event: dict[str, Any]) -> None:
        if event["status"] != "skip":
            self.oddities.append(f"{event['id']}: {last_line(event['detail'])}")

    def on_end(self, event: dict[str, Any]) -> None:
        self.end = event

    def on_escaped(self, event: dict[str, Any]) -> None:
        self.oddities.append("a forked child came back into the test runner")


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # its writer was killed
                continue


class Suite:
    """Runs test classes over `package`, with the interpreter that runs this."""

    def __init__(self, package: str, start: str, suite: str = SUITES[0]) -> None:
        self.session = Session(package, start)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.environment = kept | {
            "CONFORMANCE_PACKAGE": package,
            "CONFORMANCE_START": start,
            "CONFORMANCE_SUITE": suite,
            # Where the package is, if it is not installed.
            "PYTHONPATH": os.pathsep.join(filter(None, [str(INSIDE), os.environ.get("CONFORMANCE_PATH")])),
        }

    def classes(self) -> list[tuple[str, list[str]]]:
        events, outcome = self._worker(LISTING_LIMIT_S, "list")
        found = [(event["name"], event["methods"]) for event in events if event["event"] == "class"]
        if not found:
            raise SystemExit(f"no test of {self.session.package} can be run:\n{outcome.output}")
        return found

    def run(self, name: str, methods: list[str]) -> dict[str, Result]:
        """Run one class; its results, which are in the session too."""
        events, outcome = self._worker(CLASS_LIMIT_S, "run", name, *methods)
        reading = self._read(events)
        self._note(name, reading, outcome)
        results = reading.results
        for number, result in self._alone(name, [m for m in methods if f"{name}.{m}" not in results], reading, outcome):
            results[number] = result
        ordered = {f"{name}.{method}": results[f"{name}.{method}"] for method in methods}
        self.session.tests |= ordered
        return ordered

    def _alone(
        self, name: str, methods: list[str], reading: Reading, outcome: isolation.Outcome
    ) -> Iterator[tuple[str, Result]]:
        """The tests that had no result when their class ended. A fixture that failed is the reason for all of them."""
        if methods and not reading.running and outcome.code == 0:
            reason = "; ".join(reading.oddities) or "its class was skipped"
            status = "error" if reading.oddities else "skip"
            yield from ((f"{name}.{method}", Result(status, reason)) for method in methods)
            return
        hung = 0
        for method in methods:
            result = self._one(name, method) if hung < HANGING_TESTS else Result("not run", "its class hung too often")
            hung += result.status == "hang"
            yield f"{name}.{method}", result

    def _one(self, name: str, method: str) -> Result:
        events, outcome = self._worker(TEST_LIMIT_S, "run", name, method)
        if outcome.code is None:
            return Result("hang", outcome.output)
        return self._read(events).results.get(f"{name}.{method}") or Result(
            "crash", f"{outcome.output}\nexit {outcome.code}"
        )

    def _note(self, name: str, reading: Reading, outcome: isolation.Outcome) -> None:
        left = [f"process {process}" for process in outcome.survivors] + [f"/dev/shm/{name}" for name in outcome.shm]
        left += reading.oddities
        if reading.end.get("altered"):
            left.append("processes or threads that were still there at the end")
        if outcome.code is None:
            left.append(f"it hung in {reading.running or 'its end'}")
        elif outcome.code:
            left.append(f"it ended with {outcome.code} in {reading.running or 'its end'}")
        if left:
            self.session.left_behind[name] = left
        if self.session.package != STDLIB:
            self.session.stdlib_modules = sorted({*self.session.stdlib_modules, *reading.end.get("stdlib", ())})

    @staticmethod
    def _read(events: list[dict[str, Any]]) -> Reading:
        reading = Reading()
        for event in events:
            getattr(reading, f"on_{event['event']}")(event)
        return reading

    def _worker(self, limit_s: float, *words: str) -> tuple[list[dict[str, Any]], isolation.Outcome]:
        folder = Path(tempfile.mkdtemp(prefix="conformance-"))
        try:
            (folder / "tmp").mkdir()
            log = folder / "log"
            command = [sys.executable, str(INSIDE / "worker.py"), str(log), *words]
            outcome = isolation.run(command, self.environment | {"TMPDIR": str(folder / "tmp")}, folder, limit_s)
            return list(read_events(log)), outcome
        finally:
            shutil.rmtree(folder, ignore_errors=True)
