"""Writes docs/compat.md from tests/unit/data/differences.toml: python tools/compat_docs.py"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "unit" / "data" / "differences.toml"
PAGE = ROOT / "docs" / "compat.md"
TESTS = "tests/unit"

HEAD = """\
# What differs from multiprocessing

Made by `make compat-docs` from `tests/unit/data/differences.toml`. All else that is documented is meant to be the
newest stdlib's, on every Python: signatures (`tests/unit/test_contract.py`), behaviour (`docs/conformance.md`:
CPython's own tests over phalanx) and unmodified programs (`make programs`). Each row names the test that shows it.
"""


def groups() -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = tomllib.loads(DATA.read_text())["group"]
    return read


def lines() -> Iterator[str]:
    yield HEAD
    for group in groups():
        yield f"## {group['title']}\n"
        yield "| multiprocessing | phalanx | why | test |"
        yield "|---|---|---|---|"
        for row in group["rows"]:
            file, name = row["test"].split("::")
            link = f"[`{name}`](../{TESTS}/{file})"
            yield "| " + " | ".join([*(row[key] for key in ("stdlib", "phalanx", "why")), link]) + " |"
        yield ""


def page() -> str:
    return "\n".join(lines())


if __name__ == "__main__":
    PAGE.write_text(page())
