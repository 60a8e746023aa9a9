"""`python -m phalanx PROGRAM.py [ARG ...]`: run an unmodified program that says `import multiprocessing`."""

import sys

from phalanx import compat
from phalanx._cli import program
from phalanx._cli.usage import CommandError, Status

__all__ = ["main"]

USAGE = """\
usage: python -m phalanx PROGRAM.py [ARG ...]
       python -m phalanx -m MODULE [ARG ...]

Runs the program with `multiprocessing` meaning phalanx, in this process and in all that it starts.
(`phalanx map`, the command for a function over many inputs, is `python -m phalanx.cli map`.)
"""


def main(arguments: list[str]) -> None:
    match arguments:
        case [] | ["-h" | "--help"]:
            sys.stdout.write(USAGE)
        case ["-m", name, *rest]:
            compat.alias()
            program.run_module(name, rest)
        case [path, *rest] if not path.startswith("-"):
            compat.alias()
            program.run_script(path, rest)
        case _:
            raise CommandError(f"{' '.join(arguments)!r} names no program (see python -m phalanx --help)")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CommandError as error:
        sys.stderr.write(f"phalanx: {error}\n")
        sys.exit(Status.USAGE)
