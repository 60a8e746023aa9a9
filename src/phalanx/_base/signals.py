"""The calls and numbers of `signal` without that module, which would load `enum` into every child."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as plain
else:
    import _signal as plain

__all__ = ["plain"]
