"""What a package owes: the tests that the stdlib passes on the same interpreter, less those of CPython's internals."""

import fnmatch
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.suite import Result, Session, last_line

WHITEBOX = Path(__file__).parent / "whitebox.txt"

KINDS = re.compile(r"^With(Processes|Threads|Manager)")
LINE = re.compile(r"(?P<pattern>\S+)(?:\s+(?P<since>>=|<)(?P<version>3\.\d+))?\s+#\s*(?P<reason>.+)")

DETAIL_CHARS = 160


@dataclass(frozen=True)
class Exemption:
    """A line of whitebox.txt: tests that a package need not pass on some Pythons, and why."""

    pattern: str
    reason: str
    bound: tuple[str, int] | None = None

    def covers(self, test: str, minor: int = sys.version_info.minor) -> bool:
        if self.bound and (minor < self.bound[1]) != (self.bound[0] == "<"):
            return False
        return any(fnmatch.fnmatchcase(name, self.pattern) for name in (test, KINDS.sub("_", test)))


def parse_exemption(line: str) -> Exemption:
    found = LINE.fullmatch(line)
    if not found:
        raise ValueError(f"not PATTERN [<3.N or >=3.N] # REASON: {line!r}")
    bound = (found["since"], int(found["version"].partition(".")[2])) if found["since"] else None
    return Exemption(found["pattern"], found["reason"], bound)


def exemptions(path: Path = WHITEBOX) -> list[Exemption]:
    lines = map(str.strip, path.read_text().splitlines())
    return [parse_exemption(line) for line in lines if line and not line.startswith("#")]


def exemption_of(test: str, rules: list[Exemption], minor: int = sys.version_info.minor) -> Exemption | None:
    return next((rule for rule in rules if rule.covers(test, minor)), None)


def gist(result: Result) -> str:
    """One line: the error, or for a test that hung where its main thread stood."""
    if result.status != "hang":
        return last_line(result.detail)[:DETAIL_CHARS]
    frames = re.findall(r'File ".*?([^/"]+)", line (\d+) in (\S+)', result.detail.partition("Current thread")[2])
    return " < ".join(f"{function} ({file}:{line})" for file, line, function in frames[:3])[:DETAIL_CHARS]


def judge(seen: Session, stdlib: Session, rules: list[Exemption]) -> dict[str, Any]:
    """The record of one Python and start method: what is owed, what of it passed, and each test that did not."""
    passing = [name for name, result in stdlib.tests.items() if result.status == "pass"]
    owed = [name for name in passing if not exemption_of(name, rules)]
    exempt = {name: _status(seen.tests, name) for name in passing if exemption_of(name, rules)}
    missing = {name: seen.tests.get(name, Result("not run")) for name in owed if _status(seen.tests, name) != "pass"}
    return {
        "start": seen.start,
        "owed": len(owed),
        "passed": len(owed) - len(missing),
        "missing": {name: {"status": result.status, "why": gist(result)} for name, result in missing.items()},
        "exempt": exempt,
        "left_behind": seen.left_behind,
        "stdlib_modules": seen.stdlib_modules,
    }


def _status(tests: Mapping[str, Result], name: str) -> str:
    return tests[name].status if name in tests else "not run"
