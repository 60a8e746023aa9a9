"""`sphinx-build -j 2` writes the same pages."""

import filecmp
from pathlib import Path
from typing import Any

PAGES_COUNT = 24  # Sphinx works in parallel from more than five pages on

INDEX = """\
Sample
======

.. toctree::
   :glob:

   page*
"""
PAGE = """\
Page {number}
=======

.. _label{number}:

Section
-------

See :ref:`the next one <label{following}>`, or:

.. code-block:: python

   x = {number}
"""


def write_pages(folder: Path) -> None:
    folder.mkdir()
    (folder / "conf.py").write_text('project = "Sample"\n')
    (folder / "index.rst").write_text(INDEX)
    for number in range(PAGES_COUNT):
        text = PAGE.format(number=number, following=(number + 1) % PAGES_COUNT)
        (folder / f"page{number}.rst").write_text(text)


def differences(compared: "filecmp.dircmp[str]") -> list[str]:
    below = [name for one in compared.subdirs.values() for name in differences(one)]
    return [*compared.left_only, *compared.right_only, *compared.diff_files, *compared.funny_files, *below]


def test_sphinx_build(runner: Any, tmp_path: Path) -> None:
    write_pages(tmp_path / "pages")
    for aliased in (False, True):
        folders = ("-d", f"trees-{aliased}", "pages", f"html-{aliased}")
        ran = runner.run("-m", "sphinx", "-j", "2", "-q", "-b", "html", *folders, aliased=aliased)
        assert ran.errors == ""
        assert ran.process_count > 2
        assert ran.opened_stdlib is not aliased
    assert len(list((tmp_path / "html-True").glob("page*.html"))) == PAGES_COUNT
    assert differences(filecmp.dircmp(tmp_path / "html-False", tmp_path / "html-True")) == []
