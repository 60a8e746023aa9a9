"""Times phalanx beside the stdlib, in turns, each time in a fresh process; prints ratios, keeps the raw figures.

A ratio is that of the medians; above 1 phalanx is better. Medians, because a wake-up on the same core and one on
another differ threefold on many machines: two bests would compare two strokes of luck.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.workloads import WORKLOADS, Workload

HERE = Path(__file__).parent
LIMIT_S = 120
STDLIB = "multiprocessing"
DEFAULT = [*WORKLOADS, "process_start_join@spawn", "process_start_join@forkserver"]


@dataclass
class Row:
    """All figures of one workload (`name` or `name@start`); `fault` says why there are none."""

    key: str
    values: dict[str, list[float]] = field(default_factory=dict)
    cpu_s: dict[str, list[float]] = field(default_factory=dict)
    fault: str = ""

    @property
    def workload(self) -> Workload:
        return WORKLOADS[self.key.partition("@")[0]]

    @property
    def start(self) -> str:
        return self.key.partition("@")[2] or "fork"

    def add(self, module: str, figures: dict[str, float]) -> None:
        self.values.setdefault(module, []).append(figures["value"])
        self.cpu_s.setdefault(module, []).append(figures["cpu_s"])

    def ratio(self, module: str, versus: str) -> float | None:
        if self.fault:
            return None
        return self.workload.ratio(statistics.median(self.values[module]), statistics.median(self.values[versus]))

    def as_json(self) -> dict[str, Any]:
        return {"unit": self.workload.unit, "values": self.values, "cpu_s": self.cpu_s, "fault": self.fault}


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--module", default="phalanx")
    parser.add_argument("--versus", default=STDLIB)
    parser.add_argument("--only", help="workloads, separated by commas; name@spawn for another start method than fork")
    parser.add_argument("--rounds", type=int, default=5, help="turns; the median over them counts")
    parser.add_argument("--repetitions", type=int, default=2, help="in one process; the best of them counts")
    parser.add_argument("--scale", type=float, default=1.0, help="of the counts; below 1 is quicker and rougher")
    parser.add_argument("--json", type=Path, help="where the raw figures go (default: benchmarks/results/WHEN.json)")
    options = parser.parse_args(words)
    options.keys = options.only.split(",") if options.only else DEFAULT
    unknown = [key for key in options.keys if key.partition("@")[0] not in WORKLOADS]
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return options


def once(module: str, row: Row, options: argparse.Namespace) -> dict[str, float]:
    """One turn in a process of its own. RuntimeError says what went wrong."""
    words = [module, row.workload.name, row.start, str(options.scale), str(options.repetitions)]
    command = [sys.executable, "-m", "benchmarks.once", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE.parent, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise RuntimeError(f"{module}: no result in {LIMIT_S} s") from None
    if process.returncode:
        raise RuntimeError(f"{module}: {(errors.strip().splitlines() or ['no output'])[-1]}")
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def measure(key: str, options: argparse.Namespace) -> Row:
    row = Row(key)
    try:
        for _ in range(options.rounds):
            for module in (options.module, options.versus):
                row.add(module, once(module, row, options))
    except RuntimeError as exc:
        row.fault = str(exc)
    return row


def line(row: Row, module: str, versus: str) -> str:
    ratio = row.ratio(module, versus)
    if ratio is None:
        return f"{row.key:32} {'-':>9}  {row.fault}"
    ours, theirs = (statistics.median(row.values[name]) for name in (module, versus))
    return f"{row.key:32} {ratio:8.2f}x {ours:16.3f} {theirs:16.3f} {row.workload.unit}"


def machine() -> dict[str, Any]:
    with open("/proc/cpuinfo") as file:
        model = next((text.partition(":")[2].strip() for text in file if text.startswith("model name")), "unknown")
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False, cwd=HERE).stdout.strip()
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit,
        "load_before": os.getloadavg()[0],
    }


def main() -> int:
    options = parse()
    about = machine() | {"rounds": options.rounds, "repetitions": options.repetitions, "scale": options.scale}
    print(f"{'workload':32} {'ratio':>9} {options.module:>16} {options.versus:>16}")
    rows = []
    for key in options.keys:
        rows.append(measure(key, options))
        print(line(rows[-1], options.module, options.versus), flush=True)
    path = options.json or HERE / "results" / time.strftime("%Y-%m-%d-%H%M%S.json")
    record = {
        "module": options.module,
        "versus": options.versus,
        "about": about,
        "rows": {r.key: r.as_json() for r in rows},
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"raw figures: {path}")
    return 1 if any(row.fault for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
