"""phalanx: processes that work together. The names of Python's `multiprocessing`, made anew. A map of the package:

    context             every name below, bound to a start method
    process, util       what a process is; exit and fork hooks
    spawn, forkserver   how a child that is not a fork comes to be (popen_*: one module for each start method)
    synchronize, queues locks, events, barriers, queues: thin, over the C core `_native`
    connection          pipes, listeners and clients
    shared_memory, heap, sharedctypes     memory that several processes see
    pool, futures, managers, dummy        pools, executors, served objects, all of it over threads
    reduction, resource_sharer            pickling for other processes, handing over file descriptors
    compat, cli         `import multiprocessing` meaning this package; the command `phalanx`

A name is imported when somebody first asks for it.
"""

from __future__ import annotations

import sys

if sys.platform != "linux":
    raise ImportError(f"phalanx runs on Linux only, not on {sys.platform}")

del sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

__version__ = "0.1.0"

# Where each name comes from: a module, or, with no other word, the default context.
_SOURCES = {
    "AuthenticationError": "_base.errors",
    "BufferTooShort": "_base.errors",
    "OwnerDied": "_base.errors",
    "Process": "_start.methods",
    "ProcessError": "_base.errors",
    "RemoteError": "_base.errors",
    "TaskTimeout": "_base.errors",
    "TimeoutError": "_base.errors",
    "WorkerDied": "_base.errors",
    "active_children": "process",
    "available_cpus": "_base.cpus",
    "current_process": "process",
    "parent_process": "process",
}

# As the stdlib's; neither is in `__all__`.
_CONSTANTS = {"SUBDEBUG": 5, "SUBWARNING": 25}

__all__ = [
    "Array", "AuthenticationError", "Barrier", "BoundedSemaphore", "BufferTooShort", "Condition", "Event",
    "JoinableQueue", "Lock", "Manager", "OwnerDied", "Pipe", "Pool", "Process", "ProcessError", "Queue", "RLock",
    "RawArray", "RawValue", "RemoteError", "Semaphore", "SimpleQueue", "TaskTimeout", "TimeoutError", "Value",
    "WorkerDied", "active_children", "allow_connection_pickling", "available_cpus", "cpu_count", "current_process",
    "freeze_support", "get_all_start_methods", "get_context", "get_logger", "get_start_method", "log_to_stderr",
    "parent_process", "reducer", "set_executable", "set_forkserver_preload", "set_start_method",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Names are found at first use: `import phalanx` loads nothing, and a worker only what it needs."""
    if name in _CONSTANTS:
        value: object = _CONSTANTS[name]
    elif name in _SOURCES:
        value = getattr(_import(_SOURCES[name]), name)
    elif name in __all__:
        value = getattr(_import("context")._default_context, name)
    else:
        return _submodule(name)
    globals()[name] = value
    return value


def _import(module: str) -> ModuleType:
    from importlib import import_module

    return import_module(f"{__name__}.{module}")


# With the stdlib's package, the use of one module loads most others, and programs reach for them as attributes.
_SUBMODULES = frozenset({
    "connection", "context", "dummy", "forkserver", "futures", "heap", "managers", "pool", "process", "queues",
    "reduction", "resource_sharer", "resource_tracker", "shared_memory", "sharedctypes", "spawn", "synchronize", "util",
})  # fmt: skip


def _submodule(name: str) -> object:
    if name in _SUBMODULES:
        return _import(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__, *_CONSTANTS})
