"""In every interpreter that a program starts: note each new process, and each file of the stdlib's package opened."""

import os
import sys

STDLIB = os.path.join(os.path.dirname(os.__file__), "multiprocessing", "")
NOTES = os.environ.get("PROGRAM_NOTES")


def note(word):
    with open(NOTES, "a") as file:
        file.write(f"{word}\n")


def on_event(event, arguments):
    if event == "os.fork":
        note("process")
    elif event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(STDLIB):
        note("stdlib")


if NOTES:
    note("process")
    sys.addaudithook(on_event)
