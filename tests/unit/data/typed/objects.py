"""Every object of the package, with the types that typeshed gives them."""

import ctypes
import logging
import multiprocessing
from collections.abc import Callable
from multiprocessing import Process, Queue, connection, pool, queues, shared_memory, synchronize
from multiprocessing.context import BaseContext, SpawnContext
from multiprocessing.managers import BaseManager, DictProxy, ListProxy, SharedMemoryManager, SyncManager
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized, SynchronizedArray
from typing import Any, Literal

LockLike = synchronize.Lock | synchronize.RLock


class Counter(Process):
    def __init__(self, results: "Queue[int]", lock: LockLike) -> None:
        super().__init__(name="counter", daemon=True)
        self.results = results
        self.lock = lock

    def run(self) -> None:
        with self.lock:
            self.results.put(len(self.name))


def put(queue: "queues.Queue[tuple[int, str]]", number: int) -> None:
    queue.put((number, str(number)), block=True, timeout=1.5)
    queue.put_nowait((number, ""))


def processes() -> int | None:
    queue: queues.Queue[tuple[int, str]] = multiprocessing.Queue(3)
    one = multiprocessing.Process(target=put, args=(queue, 1), kwargs={}, daemon=None)
    one.start()
    number, word = queue.get(timeout=2.0)
    print(number + 1, word.upper())
    one.join(timeout=3)
    one.terminate()
    one.kill()
    one.close()
    me: BaseProcess = multiprocessing.current_process()
    parent: BaseProcess | None = multiprocessing.parent_process()
    children: list[BaseProcess] = multiprocessing.active_children()
    print(me.pid, me.authkey, me.sentinel, parent, [child.is_alive() for child in children])
    return one.exitcode


def locks() -> None:
    lock: synchronize.Lock = multiprocessing.Lock()
    both: list[LockLike] = [lock, multiprocessing.RLock()]
    for each in both:
        taken: bool = each.acquire(block=False, timeout=0.1)
        each.release()
        print(taken)
    semaphore: synchronize.Semaphore = multiprocessing.BoundedSemaphore(2)
    print(semaphore.get_value())
    condition: synchronize.Condition = multiprocessing.Condition(lock)
    with condition:
        condition.notify(1)
        condition.wait_for(lambda: True, timeout=1)
    event: synchronize.Event = multiprocessing.Event()
    if event.wait(0.5) and event.is_set():
        event.clear()
    barrier: synchronize.Barrier = multiprocessing.Barrier(2, action=print, timeout=1)
    print(barrier.wait() + barrier.n_waiting, barrier.broken)


def more_queues() -> int:
    joinable: queues.JoinableQueue[int] = multiprocessing.JoinableQueue()
    joinable.task_done()
    joinable.join()
    simple: queues.SimpleQueue[bytes] = multiprocessing.SimpleQueue()
    simple.put(b"")
    size: int = len(simple.get())
    joinable.close()
    joinable.join_thread()
    return size + joinable.get_nowait()


def connections() -> bytes:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sender.send({"a": 1})
    ends: tuple[connection.Connection, connection.Connection] = (receiver, sender)
    ready = connection.wait([receiver], timeout=1.0)
    print(ready, receiver.poll(0.1), receiver.fileno(), ends)
    with connection.Listener(("localhost", 0), authkey=b"key") as listener:
        print(listener.address, listener.last_accepted)
        listener.accept().close()
    connection.Client("address", family="AF_UNIX").close()
    return receiver.recv_bytes(10)


def shared_values() -> None:
    integer: Synchronized[int] = multiprocessing.Value(ctypes.c_int, 3)
    with integer.get_lock():
        integer.value += 1
    by_code: Synchronized[float] = multiprocessing.Value("d", 1.0, lock=True)
    array: SynchronizedArray[int] = multiprocessing.Array(ctypes.c_int, [1, 2])
    array[0] = array[1] + len(array)
    raw = multiprocessing.RawArray(ctypes.c_double, 4)
    raw[0] = 1.5
    print(by_code.value, multiprocessing.RawValue("i", 1).value)


def memory() -> memoryview | None:
    segment = shared_memory.SharedMemory(create=True, size=10)
    shared: shared_memory.ShareableList[int] = shared_memory.ShareableList([1, 2], name=None)
    first: int = shared[0]
    print(first, segment.name, shared.shm.name)
    with SharedMemoryManager() as manager:
        manager.ShareableList(range(3))
        manager.SharedMemory(128).close()
    return segment.buf


class Manager(BaseManager):
    pass


def managers() -> None:
    Manager.register("Counter", callable=dict, exposed=["get"])
    manager: SyncManager
    with multiprocessing.Manager() as manager:
        words: DictProxy[str, int] = manager.dict({"a": 1})
        numbers: ListProxy[int] = manager.list([1])
        numbers.append(words["a"])
        words.update(b=2)
        print(manager.Queue().get(), manager.Lock().acquire(), manager.Namespace())


def settings(method: Literal["spawn", "fork"]) -> BaseContext:
    multiprocessing.set_start_method("spawn", force=True)
    multiprocessing.set_executable("/usr/bin/python3")
    multiprocessing.set_forkserver_preload(["os"])
    multiprocessing.freeze_support()
    logger: logging.Logger = multiprocessing.log_to_stderr(logging.INFO)
    logger.warning("%d of %d", multiprocessing.cpu_count(), len(multiprocessing.get_all_start_methods()))
    spawning: SpawnContext = multiprocessing.get_context("spawn")
    name: str = spawning.get_start_method()
    print(name, multiprocessing.get_start_method(allow_none=True), spawning.Process(target=print))
    return multiprocessing.get_context(method)


def errors() -> None:
    try:
        raise multiprocessing.TimeoutError
    except (multiprocessing.ProcessError, multiprocessing.AuthenticationError, multiprocessing.BufferTooShort) as error:
        print(error.args)


def with_any_context(context: BaseContext, function: Callable[[Any], int]) -> pool.Pool:
    with context.Pool(2) as workers:
        print(sum(workers.map(function, [1, 2])))
    return context.Pool(processes=2, initializer=print, initargs=("hello",), maxtasksperchild=3)
