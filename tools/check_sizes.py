"""Fails if a function has more than 60 lines or a file more than 600, blank ones not counted: then it has two jobs."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FUNCTION_LINES = 60
FILE_LINES = 600
PLACES = ("src", "native", "tests", "benchmarks", "examples", "tools")
SUFFIXES = (".py", ".pyi", ".c", ".h")


def long_functions(path: Path, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines, {FUNCTION_LINES} at most"


def long_c_functions(path: Path, text: str) -> Iterator[str]:
    """A function's body opens at the end of an unindented line and closes with a brace in the first column."""
    begun = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.endswith(") {") and not line.startswith((" ", "\t", "}")):
            begun = number
        elif line.startswith("}") and begun:
            if number - begun + 1 > FUNCTION_LINES:
                yield f"{path}:{begun}: a function has {number - begun + 1} lines, {FUNCTION_LINES} at most"
            begun = 0


def faults(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    lines = sum(not line.isspace() and line != "" for line in text.splitlines())
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, {FILE_LINES} at most"
    yield from long_functions(path, text) if path.suffix == ".py" else long_c_functions(path, text)


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    files = (path for place in PLACES for path in sorted((root / place).rglob("*")) if path.suffix in SUFFIXES)
    found = [fault for path in files for fault in faults(path.relative_to(root))]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
