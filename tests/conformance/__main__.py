"""CPython's own tests over phalanx, by alias, with the interpreter that runs this. See README.md."""

import argparse
import fnmatch
import json
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests import leaks
from tests.conformance import isolation, verdict
from tests.conformance.suite import STDLIB, SUITES, Result, Session, Suite

EXEMPTIONS = dict(zip(SUITES, ("whitebox.txt", "whitebox_executor.txt", "whitebox_own_executor.txt"), strict=True))
STARTS = ("fork", "spawn", "forkserver")
HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "conformance"
VERSION = platform.python_version()


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return "unknown"


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--start", choices=[*STARTS, "all"], default="all")
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0], help="which tests; see README.md")
    parser.add_argument("--package", default="phalanx", help="what stands in for multiprocessing")
    parser.add_argument(
        "-k", dest="patterns", action="append", default=[], metavar="PATTERN", help="Class.test; repeatable"
    )
    parser.add_argument("--stdlib", action="store_true", help="measure the stdlib again, although that is cached")
    parser.add_argument("--exempt-too", action="store_true", help="run the tests of whitebox.txt as well")
    parser.add_argument("--commit", default=commit(), help="what phalanx was built from, for the record (%(default)s)")
    parser.add_argument("-v", dest="verbose", action="store_true", help="print the tracebacks too")
    return parser.parse_args(words)


def selected(name: str, methods: list[str], options: argparse.Namespace, rules: list[verdict.Exemption]) -> list[str]:
    patterns = [pattern if "*" in pattern else f"*{pattern}*" for pattern in options.patterns] or ["*"]
    return [
        method
        for method in methods
        if any(fnmatch.fnmatchcase(f"{name}.{method}", pattern) for pattern in patterns)
        and (options.exempt_too or not verdict.exemption_of(f"{name}.{method}", rules))
    ]


def run(package: str, start: str, options: argparse.Namespace, rules: list[verdict.Exemption]) -> Session:
    suite = Suite(package, start, options.suite)
    for name, methods in suite.classes():
        chosen = selected(name, methods, options, rules)
        if not chosen:
            continue
        begun = time.monotonic()
        results = suite.run(name, chosen)
        statuses = [result.status for result in results.values()]
        said = " ".join(f"{status}={statuses.count(status)}" for status in dict.fromkeys(statuses))
        left = "".join(f"\n    left behind: {what}" for what in suite.session.left_behind.get(name, ()))
        print(f"{package} {start:10} {name:45} {time.monotonic() - begun:6.1f} s  {said}{left}", flush=True)
    return suite.session


def store(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n")


def cached(package: str, suite: str, start: str) -> Path:
    tested = "executor" if suite == "own-executor" and package == "stdlib" else suite
    return CACHE / "-".join([package, *([] if tested == SUITES[0] else [tested]), VERSION, f"{start}.json"])


def stdlib_session(start: str, suite: str, again: bool) -> Session:
    """What the stdlib itself does under this runner, on this interpreter: measured once, then kept."""
    path = cached("stdlib", suite, start)
    if again or not path.exists():
        everything = argparse.Namespace(patterns=[], exempt_too=True, suite=suite)
        store(path, run(STDLIB, start, everything, []).as_json())
    return Session.from_json(json.loads(path.read_text()))


def result_path(suite: str, start: str) -> Path:
    folder = HERE / "results" if suite == SUITES[0] else HERE / "results" / suite
    return folder / f"{sys.version_info.major}.{sys.version_info.minor}-{start}.json"


def tell(record: dict[str, Any], session: Session, verbose: bool) -> None:
    for name, missing in record["missing"].items():
        if name in session.tests:
            print(f"  {missing['status']:8} {name}: {missing['why']}")
            if verbose:
                print(session.tests[name].detail)
    if record["stdlib_modules"]:
        print(f"  the stdlib's modules were imported: {', '.join(record['stdlib_modules'])}")


def known_of(session: Session, suite: str) -> Session:
    """The stdlib's results for the tests of a partial run, if they have been measured; else all count as owed."""
    path = cached("stdlib", suite, session.start)
    if not path.exists():
        return Session(STDLIB, session.start, dict.fromkeys(session.tests, Result("pass")))
    known = Session.from_json(json.loads(path.read_text()))
    known.tests = {name: result for name, result in known.tests.items() if name in session.tests}
    return known


def measure(start: str, options: argparse.Namespace, rules: list[verdict.Exemption]) -> None:
    complete = not options.patterns and options.package == "phalanx"
    stdlib = stdlib_session(start, options.suite, options.stdlib) if complete else None
    session = run(options.package, start, options, rules)
    record = verdict.judge(session, stdlib or known_of(session, options.suite), rules)
    if complete:
        store(cached("phalanx", options.suite, start), session.as_json())
        about = {"python": VERSION, "kernel": platform.release(), "commit": options.commit}
        store(result_path(options.suite, start), about | record)
    tell(record, session, options.verbose)
    counts = " ".join(f"{status}={n}" for status, n in session.counts().items())
    print(
        f"{options.package} {VERSION} {start}: {counts}; {record['passed']} of {record['owed']} owed tests pass",
        flush=True,
    )


def main() -> int:
    options = parse()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job ignores it, and children inherit that
    isolation.adopt_orphans()
    leaks.take_own_shm()
    rules = verdict.exemptions(HERE / EXEMPTIONS[options.suite])
    for start in STARTS if options.start == "all" else [options.start]:
        measure(start, options, rules)
    return 0


if __name__ == "__main__":
    sys.exit(main())
