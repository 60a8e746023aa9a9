"""The function to call: `FILE.py:FUNCTION` or `package.module:FUNCTION`."""

import functools
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from types import ModuleType
from typing import Any

from phalanx._cli.failure import headline, place
from phalanx._cli.usage import CommandError

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """Names a function so that every process finds it by itself."""

    module: str
    """A dotted name, or the absolute path of a file."""
    function: str
    """A name in that module; dots lead on, as in `Class.method`."""
    folder: str
    """Where the function's own module finds others: to be first in `sys.path` before `load`."""

    @classmethod
    def parse(cls, text: str) -> "Target":
        """CommandError unless the text has the form of a target."""
        module, _, function = text.rpartition(":")
        if not module or not function:
            raise CommandError(f"{text!r} names no function: write FILE.py:FUNCTION or package.module:FUNCTION")
        if not is_file(module):
            return cls(module, function, os.getcwd())
        if not os.path.isfile(module):
            raise CommandError(f"there is no file {module!r}")
        path = os.path.abspath(module)
        return cls(path, function, os.path.dirname(path))

    @functools.cache  # noqa: B019 - a process has one target, for as long as it lives
    def load(self) -> Callable[[Any], Any]:
        """The function. CommandError, one sentence, if the module cannot be imported or has no such function."""
        try:
            function = attrgetter(self.function)(self._load_module())
        except AttributeError as error:
            raise CommandError(f"{self.module!r} has no function {self.function!r}: {error}") from None
        if not callable(function):
            raise CommandError(f"{self.function!r} of {self.module!r} is no function but {type(function).__name__!r}")
        if inspect.iscoroutinefunction(function):
            raise CommandError(f"{self.function!r} of {self.module!r} is an async function: wrap it in asyncio.run")
        return function  # type: ignore[no-any-return]

    def _load_module(self) -> ModuleType:
        try:
            return load_file(self.module) if is_file(self.module) else importlib.import_module(self.module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise CommandError(f"cannot import {self.module!r}: {headline(error)}{place(error)}") from error


def is_file(module: str) -> bool:
    return module.endswith(".py") or os.sep in module


def load_file(path: str) -> ModuleType:
    name = module_name(path)
    loader = importlib.machinery.SourceFileLoader(name, path)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and pickle look it up while it does
    loader.exec_module(module)
    return module


def module_name(path: str) -> str:
    """The name under which other modules beside the file would import it, unless a loaded module has that name."""
    name = os.path.splitext(os.path.basename(path))[0]
    return f"phalanx_map_{name}" if name in sys.modules else name
