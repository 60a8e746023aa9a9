"""`black --workers 2`, a pool of processes of concurrent.futures' under asyncio, formats the same."""

from pathlib import Path
from typing import Any

FILES_COUNT = 6
SOURCE = "x = {{ 'a':{number},'b':2 }}\ndef f(a,b ):\n  return   a+b\n"


def write_sources(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES_COUNT):
        (folder / f"file{number}.py").write_text(SOURCE.format(number=number))


def formatted(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_black(runner: Any, tmp_path: Path) -> None:
    results = []
    for aliased in (False, True):
        folder = tmp_path / f"sources-{aliased}"
        write_sources(folder)
        ran = runner.run("-m", "black", "--workers", "2", "--no-cache", folder, aliased=aliased)
        assert f"{FILES_COUNT} files reformatted" in ran.errors
        assert ran.process_count > 2
        assert ran.opened_stdlib is not aliased
        results.append(formatted(folder))
    assert results[0] == results[1]
    assert results[1]["file0.py"] != SOURCE.format(number=0)
