"""The C core: the arena that a process tree shares, and what lives in it.

Checked against the extension by stubtest. Handles are tuples of ints that mean something only within one tree.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self, final

from typing_extensions import Buffer, disjoint_base

LAYOUT: Final[int]
SEM_VALUE_MAX: Final[int]
"""The largest value of a semaphore: 2147483647, as in the stdlib on Linux."""

# -- the arena and this process's place in it ------------------------------------------------------------------------

def arena_open() -> None:
    """Make the tree's arena unless this process is in one already. Raises OSError, or MemoryError with the figures."""

def arena_is_open() -> bool: ...
def arena_fd() -> int:
    """The arena's file descriptor, for handing over to a spawned child. Opens the arena. OSError if somebody closed it."""

def arena_id() -> int:
    """A random number that tells this tree's arena from another's. Opens the arena."""

def arena_attach(fd: int, slot: int) -> None:
    """Join the arena behind `fd` (the number is taken over) as the process that `slot_reserve` prepared.

    RuntimeError for another layout, for something that is no arena, and if this process is in an arena already.
    """

def arena_stats() -> dict[str, int]:
    """Counts of the whole tree: blocks, leases, slots, committed_bytes, limit_bytes; of this process: mapped_bytes."""

def arena_sweep() -> int:
    """Find the processes of the tree that have died, return their leases; how many were found."""

def slot_reserve() -> int:
    """A slot for a child that is about to be started (not forked: a fork reserves its own). Never 0. Opens the arena."""

def slot_of_last_fork() -> int:
    """The slot that this thread's last fork gave its child; 0 without an arena. Called in the parent."""

def slot_set_pid(slot: int, pid: int) -> None:
    """Tell the pid of the child that was started for a reserved slot. No effect for slot 0 and for one adopted already."""

def slot_end(slot: int) -> None:
    """The process of that slot has been reaped, or was never started: return what it held, wake who waits for it.

    No effect for slot 0 and for a slot that has ended already.
    """

def slot_adopt(slot: int) -> None:
    """This process, a fork server's child, becomes the process of that reserved slot; what it held it goes on holding."""

def slot_is_alive(slot: int) -> bool: ...
def slot_self() -> int: ...
def watch_process(pid: int, starter: int = 0, /) -> None:
    """End this process with SIGKILL as soon as `pid` has ended; to be told again after a change of credentials.

    `starter`: the thread of `pid` that has started this process. If that is the main thread, the kernel does it, else a
    thread of the core's own. OSError if there can be none.
    """

# -- handing objects over --------------------------------------------------------------------------------------------

def granting_begin(slot: int) -> None:
    """From here to `granting_end`, this thread may pickle arena objects; what it pickles is leased to that slot."""

def granting_end() -> None: ...
def is_granting() -> bool:
    """Whether this thread may pickle arena objects now (a spawn is being prepared, or a channel is serialising)."""

# -- synchronisation -------------------------------------------------------------------------------------------------

@disjoint_base
class Lock:
    """A non-recursive lock that any process and thread of the tree may release."""

    def __init__(self, *, ctx: object = None, on_owner_death: str = "raise") -> None: ...
    def acquire(self, block: bool = True, timeout: float | None = None) -> bool: ...
    def release(self) -> None: ...
    def locked(self) -> bool: ...
    def recover(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *exc: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@disjoint_base
class RLock:
    def __init__(self, *, ctx: object = None, on_owner_death: str = "raise") -> None: ...
    def acquire(self, block: bool = True, timeout: float | None = None) -> bool: ...
    def release(self) -> None: ...
    def locked(self) -> bool: ...
    def recover(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *exc: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

def set_owner_namer(namer: Callable[[], str], /) -> None:
    """What the calling thread is called in a lock's repr."""

@disjoint_base
class Semaphore:
    def __init__(self, value: int = 1, *, ctx: object = None) -> None: ...
    def acquire(self, block: bool = True, timeout: float | None = None) -> bool: ...
    def release(self) -> None: ...
    def get_value(self) -> int: ...
    @property
    def _semlock(self) -> Self: ...
    def _get_value(self) -> int: ...
    def _is_zero(self) -> bool: ...
    def locked(self) -> bool: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *exc: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

class BoundedSemaphore(Semaphore):
    def __init__(self, value: int = 1, *, ctx: object = None) -> None: ...

@disjoint_base
class Condition:
    def __init__(self, lock: Lock | RLock | None = None, *, ctx: object = None) -> None: ...
    @property
    def acquire(self) -> Callable[..., bool]: ...
    @property
    def release(self) -> Callable[[], None]: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any: ...
    def notify(self, n: int = 1) -> None: ...
    def notify_all(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *exc: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@disjoint_base
class Event:
    def __init__(self, *, ctx: object = None) -> None: ...
    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@disjoint_base
class Barrier:
    def __init__(
        self, parties: int, action: Callable[[], Any] | None = None, timeout: float | None = None, *, ctx: object = None
    ) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def reset(self) -> None: ...
    def abort(self) -> None: ...
    @property
    def parties(self) -> int: ...
    @property
    def n_waiting(self) -> int: ...
    @property
    def broken(self) -> bool: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

# -- memory ----------------------------------------------------------------------------------------------------------

@final
class Block:
    """`size` bytes of the arena, zeroed, writable through the buffer protocol; freed with the last holder of the tree."""

    def __new__(cls, size: int) -> Self: ...
    @property
    def address(self) -> int:
        """Where the block is mapped in this process. It stays there while the object lives."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@disjoint_base
class Cell:
    """A C scalar of the arena with an RLock beside it; `value` reads and writes under that lock."""

    def __init__(self, typecode: str, value: Any = 0, *, lock: RLock | Lock | None = None) -> None: ...
    value: Any
    @property
    def acquire(self) -> Callable[..., bool]: ...
    @property
    def release(self) -> Callable[[], None]: ...
    def get_lock(self) -> Any: ...
    @property
    def block(self) -> Block: ...
    @property
    def typecode(self) -> str: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *exc: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@disjoint_base
class CellArray:
    """A C array of scalars of the arena with an RLock beside it; items and slices are read and written under that lock."""

    def __init__(
        self, typecode: str, size_or_initializer: int | Sequence[Any], *, lock: RLock | Lock | None = None
    ) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...
    def __setitem__(self, index: Any, value: Any, /) -> None: ...
    @property
    def acquire(self) -> Callable[..., bool]: ...
    @property
    def release(self) -> Callable[[], None]: ...
    def get_lock(self) -> Any: ...
    @property
    def block(self) -> Block: ...
    @property
    def typecode(self) -> str: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *exc: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

# -- the channel -----------------------------------------------------------------------------------------------------

@disjoint_base
class Channel:
    """An unbounded (or bounded) many-producer, many-consumer queue of records in the arena.

    `maxsize` bounds the records waiting, `max_bytes` their bytes (0: no bound). Queue classes subclass this type.
    """

    def __init__(self, maxsize: int = 0, *, max_bytes: int = 0) -> None: ...
    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Serialise now, in the caller, and publish. queue.Full; ValueError once closed; whatever pickling raises."""

    def put_nowait(self, obj: Any) -> None: ...
    def get(self, block: bool = True, timeout: float | None = None) -> Any: ...
    def get_nowait(self) -> Any: ...
    def put_many(self, objs: Iterable[Any], timeout: float | None = None) -> None: ...
    def get_many(self, limit: int = 0, block: bool = True, timeout: float | None = None) -> list[Any]:
        """Wait for one record, then take all that are there, `limit` at most (0: 1,024), under one lock round trip.

        When one cannot be rebuilt, those before it are returned, the next call raises what it raised, and the one after that
        goes on behind it.
        """

    def put_bytes(self, data: Buffer, block: bool = True, timeout: float | None = None) -> None:
        """One frame of bytes, copied once."""

    def get_bytes(self, block: bool = True, timeout: float | None = None) -> bytes: ...
    def get_frame(self, block: bool = True, timeout: float | None = None) -> Frame:
        """The message as it was serialised: the way to take one now and to rebuild its object later, or elsewhere."""

    def qsize(self) -> int: ...
    def empty(self) -> bool: ...
    def full(self) -> bool: ...
    def task_done(self) -> None:
        """ValueError if called more often than there were items."""

    def join(self, *, timeout: float | None = None) -> bool:
        """Wait until every item put has been marked `task_done`; False if the timeout passed."""

    def close(self) -> None:
        """No further `put` from this process's object: it raises ValueError."""

    @property
    def closed(self) -> bool: ...
    @property
    def maxsize(self) -> int: ...
    def __getstate__(self) -> Any: ...
    def __setstate__(self, state: Any, /) -> None: ...
    def _close_for_get(self) -> None: ...
    def _close_for_put(self) -> None: ...

@final
class Watch:
    """A channel as something that `select` and the like can wait for. It costs a descriptor once one has been asked for.

    In a forked child a watch has another descriptor than its parent's, which the child closes: ask again.
    """

    def __new__(cls, channel: Channel) -> Self: ...
    def fileno(self) -> int:
        """A descriptor that is readable exactly while the channel has items. OSError if there is none to be had."""

    def has_items(self) -> bool:
        """Whether there are items. From here on the descriptor says the same, until somebody puts or takes one."""

    def wait_items(self, timeout: float | None, /) -> bool:
        """Whether there are items within `timeout` seconds; None: without a limit."""

    def close(self) -> None:
        """Close the descriptor, if there is one."""

@final
class Frame:
    """A message that was taken out of a channel and not rebuilt yet."""

    def load(self) -> Any:
        """The object; once. Raises what rebuilding it raises."""

# -- pipes -----------------------------------------------------------------------------------------------------------

@disjoint_base
class PipeEnd:
    """One end of a stream of messages over the descriptor `handle`; attached to a pipe of the arena it needs no system call.

    Unattached, `send` and the like call what a subclass has: `_stream_send(obj)`, `_stream_recv()`,
    `_stream_send_bytes(octets)`, `_stream_recv_bytes(maxlength)`, `_stream_poll(timeout)`.
    """

    def __init__(self, handle: int, readable: bool = True, writable: bool = True) -> None: ...
    def send(self, obj: Any) -> None: ...
    def recv(self) -> Any: ...
    def send_bytes(self, buf: Buffer, offset: int = 0, size: int | None = None) -> None: ...
    def recv_bytes(self, maxlength: int | None = None) -> bytes: ...
    def recv_bytes_into(self, buf: Buffer, offset: int = 0) -> int: ...
    def poll(self, timeout: float | None = 0.0) -> bool: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def readable(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    @property
    def _handle(self) -> int | None: ...
    @property
    def _is_attached(self) -> bool: ...
    def _stop_reading(self) -> None:
        """What follows in the stream is no message any more."""

    def _arm(self) -> bool:
        """Prepare a sleep on the descriptor; whether something can be received already."""

    def _is_ready(self) -> bool: ...
    def _expect_foreign(self) -> None:
        """File descriptors are about to be sent through the socket."""

    def _ring_again(self) -> None:
        """They have been sent: a token that lies in front of them goes behind them too."""

    def _attach_pair(self, other: PipeEnd, duplex: bool, /) -> None:
        """Make a pipe between these two, whose descriptors are a connected socket pair."""

    def _grant(self) -> tuple[Any, ...] | None:
        """Handles of the arena's part, leased to whom this thread is granting to; None unless attached."""

    def _attach(self, handles: tuple[Any, ...], /) -> None:
        """Take over what `_grant` has given."""

def set_serializer(dumps: Callable[..., tuple[bytes, list[Any]]], loads: Callable[[Any, list[Any]], Any], /) -> None:
    """How objects that are not exact scalars, str or bytes are turned into (bytes, out-of-band buffers) and back.

    `dumps(obj)` may leave buffers out of the bytes; `dumps(obj, True)` may not.
    """

# -- tests -----------------------------------------------------------------------------------------------------------

def set_kill_point(name: str | None) -> None:
    """End this process with SIGKILL at a named step: 'name', or 'name:N' for its N-th passage; None: never."""

# -- a pool's rows: which task is in whose hands ---------------------------------------------------------------------

@final
class Rows:
    """The rows and outboxes of one pool, over a block of `size(...)` bytes that its processes share.

    ValueError for a geometry out of range or a block too small; every method raises IndexError for a row or worker that
    is not there.
    """

    def __new__(cls, block: Buffer, rows: int, outboxes: int, outbox_bytes: int) -> Self: ...
    @staticmethod
    def size(rows: int, outboxes: int, outbox_bytes: int, /) -> int: ...
    def post(self, row: int, sequence: int, count: int, /) -> None: ...
    def look(self, row: int, /) -> tuple[int, int, bool, int, int, int]:
        """(sequence, worker or -1, released, position, end, started_ns)."""

    def cut(self, row: int, sequence: int, keep: int, /) -> int:
        """Take the tasks from `keep` on away from the batch, as far as they have not begun; where it ends now."""

    def peek(self, worker: int, /) -> tuple[int, int, int, bytes] | None:
        """(sequence, first, count, bytes) of a worker's outbox; None while the worker changes it."""

    def free(self, row: int, /) -> None: ...
    def free_if_released(self, row: int, /) -> bool:
        """Free the row if its holder is done with it; whether it was."""

    def claim(self, row: int, sequence: int, worker: int, /) -> bool: ...
    def rebuild(self, row: int, /) -> None:
        """Say that function and items are being unpickled: `look` gives 1 for started_ns until a task begins."""

    def release(self, row: int, /) -> None: ...
    def run(
        self,
        row: int,
        sequence: int,
        worker: int,
        function: Callable[..., Any],
        items: list[Any],
        mode: int,
        limit: int,
        slice_ns: int,
        dumps: Callable[[Any], bytes | None],
        /,
    ) -> tuple[int, bool, int, bytes, Any]:
        """Run tasks of a claimed batch: (outcome, exhausted, count of results, record with them, extra).

        Ends when the batch is exhausted (0), after `slice_ns` or `limit` tasks (1), at a task that raised (2: `extra` is the
        exception), at a result too large for the outbox (3: `extra` is the result) or one that `dumps` refused (4: `extra` is
        (result, exception)). `items` are let go of as they are run.
        """

def encode_items(prefix: Buffer, items: list[Any], start: int, stop: int, /) -> bytes | None:
    """`prefix`, then items[start:stop] as plain values; None if one of them is not plain."""

def encode_pickled(pickled: bytes, /) -> bytes:
    """One value of a record that was pickled already. TypeError if it is not bytes."""

def decode_items(record: Buffer, offset: int, count: int, loads: Callable[[bytes, int], Any], /) -> list[Any]:
    """The values of a record; a pickled one is loads(bytes, index). ValueError for bytes that are no such record."""
