"""What a type checker sees of the package: the names that `__init__.py` finds at first use."""

from typing import Final

from phalanx import context as _context
from phalanx._base.cpus import available_cpus as available_cpus
from phalanx._base.errors import AuthenticationError as AuthenticationError
from phalanx._base.errors import BufferTooShort as BufferTooShort
from phalanx._base.errors import OwnerDied as OwnerDied
from phalanx._base.errors import ProcessError as ProcessError
from phalanx._base.errors import RemoteError as RemoteError
from phalanx._base.errors import TaskTimeout as TaskTimeout
from phalanx._base.errors import TimeoutError as TimeoutError
from phalanx._base.errors import WorkerDied as WorkerDied
from phalanx._start.methods import Process as Process
from phalanx.process import active_children as active_children
from phalanx.process import current_process as current_process
from phalanx.process import parent_process as parent_process

# Functions, in fact, that make one of these; but programs also annotate with them.
from phalanx.queues import JoinableQueue as JoinableQueue
from phalanx.queues import Queue as Queue
from phalanx.queues import SimpleQueue as SimpleQueue

__all__ = [
    "Array", "AuthenticationError", "Barrier", "BoundedSemaphore", "BufferTooShort", "Condition", "Event",
    "JoinableQueue", "Lock", "Manager", "OwnerDied", "Pipe", "Pool", "Process", "ProcessError", "Queue", "RLock",
    "RawArray", "RawValue", "RemoteError", "Semaphore", "SimpleQueue", "TaskTimeout", "TimeoutError", "Value",
    "WorkerDied", "active_children", "allow_connection_pickling", "available_cpus", "cpu_count", "current_process",
    "freeze_support", "get_all_start_methods", "get_context", "get_logger", "get_start_method", "log_to_stderr",
    "parent_process", "reducer", "set_executable", "set_forkserver_preload", "set_start_method",
]  # fmt: skip

__version__: Final[str]
SUBDEBUG: Final[int]
SUBWARNING: Final[int]

Array = _context._default_context.Array
Barrier = _context._default_context.Barrier
BoundedSemaphore = _context._default_context.BoundedSemaphore
Condition = _context._default_context.Condition
Event = _context._default_context.Event
Lock = _context._default_context.Lock
Manager = _context._default_context.Manager
Pipe = _context._default_context.Pipe
Pool = _context._default_context.Pool
RLock = _context._default_context.RLock
RawArray = _context._default_context.RawArray
RawValue = _context._default_context.RawValue
Semaphore = _context._default_context.Semaphore
Value = _context._default_context.Value
allow_connection_pickling = _context._default_context.allow_connection_pickling
cpu_count = _context._default_context.cpu_count
freeze_support = _context._default_context.freeze_support
get_all_start_methods = _context._default_context.get_all_start_methods
get_context = _context._default_context.get_context
get_logger = _context._default_context.get_logger
get_start_method = _context._default_context.get_start_method
log_to_stderr = _context._default_context.log_to_stderr
reducer = _context._default_context.reducer
set_executable = _context._default_context.set_executable
set_forkserver_preload = _context._default_context.set_forkserver_preload
set_start_method = _context._default_context.set_start_method
