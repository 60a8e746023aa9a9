"""Writes docs/benchmarks.md from a recorded run. usage: python -m benchmarks.report [RUN.json]"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "benchmarks" / "results" / "reference.json"
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """\
# phalanx beside the stdlib

Made by `make bench-docs` from the raw figures in `benchmarks/results/reference.json`; your own: `make bench`.
Each workload (`benchmarks/workloads.py`) ran {rounds} times for each of the two, in turns, each time in a fresh
process; the best of {repetitions} in it counts, and the table has the medians. A ratio above 1 means that phalanx is
better. CPU is the ratio of the CPU seconds of all processes together: above 1 means that phalanx uses less. The start
method is fork, unless the name says another.

Taken on: {cpu}, {cpus} CPUs, Linux {kernel}, Python {python}, commit {commit}, load before the run {load_before:.1f}.

| workload | phalanx | stdlib | unit | ratio | CPU |
|---|---:|---:|---|---:|---:|
"""


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def table_row(key: str, row: dict[str, Any], module: str, versus: str) -> str:
    if row["fault"]:
        return f"| {key} | {row['fault']} | | | | |\n"
    ours, theirs = (statistics.median(row["values"][name]) for name in (module, versus))
    ratio = WORKLOADS[key.partition("@")[0]].ratio(ours, theirs)
    our_cpu, their_cpu = (statistics.median(row["cpu_s"][name]) for name in (module, versus))
    cpu = f"{their_cpu / our_cpu:.1f}" if our_cpu else ""
    return f"| {key} | {figure(ours)} | {figure(theirs)} | {row['unit']} | {ratio:.1f} | {cpu} |\n"


def page(run: dict[str, Any]) -> str:
    rows = (table_row(key, row, run["module"], run["versus"]) for key, row in run["rows"].items())
    return HEAD.format(**run["about"]) + "".join(rows)


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE
    PAGE.write_text(page(json.loads(path.read_text())))
    print(f"{PAGE.relative_to(ROOT)}, from {path}")


if __name__ == "__main__":
    main()
