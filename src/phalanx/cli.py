"""The command `phalanx`; `python -m phalanx.cli` is the same. What it can do lies in `phalanx._cli`."""

import argparse
import sys
from collections.abc import Callable, Sequence

from phalanx import __version__
from phalanx._cli.usage import CommandError, Parser, Status

__all__ = ["main"]


def run_map(arguments: list[str]) -> Status:
    from phalanx._cli import map as command

    return command.main(arguments)


COMMANDS: dict[str, Callable[[list[str]], Status]] = {"map": run_map}

DESCRIPTION = """\
commands:
  map    call a Python function with each of many inputs, in parallel (phalanx map --help)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: this process's) and return the exit status; the README of each is its --help."""
    arguments = sys.argv[1:] if arguments is None else arguments
    name = "phalanx"
    try:
        options = make_parser().parse_args(arguments)
        if options.command is None:
            raise CommandError("no command was named (see phalanx --help)")
        name = f"phalanx {options.command}"
        return COMMANDS[options.command](options.arguments)
    except CommandError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return Status.USAGE
    except KeyboardInterrupt:
        return Status.INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="phalanx",
        usage="phalanx COMMAND ...",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"phalanx {__version__}")
    parser.add_argument("command", nargs="?", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
