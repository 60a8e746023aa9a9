"""`phalanx map`: a Python function over many inputs, in parallel, from the shell."""

import argparse
import sys
import time
from collections.abc import Iterator

from phalanx._cli import work
from phalanx._cli.inputs import InFlight, gather
from phalanx._cli.report import OutputClosed, Report, Tally, discard_output, open_report, summary
from phalanx._cli.target import Target
from phalanx._cli.usage import CommandError, Parser, Status
from phalanx.context import BaseContext, DefaultContext

__all__ = ["main"]

DESCRIPTION = """\
Call a Python function with each of many inputs, in parallel.

The function gets one input, a str, and returns anything. Each input gives one line of JSON on stdout:
  {"index": 0, "input": "a.txt", "result": 42}
  {"index": 1, "input": "b.txt", "error": "ValueError: no number", "traceback": "..."}
A failed input does not stop the others. What the function prints goes to stderr, and so do progress and a summary.
"""
EPILOG = """\
examples:
  phalanx map tools.py:word_count --glob 'texts/**/*.txt' --output counts.jsonl
  find . -name '*.png' | phalanx map thumbnails.py:make --from - --unordered
  phalanx map math:factorial --json 10 20 30

exit status: 0, or 1 if an input failed, 2 if the command line is wrong, 130 after Ctrl-C
"""


def main(arguments: list[str]) -> Status:
    """CommandError for a wrong command line."""
    options = make_parser().parse_intermixed_args(arguments)
    if options.function is None:
        raise CommandError("no function was named: phalanx map FILE.py:FUNCTION [INPUT ...] (see phalanx map --help)")
    target = Target.parse(options.function)
    inputs = gather(options.inputs, options.source, options.glob, options.exclude)
    load_here(target)
    job = work.Work(target, options.json)
    context = DefaultContext().get_context(options.start_method)
    tally = Tally(workers=options.workers or default_workers(inputs.count))
    in_flight = InFlight(inputs.texts, keep=options.compare)
    status = Status.OK
    try:
        with open_report(options.output, options.progress, inputs.count, tally) as report:
            run(options, context, job, in_flight, report)
        if in_flight.kept is not None:
            tally.one_process_s = compare(context, job, in_flight.kept)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    except OutputClosed:
        discard_output()
        return Status.OUTPUT_CLOSED
    sys.stderr.write(summary(tally))
    return status or (Status.SOME_FAILED if tally.failed else Status.OK)


def load_here(target: Target) -> None:
    """So that a wrong target is noticed before anything is started; forked workers have it loaded already."""
    output, sys.stdout = sys.stdout, sys.stderr
    sys.path.insert(0, target.folder)
    try:
        target.load()
    finally:
        sys.path.remove(target.folder)
        sys.stdout = output


def default_workers(count: int | None) -> int:
    available = DefaultContext().available_cpus()
    return available if count is None else max(1, min(available, count))


def run(options: argparse.Namespace, context: BaseContext, job: work.Work, in_flight: InFlight, report: Report) -> None:
    start_s = time.perf_counter()
    try:
        with context.Pool(report.tally.workers, initializer=work.prepare, initargs=(job.target,)) as pool:
            rules = {"timeout": options.timeout, "retries": options.retries}
            if options.unordered:
                results = unordered(pool.imap_unordered(job, in_flight, **rules), in_flight)
            else:
                results = ordered(pool.imap(job, in_flight, **rules), in_flight)
            for done in results:
                report.add(done)
            pool.close()
            pool.join()
    finally:
        report.tally.wall_s = time.perf_counter() - start_s
    if in_flight.error is not None:
        raise CommandError(f"cannot read {options.source!r}: {in_flight.error.strerror}")


def ordered(results: Iterator[work.Done], in_flight: InFlight) -> Iterator[work.Done]:
    index = 0
    while True:
        try:
            done = next(results)
        except StopIteration:
            return
        except Exception as error:  # the worker died: this input has failed, the others have not
            if not in_flight:
                raise
            yield work.failed(index, in_flight.settle(index), error.with_traceback(None))
        else:
            yield done
            in_flight.settle(index)
        index += 1


def unordered(results: Iterator[work.Done], in_flight: InFlight) -> Iterator[work.Done]:
    """Which input a dead worker had is known only at the end: it is one of those that nobody else has settled."""
    errors: list[Exception] = []
    while True:
        try:
            done = next(results)
        except StopIteration:
            break
        except Exception as error:
            if len(errors) == len(in_flight):
                raise
            errors.append(error)
            continue
        in_flight.settle(done.number)
        yield done
    for index, lost in zip(in_flight.rest(), errors, strict=True):
        yield work.failed(index, in_flight.settle(index), lost.with_traceback(None))


def compare(context: BaseContext, job: work.Work, texts: list[str]) -> float:
    """Seconds that one process needs for the same inputs, without the start of that process."""
    with context.Pool(1, initializer=work.prepare, initargs=(job.target,)) as pool:
        seconds: float = pool.apply(job.time_all, (texts,))
    return seconds


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="phalanx map",
        usage="phalanx map [OPTION ...] FUNCTION [INPUT ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("function", metavar="FUNCTION", nargs="?", help="FILE.py:FUNCTION or package.module:FUNCTION")
    add_input_options(parser)
    add_run_options(parser)
    add_output_options(parser)
    return parser


def add_input_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("inputs")
    group.add_argument("inputs", metavar="INPUT", nargs="*", help="what the function is called with, one at a time")
    group.add_argument("--from", dest="source", metavar="FILE", help="each line of a file is an input; - is stdin")
    group.add_argument("--glob", metavar="PATTERN", help="each file that matches is an input; ** is any depth")
    group.add_argument("--exclude", metavar="PATTERN", action="append", default=[], help="but not these files")
    group.add_argument("--json", action="store_true", help="inputs are JSON: the function gets 3, not '3'")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument("--workers", metavar="N", type=worker_count, help="processes (default: the CPUs to be had)")
    group.add_argument(
        "--start-method", choices=DefaultContext().get_all_start_methods(), help="how workers are started"
    )
    group.add_argument("--unordered", action="store_true", help="write each line as soon as it is there")
    group.add_argument("--timeout", metavar="S", type=seconds, help="an input that takes longer has failed")
    group.add_argument("--retries", metavar="N", type=count, default=0, help="try again if a worker dies or times out")
    group.add_argument("--compare", action="store_true", help="run all again in one process, and tell the speed-up")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--output", metavar="FILE", help="write the lines there, not to stdout")
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a progress bar on stderr (default: if that is a terminal, and stdout is not)",
    )


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number: 0 or more")
    return int(text)


def worker_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers: 1 or more")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: seconds, more than 0")
    return value
