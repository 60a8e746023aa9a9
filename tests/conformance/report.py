"""Writes docs/conformance.md from the records in results/ and the exemptions in whitebox.txt."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance import verdict

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "conformance.md"
STARTS = ("fork", "spawn", "forkserver")

HEAD = """\
# CPython's own tests over phalanx

Made by `make conformance` (`PYTHON=python3.13 START=fork` for a part): the tests of `multiprocessing` that ship with
the interpreter (`test._test_multiprocessing`) run over phalanx, which stands in for `multiprocessing` by name in every
process. How: `tests/conformance/README.md`.

*Owed* is what the stdlib itself passes with the same runner on the same interpreter, less the exemptions below: tests
that look at the inside of CPython's implementation rather than at what is documented.

| Python | fork | spawn | forkserver |
|---|---|---|---|
"""

EXEMPTIONS = """
## Exemptions

Each with its reason. `_TestX` stands for the variants with processes, threads and managers; a bound says on which
Pythons the exemption holds. The last column is filled where these tests were run all the same (`ARGS=--exempt-too`).

| test | Python | reason | passes here |
|---|---|---|---|
"""


def version_key(record: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(part) for part in record["python"].split(".")[:2])


def records() -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (HERE / "results").glob("*.json")]
    return sorted(found, key=lambda record: (version_key(record), STARTS.index(record["start"])))


def table(found: list[dict[str, Any]]) -> Iterator[str]:
    rows: dict[tuple[int, ...], dict[str, str]] = defaultdict(dict)
    for record in found:
        rows[version_key(record)][record["start"]] = f"{record['passed']} of {record['owed']}"
    for version, cells in rows.items():
        yield (
            f"| {'.'.join(map(str, version))} | "
            + " | ".join(cells.get(start, "not measured") for start in STARTS)
            + " |\n"
        )


def measured_on(found: list[dict[str, Any]]) -> str:
    taken = sorted({f"Python {r['python']}, Linux {r['kernel']}, commit {r['commit']}" for r in found})
    return "\nTaken on: " + "; ".join(taken) + ".\n" if taken else ""


def where(records_: list[dict[str, Any]]) -> str:
    """ "3.11 fork, spawn; 3.12 fork"."""
    by_version: dict[str, list[str]] = defaultdict(list)
    for record in records_:
        by_version[".".join(map(str, version_key(record)))].append(record["start"])
    return "; ".join(f"{version} {', '.join(starts)}" for version, starts in by_version.items())


def missing(found: list[dict[str, Any]]) -> Iterator[str]:
    tests: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in found:
        for name in record["missing"]:
            tests[name].append(record)
    if not tests:
        return
    yield "\n## Owed and not passed\n\n| test | where | what happens |\n|---|---|---|\n"
    for name, seen in sorted(tests.items()):
        last = seen[0]["missing"][name]
        yield f"| {name} | {where(seen)} | {cell(last['status'])}: {cell(last['why'])} |\n"


def left_behind(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = [(name, record, what) for record in found for name, what in sorted(record["left_behind"].items())]
    if rows:
        yield "\n## Left behind, or ended oddly\n\n| class | where | what |\n|---|---|---|\n"
    for name, record, what in rows:
        yield f"| {name} | {where([record])} | {cell('; '.join(what))} |\n"


def exempted(found: list[dict[str, Any]]) -> Iterator[str]:
    yield EXEMPTIONS
    for rule in verdict.exemptions():
        seen = [
            status
            for record in found
            for name, status in record["exempt"].items()
            if rule.covers(name, version_key(record)[1])
        ]
        bound = f"{rule.bound[0]} 3.{rule.bound[1]}" if rule.bound else "all"
        passing = f"{seen.count('pass')} of {len(seen)}" if seen and "not run" not in seen else ""
        yield f"| `{rule.pattern}` | {bound} | {cell(rule.reason)} | {passing} |\n"


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def main() -> None:
    found = records()
    parts = [HEAD, *table(found), measured_on(found), *missing(found), *left_behind(found), *exempted(found)]
    PAGE.write_text("".join(parts))
    print(f"{PAGE.relative_to(HERE.parents[1])}: {len(found)} runs")


if __name__ == "__main__":
    main()
