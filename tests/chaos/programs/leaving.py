"""A program that ends with work in hand: `leaving.py START_METHOD HOW`."""

import os
import sys
import threading
import time
from typing import Any

import phalanx

FOR_EVER_S = 10_000.0

ITEMS_COUNT = 1_000_000

held: list[Any] = []


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def work(_: object = None) -> None:
    say("ready")
    time.sleep(FOR_EVER_S)


def wait_for(result: Any) -> None:
    try:
        result.get()
    except phalanx.ProcessError as error:
        say("told", type(error).__name__)


def with_pool(context: Any) -> None:
    pool = context.Pool(2)
    held.extend([pool, pool.map_async(work, range(100), chunksize=1)])


def with_iterator(context: Any) -> None:
    pool = context.Pool(2)
    held.extend([pool, pool.imap(work, iter(range(100)))])


def with_waiter(context: Any) -> None:
    """A thread that is no hindrance waits for the result when the program ends."""
    pool = context.Pool(2)
    held.append(pool)
    threading.Thread(target=wait_for, args=(pool.map_async(work, range(100), chunksize=1),), daemon=True).start()


def with_reference_cycle(context: Any) -> None:
    pool = context.Pool(2)
    pool.myself = pool
    pool.map_async(work, range(100), chunksize=1)


def with_failure(context: Any) -> None:
    with_pool(context)
    raise SystemExit(3)


def with_queue(context: Any) -> None:
    queue = context.Queue()
    for number in range(ITEMS_COUNT):
        queue.put(number)
    held.append(queue)


def with_manager(context: Any) -> None:
    manager = context.Manager()
    held.extend([manager, manager.list(range(3))])


def with_daemon(context: Any) -> None:
    held.append(context.Process(target=work, daemon=True))
    held[0].start()


WAYS = {
    "pool": with_pool,
    "iterator": with_iterator,
    "waiter": with_waiter,
    "cycle": with_reference_cycle,
    "failure": with_failure,
    "queue": with_queue,
    "manager": with_manager,
    "daemon": with_daemon,
}

if __name__ == "__main__":
    WAYS[sys.argv[2]](phalanx.get_context(sys.argv[1]))
