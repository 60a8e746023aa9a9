"""Programs that say `import multiprocessing`, run unchanged: for them, that name means phalanx.

    import phalanx.compat
    phalanx.compat.alias()

does so from inside, `python -m phalanx PROGRAM.py` from outside. The stdlib's package is neither loaded nor changed.
"""

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from phalanx._base import child_setup

__all__ = ["alias"]

NAME = "multiprocessing"
TARGET = "phalanx"


def alias() -> None:
    """From here on, `import multiprocessing` gives phalanx: in this process, and in every process it starts.

    `multiprocessing.X` is then the very module `phalanx.X`. To be called first: what has imported the stdlib's package
    before keeps it, and RuntimeWarning says so. Calling it again does nothing.
    """
    if any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        return
    if forget_stdlib():
        warnings.warn(
            f"{NAME} was imported before it was aliased: modules that hold it already go on using the stdlib's",
            RuntimeWarning,
            stacklevel=2,
        )
    sys.meta_path.insert(0, AliasFinder())
    child_setup.register(f"{__name__}:{alias.__name__}")


def forget_stdlib() -> bool:
    """Take the stdlib's modules out of the table of imported ones; whether there were any."""
    loaded = [name for name in sys.modules if is_aliased(name)]
    for name in loaded:
        del sys.modules[name]
    return bool(loaded)


def is_aliased(name: str) -> bool:
    return name == NAME or name.startswith(NAME + ".")


class AliasFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not is_aliased(fullname):
            return None
        real = importlib.util.find_spec(TARGET + fullname.removeprefix(NAME))
        if real is None:
            return None
        is_package = real.submodule_search_locations is not None
        return ModuleSpec(fullname, AliasLoader(real.name), origin=real.origin, is_package=is_package)


class AliasLoader(importlib.abc.Loader):
    """Answers with a module that goes by another name, and leaves it as it is."""

    def __init__(self, real: str) -> None:
        self._real = real
        self._own_spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._real)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own_spec  # the import system has put the alias's in its place
