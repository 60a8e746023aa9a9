"""What `connection.wait` may ask of an object besides its descriptor."""

__all__ = ["Waitable"]


class Waitable:
    """Something with a descriptor that knows better than the descriptor whether it is ready."""

    __slots__ = ()

    def fileno(self) -> int:
        raise NotImplementedError

    def _arm(self) -> bool:
        """Prepare a sleep on the descriptor; whether it is ready already."""
        raise NotImplementedError

    def _is_ready(self) -> bool:
        raise NotImplementedError
