"""What is said to differ from the stdlib: each row names a test that is there, and the page says the same."""

import ast
from pathlib import Path

import pytest

from tools import compat_docs

HERE = Path(__file__).parent
ROWS = [pytest.param(row, id=row["test"]) for group in compat_docs.groups() for row in group["rows"]]


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS)
def test_the_test_of_a_row_is_there(row: dict[str, str]) -> None:
    file, name = row["test"].split("::")
    assert name in functions(HERE / file)
    assert all(row[key] for key in ("stdlib", "phalanx", "why"))


def test_the_page_is_up_to_date() -> None:
    assert compat_docs.PAGE.read_text() == compat_docs.page()
