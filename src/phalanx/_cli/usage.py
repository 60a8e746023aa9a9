"""A wrong command line, and what the exit status of a command says."""

import argparse
from enum import IntEnum
from typing import NoReturn

__all__ = ["CommandError", "Parser", "Status"]


class Status(IntEnum):
    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    INTERRUPTED = 130  # what a shell shows for a program that SIGINT ended
    OUTPUT_CLOSED = 141  # and for one that SIGPIPE ended: nobody reads the output any more


class CommandError(Exception):
    """The command cannot do what was asked for: its text is one sentence for the user, its status is `Status.USAGE`."""


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong, instead of showing the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")
