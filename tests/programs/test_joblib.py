"""joblib's `multiprocessing` backend, and scikit-learn over it, compute the same.

joblib starts a tracker for its temporary files, a plain interpreter, which loads the stdlib's package for itself.
"""

from typing import Any


def test_joblib(runner: Any, source: Any) -> None:
    ran = runner.compare(source("joblib_work.py"))
    assert ran.errors == ""
    assert "[1, 2, 3, 4, 5, 6, 7, 8]" in ran.output  # what workers wrote to an array that they share
    assert "'memmap'" in ran.output


def test_scikit_learn(runner: Any, source: Any) -> None:
    ran = runner.compare(source("sklearn_work.py"))
    assert ran.errors == ""
    assert ran.output
