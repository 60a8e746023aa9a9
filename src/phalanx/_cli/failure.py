"""An exception in words."""

import importlib
import traceback

__all__ = ["full_story", "headline", "place"]


def headline(error: BaseException) -> str:
    """What went wrong, without the place."""
    name = type(error).__qualname__
    try:
        text = str(error.msg if isinstance(error, SyntaxError) else error)
    except Exception:  # noqa: BLE001 - it is the user's exception, and so is its __str__
        text = "<no text: its __str__ fails>"
    return f"{name}: {text}" if text else name


def place(error: BaseException) -> str:
    """` (file, line n)`: the last line of Python that ran; for a syntax error, the line that is wrong."""
    if isinstance(error, SyntaxError):
        return f" ({error.filename}, line {error.lineno})" if error.lineno else ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_machinery(frame.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def is_machinery(filename: str) -> bool:
    """Whether it is a part of what imports a module, ours or Python's."""
    return filename.startswith("<frozen ") or filename == importlib.__file__ or "_cli" in filename.split("/")[-2:-1]


def full_story(error: BaseException) -> str:
    """As the interpreter would show it; the traceback begins in the user's function, not in what called it."""
    own = error.__traceback__
    return "".join(traceback.format_exception(error.with_traceback(own and own.tb_next)))
