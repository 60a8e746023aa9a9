"""A program that holds a tree of processes: `tree.py START_METHOD SHAPE`.

Each process that works says so in a line: its pid, and that of the process that started it.
"""

import os
import sys
import threading
import time
from typing import Any

import phalanx

FOR_EVER_S = 10_000.0

held: list[Any] = []


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def say_working() -> None:
    parent = phalanx.parent_process()
    say(os.getpid(), parent.pid if parent else 0)


def work(_: object = None) -> None:
    say_working()
    time.sleep(FOR_EVER_S)


def spin(_: object = None) -> None:
    say_working()
    while True:
        pass


def work_in_pool(method: str) -> None:
    with phalanx.get_context(method).Pool(2) as pool:
        pool.map(work, range(2))


def become_nobody() -> None:
    os.setuid(65534)


def with_pool(context: Any, task: Any = work, **options: Any) -> None:
    pool = context.Pool(2, **options)
    held.append((pool, pool.map_async(task, range(2), chunksize=1)))


def with_replaced_workers(context: Any) -> None:
    """The pool's own thread starts all but the first workers."""
    pool = context.Pool(2, maxtasksperchild=1)
    pool.map(abs, range(8), chunksize=1)
    held.append((pool, pool.map_async(work, range(2), chunksize=1)))


def with_nested_pools(context: Any) -> None:
    pool = context.Pool(2)
    held.append((pool, pool.map_async(work_in_pool, [context.get_start_method()] * 2, chunksize=1)))


def with_processes(context: Any, count: int = 2, **options: Any) -> None:
    for _ in range(count):
        child = context.Process(target=work, **options)
        child.start()
        held.append(child)


def with_manager(context: Any) -> None:
    manager = context.Manager()
    held.append((manager, manager.list([1])))
    with_pool(context)


def with_segment(context: Any) -> None:
    from phalanx.shared_memory import SharedMemory

    segment = SharedMemory(create=True, size=10_000)
    held.append(segment)
    say(segment.name)
    with_pool(context)


def with_ended_thread(context: Any) -> None:
    """The thread that has started the workers is gone, whatever the kernel thinks of it."""
    tasks, results = context.Queue(), context.Queue()

    def start() -> None:
        pool = context.Pool(2)
        held.append(pool)
        child = context.Process(target=echo, args=(tasks, results), daemon=True)
        child.start()
        held.append(child)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    for number in range(20):
        tasks.put(number)
        assert results.get(timeout=30) == number
    pool = held[0]
    first = {child.pid for child in pool._pool}
    assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
    assert {child.pid for child in pool._pool} == first
    say("alive")
    with_pool(context)


def echo(tasks: Any, results: Any) -> None:
    while True:
        results.put(tasks.get())


SHAPES = {
    "daemons": lambda context: with_processes(context, daemon=True),
    "asked": lambda context: with_processes(context, orphan="kill"),
    "others": with_processes,
    "pool": with_pool,
    "busy": lambda context: with_pool(context, spin),
    "replaced": with_replaced_workers,
    "nobody": lambda context: with_pool(context, initializer=become_nobody),
    "nested": with_nested_pools,
    "manager": with_manager,
    "segment": with_segment,
    "thread": with_ended_thread,
}

if __name__ == "__main__":
    SHAPES[sys.argv[2]](phalanx.get_context(sys.argv[1]))
    time.sleep(FOR_EVER_S)
elif os.environ.get("SLOW_IMPORT"):
    work()
