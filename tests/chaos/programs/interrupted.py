"""A program that waits in one of many ways, until Ctrl-C: `interrupted.py START_METHOD WAIT`. It says when it waits."""

import os
import sys
import threading
import time
from typing import Any

import phalanx

FOR_EVER_S = 10_000.0


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def work(_: object = None) -> None:
    say("ready")
    time.sleep(FOR_EVER_S)


def compute(_: object = None) -> None:
    say("ready")
    while True:
        sum(range(1000))


def in_pool(wait: Any) -> Any:
    def run(context: Any) -> None:
        with context.Pool(2) as pool:
            wait(pool)

    return run


def hold(lock: Any) -> None:
    lock.acquire()
    work()


def for_lock(context: Any) -> None:
    lock = context.Lock()
    context.Process(target=hold, args=(lock,), daemon=True).start()
    say_when(lock.locked)
    lock.acquire()


def for_item(context: Any) -> None:
    context.Process(target=work, daemon=True).start()
    context.Queue().get()


def for_message(context: Any) -> None:
    context.Process(target=work, daemon=True).start()
    reader, writer = context.Pipe(duplex=False)
    with reader, writer:
        reader.recv()


def for_event(context: Any) -> None:
    context.Process(target=work, daemon=True).start()
    context.Event().wait()


def for_process(context: Any) -> None:
    child = context.Process(target=work)
    child.start()
    child.join()


def for_manager(context: Any) -> None:
    with context.Manager() as manager:
        queue = manager.Queue()
        threading.Thread(target=say, args=("ready",)).start()
        queue.get()


def say_when(is_so: Any) -> None:
    while not is_so():
        time.sleep(0.01)


WAITS = {
    "map": in_pool(lambda pool: pool.map(work, range(2), chunksize=1)),
    "busy map": in_pool(lambda pool: pool.map(compute, range(2), chunksize=1)),
    "imap": in_pool(lambda pool: list(pool.imap(work, range(2)))),
    "apply": in_pool(lambda pool: pool.apply(work)),
    "result": in_pool(lambda pool: pool.apply_async(work).get()),
    "lock": for_lock,
    "get": for_item,
    "recv": for_message,
    "event": for_event,
    "join": for_process,
    "manager": for_manager,
}

if __name__ == "__main__":
    WAITS[sys.argv[2]](phalanx.get_context(sys.argv[1]))
