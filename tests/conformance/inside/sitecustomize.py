"""In every interpreter that has this folder on PYTHONPATH: `import multiprocessing[.X]` gives CONFORMANCE_PACKAGE[.X].

Both names share one module. What the package lacks is a ModuleNotFoundError: the stdlib's is never used in its place.
Nothing is imported before somebody asks for it.
"""

import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec

STDLIB = "multiprocessing"


class SharedModule:
    """A loader whose module is the one that exists already under its own name."""

    def __init__(self, name):
        self.name = name
        self.own_spec = None

    def create_module(self, spec):
        module = import_module(self.name)
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.own_spec  # the import system has just put the alias's there


class Alias:
    """A finder that answers for the stdlib's name and for nothing else."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != STDLIB:
            return None
        return ModuleSpec(name, SharedModule(self.package + name.removeprefix(STDLIB)))


package = os.environ.get("CONFORMANCE_PACKAGE", STDLIB)
if package != STDLIB:
    for module in [name for name in sys.modules if name.partition(".")[0] == STDLIB]:
        del sys.modules[module]  # a .pth file was quicker
    sys.meta_path.insert(0, Alias(package))
    if os.environ.get("CONFORMANCE_SUITE") == "own-executor":
        import executor_cases

        executor_cases.replace_when_loaded()
