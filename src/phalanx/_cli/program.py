"""Run a program in this process as the interpreter would: as `__main__`, with its own `sys.argv` and `sys.path`."""

import importlib.util
import io
import os
import sys
from collections.abc import Callable
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType

from phalanx._cli.usage import CommandError

__all__ = ["run_module", "run_script"]


def run_script(path: str, arguments: list[str]) -> None:
    """CommandError if there is no such file; whatever the program raises."""
    full_path = os.path.abspath(path)
    try:
        with io.open_code(full_path) as file:
            source = file.read()
    except OSError as error:
        raise CommandError(f"cannot read {path!r}: {error.strerror}") from None
    main = new_main()
    main.__file__ = full_path
    main.__loader__ = SourceFileLoader("__main__", full_path)
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    sys.argv = [path, *arguments]
    run(lambda: compile(source, full_path, "exec", dont_inherit=True), main)


def run_module(name: str, arguments: list[str]) -> None:
    """CommandError if there is no such module, or it cannot be run; whatever the program raises."""
    spec = find(name)
    code = spec.loader.get_code(spec.name) if isinstance(spec.loader, InspectLoader) else None
    if code is None:
        raise CommandError(f"{name!r} is no module that can be run")
    main = new_main()
    main.__spec__ = spec
    main.__package__ = spec.parent
    main.__loader__ = spec.loader
    main.__file__ = spec.origin
    sys.argv = [spec.origin or name, *arguments]
    run(lambda: code, main)


def find(name: str) -> ModuleSpec:
    """A package is run through its module `__main__`."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        raise CommandError(f"there is no module {name!r}: {error}") from None
    if spec is None:
        raise CommandError(f"there is no module {name!r}")
    return spec if spec.submodule_search_locations is None else find(f"{name}.__main__")


def new_main() -> ModuleType:
    """Takes the place of the `__main__` that called us, for good: threads and exit handlers outlive its code."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    return main


def run(get_code: Callable[[], CodeType], main: ModuleType) -> None:
    """An exception that the program lets out is shown as the interpreter would, without our frames."""
    try:
        exec(get_code(), main.__dict__)
    except Exception as error:  # noqa: BLE001 - as the interpreter does
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
            traceback = traceback.tb_next
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        sys.exit(1)
