"""Reducers of one pool: for subclasses that set up queues of their own, as joblib's do, which map large arrays.

Such a queue is not used; what it pickles by, its `_reducers`, is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phalanx.reduction import ForkingPickler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phalanx.reduction import Reducer

__all__ = ["initialize_with", "of_queue"]


def of_queue(owner: object, name: str) -> dict[type, Reducer]:
    """The reducers of the queue that `owner` has under that name; none without such a queue."""
    return dict(getattr(getattr(owner, name, None), "_reducers", None) or {})


def initialize_with(
    reducers: dict[type, Reducer], initializer: Callable[..., object] | None, initargs: Iterable[Any]
) -> None:
    """A worker's initializer: from here on it pickles its results by these."""
    for kind, reduce in reducers.items():
        ForkingPickler.register(kind, reduce)
    if initializer is not None:
        initializer(*initargs)
