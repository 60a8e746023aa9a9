"""A real job for `phalanx map`: how complex is each file of Python's own standard library?

The function `measure` is all that the job needs:

phalanx map examples/stdlib_complexity.py:measure FILE.py ...

Run as a program, this file does so for the whole library, and shows the ten most complex files.
"""

import ast
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import warnings

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.BoolOp, ast.match_case)
SHOWN = 10

# What the library's authors might have written better is not what we measure.
warnings.simplefilter("ignore", SyntaxWarning)


def measure(path):
    """Parse one file, count what makes it hard to follow."""
    with open(path, "rb") as file:
        nodes = list(ast.walk(ast.parse(file.read(), path)))
    return {
        "functions": sum(isinstance(node, FUNCTIONS) for node in nodes),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "branches": sum(isinstance(node, BRANCHES) for node in nodes),
    }


def main():
    library = sysconfig.get_path("stdlib")
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "complexity.jsonl")
        command = [
            *("phalanx", "map", f"{os.path.relpath(__file__)}:measure"),
            *("--glob", f"{library}/**/*.py", "--exclude", "*/site-packages/*"),
            *("--output", output, "--progress", "--compare", *sys.argv[1:]),
        ]
        print("$", shlex.join(command), flush=True)
        done = subprocess.run([sys.executable, "-m", "phalanx.cli", *command[1:]], check=False)
        if done.returncode not in (0, 1):  # 1: some files failed, and the others are there all the same
            return done.returncode
        with open(output) as lines:
            show([json.loads(line) for line in lines], library)
    return 0


def show(items, library):
    measured = [item for item in items if "result" in item]
    measured.sort(key=lambda item: item["result"]["branches"], reverse=True)
    print(f"\nThe {SHOWN} most complex of {len(measured):,} files")
    print(f"{'branches':>8} {'functions':>9} {'classes':>7}  file")
    for item in measured[:SHOWN]:
        result = item["result"]
        name = os.path.relpath(item["input"], library)
        print(f"{result['branches']:>8,} {result['functions']:>9,} {result['classes']:>7,}  {name}")
    if len(measured) < len(items):
        print(f"{len(items) - len(measured)} files are no valid Python: test data, wrong on purpose")


if __name__ == "__main__":
    sys.exit(main())
