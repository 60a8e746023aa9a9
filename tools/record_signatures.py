"""Records the signatures of what multiprocessing documents, as the interpreter that runs this has them.

python3.15 tools/record_signatures.py > tests/unit/data/stdlib_signatures.json

The rows below are also what the contract test reads phalanx's signatures by: an expression, and the names in it.
"""

import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

DOCUMENTED = {
    "": """
        Array AuthenticationError Barrier BoundedSemaphore BufferTooShort Condition Event JoinableQueue Lock Manager
        Pipe Pool Process ProcessError Queue RLock RawArray RawValue Semaphore SimpleQueue TimeoutError Value
        active_children allow_connection_pickling cpu_count current_process freeze_support get_all_start_methods
        get_context get_logger get_start_method log_to_stderr parent_process set_executable set_forkserver_preload
        set_start_method
    """,
    "get_context('spawn')": """
        Array Barrier BoundedSemaphore Condition Event JoinableQueue Lock Manager Pipe Pool Process Queue RLock RawArray
        RawValue Semaphore SimpleQueue Value active_children cpu_count current_process freeze_support get_context
        get_logger get_start_method log_to_stderr parent_process set_executable set_forkserver_preload set_start_method
    """,
    "Process": "close interrupt is_alive join kill run start terminate",
    "Lock()": "acquire locked release __enter__ __exit__",
    "RLock()": "acquire locked release __enter__ __exit__",
    "Semaphore()": "acquire locked release __enter__ __exit__",
    "BoundedSemaphore()": "acquire locked release __enter__ __exit__",
    "Condition()": "acquire notify notify_all release wait wait_for __enter__ __exit__",
    "Event()": "clear is_set set wait",
    "Barrier(1)": "abort reset wait",
    "Value('i')": "acquire get_lock get_obj release __enter__ __exit__",
    "Array('i', 1)": "acquire get_lock get_obj release __enter__ __exit__",
    "synchronize": "Barrier BoundedSemaphore Condition Event Lock RLock Semaphore",
    "queues": "JoinableQueue Queue SimpleQueue",
    "queues.Queue": "cancel_join_thread close empty full get get_nowait join_thread put put_nowait qsize",
    "queues.JoinableQueue": "join task_done put get",
    "queues.SimpleQueue": "close empty get put",
    "connection": "AuthenticationError Client Connection Listener Pipe answer_challenge deliver_challenge wait",
    "connection.Connection": """
        close fileno poll recv recv_bytes recv_bytes_into send send_bytes __enter__ __exit__
    """,
    "connection.Listener": "accept close __enter__ __exit__",
    "sharedctypes": "Array RawArray RawValue Value copy synchronized",
    "pool": "Pool ThreadPool",
    "pool.Pool": """
        apply apply_async close imap imap_unordered join map map_async starmap starmap_async terminate
        __enter__ __exit__
    """,
    "pool.AsyncResult": "get ready successful wait",
    "pool.IMapIterator": "next __next__ __iter__",
    "managers": """
        BaseManager BaseProxy MakeProxyType Namespace RemoteError SharedMemoryManager SyncManager
    """,
    "managers.BaseManager": "connect get_server join register start __enter__ __exit__",
    "managers.Server": "serve_forever",
    "managers.BaseProxy": "_callmethod _getvalue",
    "managers.SyncManager": """
        Array Barrier BoundedSemaphore Condition Event Lock Namespace Queue RLock Semaphore Value dict list set
    """,
    "managers.SharedMemoryManager": "ShareableList SharedMemory start",
    "shared_memory": "ShareableList SharedMemory",
    "shared_memory.SharedMemory": "close unlink",
    "shared_memory.ShareableList": "count index",
    "dummy": """
        Array Barrier BoundedSemaphore Condition Event JoinableQueue Manager Pipe Pool Process Queue Semaphore
        Value active_children current_process freeze_support
    """,
    "reduction": "DupFd recv_handle register send_handle",
    "reduction.ForkingPickler": "loads register",
    "spawn": "get_executable set_executable",
    "util": "Finalize get_logger log_to_stderr register_after_fork",
}


def places() -> Iterator[tuple[str, str]]:
    """Each documented object: the expression for what holds it, and its name there."""
    for expression, names in DOCUMENTED.items():
        for name in names.split():
            yield expression, name


def find(package: ModuleType, expression: str, name: str) -> Any:
    """`eval` of the expression with the names of the package, its submodules among them."""
    module = expression.split(".", 1)[0]
    if module.isidentifier() and module[0].islower():
        importlib.import_module(f"{package.__name__}.{module}")
    holder = eval(f"package.{expression}" if expression else "package", {"package": package})
    return getattr(holder, name)


def signature(found: Any) -> str | None:
    """The parameters, with defaults and without annotations; None for what has no signature to be found."""
    try:
        known = inspect.signature(found)
    except (TypeError, ValueError):
        return None
    bare = [one.replace(annotation=one.empty) for one in known.parameters.values() if one.name[0] != "_"]
    return str(inspect.Signature(bare))


def record(package: ModuleType) -> dict[str, str | None]:
    return {
        f"{expression}.{name}".lstrip("."): signature(find(package, expression, name)) for expression, name in places()
    }


def main() -> None:
    recorded = record(importlib.import_module("multiprocessing"))
    sys.stdout.write(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
