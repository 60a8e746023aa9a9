"""The spawn start method of Windows, where phalanx does not run: the name is there so that programs may import it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from phalanx.process import BaseProcess

__all__ = ["Popen"]


class Popen:
    """Refuses to start anything."""

    method = "spawn"

    def __init__(self, process_obj: BaseProcess) -> None:
        raise OSError(f"cannot start {process_obj.name}: phalanx does not run on Windows")
