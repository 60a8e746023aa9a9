"""The process-pool tests of `concurrent.futures`, and phalanx's own executor in the place of the stdlib's."""

import importlib
import sys
from importlib.machinery import PathFinder

MODULES = ("test_process_pool", "test_wait", "test_as_completed", "test_shutdown", "test_deadlock", "test_init")
STDLIB = "concurrent.futures.process"


def classes(start):
    """Class name -> class, of those that are made for the start method."""
    mark = f"ProcessPool{start.title()}"
    found = {}
    for module in MODULES:
        for name, kind in vars(importlib.import_module(f"test.test_concurrent_futures.{module}")).items():
            # "Fork" begins "Forkserver" too.
            if name.startswith(mark) and not name.startswith(mark + "server") and not name.endswith("Mixin"):
                found[name] = kind
    return found


class Replacing:
    """A finder that lets the stdlib's module be loaded, and then puts phalanx's classes into it."""

    def find_spec(self, name, path=None, target=None):
        if name != STDLIB:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def load_and_replace(module):
            load(module)
            replace(module)

        spec.loader.exec_module = load_and_replace
        return spec


def replace(module):
    from phalanx import futures

    for name in ("ProcessPoolExecutor", "BrokenProcessPool", "_RemoteTraceback"):
        setattr(module, name, getattr(futures, name))


def replace_when_loaded():
    sys.meta_path.insert(0, Replacing())
