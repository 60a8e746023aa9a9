"""A program under a limit: `limited.py START_METHOD LIMIT`. It says `fine` at its end."""

import ctypes
import errno
import gc
import os
import re
import resource
import stat
import sys
from collections.abc import Callable
from typing import Any

import phalanx

MIB = 1 << 20

STRANGER = 54_321
"""A user without other processes: the kernel counts all that a user has."""

CLONE_NEWNS = 0x0002_0000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18

PR_CAPBSET_DROP = 24
EXEMPTING_RIGHTS = (21, 24)  # CAP_SYS_ADMIN, CAP_SYS_RESOURCE
CAPABILITY_VERSION = 0x2008_0522

SKIPPED = 77


# -- what works in all cases ------------------------------------------------------------------------------------------


def square(number: int) -> int:
    return number * number


def answer(lock: Any, questions: Any, answers: Any) -> None:
    with lock:
        answers.put(questions.get() + 1)


def expect_all_works(context: Any) -> None:
    lock, questions, answers = context.Lock(), context.Queue(), context.SimpleQueue()
    child = context.Process(target=answer, args=(lock, questions, answers))
    child.start()
    questions.put(1)
    assert answers.get() == 2
    child.join()
    assert child.exitcode == 0
    expect_pool_works(context)
    assert context.Value("i", 3).value == 3


def expect_pool_works(context: Any) -> None:
    with context.Pool(2) as pool:
        assert pool.map(square, range(100)) == [number * number for number in range(100)]
        pool.close()
        pool.join()


def expect_error(kind: type[BaseException], call: Callable[..., object], *args: Any) -> BaseException:
    try:
        call(*args)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def expect_memory_error(call: Callable[..., object], *args: Any) -> None:
    """It names the figures."""
    text = str(expect_error(MemoryError, call, *args))
    assert re.search(r"\d", text), repr(text)


# -- /dev/shm ---------------------------------------------------------------------------------------------------------


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [word and word.encode() for word in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), data and data.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def have_own_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        sys.exit(SKIPPED)
    try:
        mount("none", "/", None, MS_REC | MS_PRIVATE)
    except OSError:
        sys.exit(SKIPPED)


def without_shm(context: Any) -> None:
    have_own_mounts()
    mount("tmpfs", "/dev", "tmpfs")
    for name, number in (("null", 3), ("zero", 5), ("urandom", 9)):
        os.mknod(f"/dev/{name}", 0o666 | stat.S_IFCHR, os.makedev(1, number))
    assert not os.path.exists("/dev/shm")
    from phalanx.shared_memory import SharedMemory

    expect_error(OSError, lambda: SharedMemory(create=True, size=10))
    expect_all_works(context)
    with context.Manager() as manager:
        assert list(manager.list([1, 2])) == [1, 2]


def with_tiny_shm(context: Any) -> None:
    have_own_mounts()
    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64k")
    from phalanx.shared_memory import SharedMemory

    expect_error(OSError, lambda: SharedMemory(create=True, size=MIB))
    expect_all_works(context)
    queue = context.Queue()
    queue.put(b"x" * MIB)
    assert len(queue.get()) == MIB


# -- numbers of things ------------------------------------------------------------------------------------------------


def with_few_descriptors(context: Any) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    locks = [context.Lock() for _ in range(500)]
    queues = [context.Queue() for _ in range(100)]
    for number, queue in enumerate(queues):
        queue.put(number)
    for lock in locks:
        assert lock.acquire(timeout=10)
    assert [queue.get(timeout=10) for queue in queues] == list(range(100))
    expect_all_works(context)
    child = context.Process(target=use_all, args=(locks, queues))
    child.start()
    assert [queue.get(timeout=30) for queue in queues] == list(range(100))
    child.join()
    assert child.exitcode == 0


def use_all(locks: list[Any], queues: list[Any]) -> None:
    for lock in locks:
        lock.release()
    for number, queue in enumerate(queues):
        queue.put(number)


def with_no_descriptors(context: Any) -> None:
    """One that is missing is told, and nothing that was opened by the way stays open."""
    expect_pool_works(context)
    count = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 2, 4096))
    for _ in range(5):
        error = expect_error(OSError, context.Pool, 8)
        assert isinstance(error, OSError)
        assert error.errno == errno.EMFILE, error
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    assert not phalanx.active_children()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= count
    expect_all_works(context)


def become_limited() -> None:
    """Root, and the rights that lift the limit, are exempt; to read the interpreter's files may take other rights."""
    if os.getuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for right in EXEMPTING_RIGHTS:
        libc.prctl(PR_CAPBSET_DROP, right, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    os.setresuid(STRANGER, 0, 0)
    if libc.capget(header, sets) != 0:
        sys.exit(SKIPPED)
    for place in range(3):  # effective, permitted, inheritable; of rights below 32
        sets[place] &= ~sum(1 << right for right in EXEMPTING_RIGHTS)
    if libc.capset(header, sets) != 0:
        sys.exit(SKIPPED)


def with_few_processes(context: Any) -> None:
    become_limited()
    expect_pool_works(context)  # what is started once and stays, a fork server for example
    tasks = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in own_processes())
    resource.setrlimit(resource.RLIMIT_NPROC, (tasks + 10, tasks + 10))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        expect_error((OSError, RuntimeError), context.Pool, 20)  # type: ignore[arg-type]  # a process, or a thread
        assert not phalanx.active_children()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
    expect_pool_works(context)


def own_processes() -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/status") as file:
                if f"\nUid:\t{os.getuid()}\t" in file.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


# -- memory -----------------------------------------------------------------------------------------------------------


def address_space_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def with_little_address_space(context: Any) -> None:
    bytes_left = 400 * MIB
    limit = address_space_bytes() + bytes_left
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    expect_all_works(context)
    expect_error(MemoryError, put_large, context, 2 * bytes_left)
    expect_all_works(context)


def put_large(context: Any, size: int) -> None:
    context.Queue().put(bytes(size))


def without_address_space(context: Any) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = address_space_bytes() + 16 * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    expect_error(MemoryError, context.Lock)
    resource.setrlimit(resource.RLIMIT_AS, before)
    expect_all_works(context)


def with_small_files(context: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * MIB, resource.RLIM_INFINITY))
    expect_all_works(context)
    expect_memory_error(put_large, context, 300 * MIB)
    expect_all_works(context)


def without_files(context: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, resource.RLIM_INFINITY))
    expect_error(MemoryError, context.Lock)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    expect_all_works(context)


def make(size: int) -> bytes:
    return bytes(size)


def fail(size: int) -> None:
    raise ValueError(bytes(size))


def with_full_arena(context: Any) -> None:
    """PHALANX_ARENA_BYTES is 32 MiB."""
    with context.Pool(2) as pool:
        expect_memory_error(pool.apply, len, (bytes(64 * MIB),))
        assert pool.map(square, range(100)) == [number * number for number in range(100)]
        expect_memory_error(pool.apply, make, (64 * MIB,))
        expect_memory_error(pool.apply, fail, (64 * MIB,))
        results = pool.map(make, [MIB, 64 * MIB, MIB], chunksize=1, on_error="return")
        assert [len(result) if type(result) is bytes else type(result) for result in results][::2] == [MIB, MIB]
        assert isinstance(results[1], MemoryError)
        assert pool.map(square, range(100)) == [number * number for number in range(100)]
    queue = context.Queue()

    def fill() -> None:
        while True:
            queue.put(b"x" * 100_000)

    expect_memory_error(fill)
    filled = queue.qsize()
    for _ in range(filled):
        assert len(queue.get(timeout=10)) == 100_000
    queue.put(b"x" * MIB)
    assert len(queue.get()) == MIB


LIMITS = {
    "no shm": without_shm,
    "tiny shm": with_tiny_shm,
    "few descriptors": with_few_descriptors,
    "no descriptors": with_no_descriptors,
    "few processes": with_few_processes,
    "little address space": with_little_address_space,
    "no address space": without_address_space,
    "small files": with_small_files,
    "no files": without_files,
    "full arena": with_full_arena,
}

if __name__ == "__main__":
    LIMITS[sys.argv[2]](phalanx.get_context(sys.argv[1]))
    print("fine")
