"""The workloads. Each takes a context (phalanx's or the stdlib's) and a scale for its counts, and returns one figure.

A figure's unit says which way is better: rates ("/s") and factors ("x") should be high, times low. Processes are
started and warm before the clock runs, unless starting them is what is measured.
"""

import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

Context = Any
Measure = Callable[[Context, float], float]

MiB = 1 << 20
SPEEDUP_STEPS = 1_000_000
SPEEDUP_TASKS = 8


@dataclass(frozen=True)
class Workload:
    """A named measurement; `unit` is what `measure` returns."""

    name: str
    unit: str
    measure: Measure

    @property
    def is_higher_better(self) -> bool:
        return self.unit.endswith("/s") or self.unit.startswith("x")

    def ratio(self, ours: float, theirs: float) -> float:
        """How many times better ours is."""
        return ours / theirs if self.is_higher_better else theirs / ours


WORKLOADS: dict[str, Workload] = {}


def workload(unit: str) -> Callable[[Measure], Measure]:
    def register(measure: Measure) -> Measure:
        name = measure.__name__
        WORKLOADS[name] = Workload(name, unit, measure)
        return measure

    return register


@contextmanager
def running(context: Context, count: int, target: Callable[..., None], *args: Any) -> Any:
    """`count` processes of that target, joined at the end."""
    processes = [context.Process(target=target, args=args) for _ in range(count)]
    for process in processes:
        process.start()
    yield
    for process in processes:
        process.join()


def seconds(action: Callable[[], object]) -> float:
    begun = perf_counter()
    action()
    return perf_counter() - begun


# -- what the other processes do --------------------------------------------------------------------------------------


def put_often(queue: Any, count: int, message: Any) -> None:
    for _ in range(count):
        queue.put(message)


def put_arrays(queue: Any, count: int, size_bytes: int) -> None:
    import numpy as np

    put_often(queue, count, np.ones(size_bytes // 8))


def echo_objects(connection: Any) -> None:
    while (message := connection.recv()) is not None:
        connection.send(message)


def echo_bytes(connection: Any) -> None:
    while message := connection.recv_bytes():
        connection.send_bytes(message)


def swallow(connection: Any, count: int) -> None:
    for _ in range(count):
        connection.recv()
    connection.send(None)


def count_up(lock: Any, value: Any, count: int) -> None:
    for _ in range(count):
        with lock:
            value.value += 1


def hand_back(given: Any, returned: Any, count: int) -> None:
    for _ in range(count):
        given.acquire()
        returned.release()


def nothing() -> None:
    pass


def same(item: Any) -> Any:
    return item


def first_of(array: Any) -> float:
    return float(array[0])


def new_array(size_bytes: int) -> Any:
    import numpy as np

    return np.ones(size_bytes // 8)


def sum_of_roots(count: int) -> float:
    total = 0.0
    for i in range(1, count):
        total += math.sqrt(i)
    return total


# -- queues -----------------------------------------------------------------------------------------------------------


def drain_rate(
    context: Context, queue: Any, count: int, target: Callable[..., None], *args: Any, producers: int = 1
) -> float:
    """Messages a second, from the first one's arrival to the last one's."""
    with running(context, producers, target, queue, count, *args):
        queue.get()
        rest = count * producers - 1
        begun = perf_counter()
        for _ in range(rest):
            queue.get()
        took = perf_counter() - begun
    return rest / took


@workload("msg/s")
def queue_int_1p(context: Context, scale: float) -> float:
    return drain_rate(context, context.Queue(), int(100_000 * scale), put_often, 12345)


@workload("msg/s")
def queue_int_2p(context: Context, scale: float) -> float:
    return drain_rate(context, context.Queue(), int(50_000 * scale), put_often, 12345, producers=2)


@workload("msg/s")
def queue_1k_1p(context: Context, scale: float) -> float:
    return drain_rate(context, context.Queue(), int(60_000 * scale), put_often, b"k" * 1024)


@workload("msg/s")
def simplequeue_int_1p(context: Context, scale: float) -> float:
    return drain_rate(context, context.SimpleQueue(), int(100_000 * scale), put_often, 12345)


@workload("us/op")
def queue_samethread(context: Context, scale: float) -> float:
    queue, count = context.SimpleQueue(), int(50_000 * scale)
    begun = perf_counter()
    for i in range(count):
        queue.put(i)
        queue.get()
    return (perf_counter() - begun) / count * 1e6


def array_rate(context: Context, maxsize: int, count: int, size_bytes: int) -> float:
    return drain_rate(context, context.Queue(maxsize), count, put_arrays, size_bytes) * size_bytes / 1e9


@workload("GB/s")
def queue_1MB_array(context: Context, scale: float) -> float:
    return array_rate(context, 8, int(300 * scale), MiB)


@workload("GB/s")
def queue_64MB_array(context: Context, scale: float) -> float:
    return array_rate(context, 2, max(4, int(10 * scale)), 64 * MiB)


# -- pipes ------------------------------------------------------------------------------------------------------------


def round_trip_us(send: Callable[[Any], None], receive: Callable[[], Any], message: Any, count: int) -> float:
    for _ in range(200):
        send(message)
        receive()
    begun = perf_counter()
    for _ in range(count):
        send(message)
        receive()
    return (perf_counter() - begun) / count * 1e6


@workload("us/rtt")
def pipe_rtt_int(context: Context, scale: float) -> float:
    here, there = context.Pipe()
    with running(context, 1, echo_objects, there):
        took = round_trip_us(here.send, here.recv, 1, int(15_000 * scale))
        here.send(None)
    return took


@workload("us/rtt")
def pipe_rtt_bytes64(context: Context, scale: float) -> float:
    here, there = context.Pipe()
    with running(context, 1, echo_bytes, there):
        took = round_trip_us(here.send_bytes, here.recv_bytes, b"b" * 64, int(15_000 * scale))
        here.send_bytes(b"")
    return took


@workload("GB/s")
def pipe_1MB_bytes(context: Context, scale: float) -> float:
    (here, there), count, message = context.Pipe(), int(300 * scale), b"m" * MiB
    with running(context, 1, swallow, there, count):
        begun = perf_counter()
        for _ in range(count):
            here.send(message)
        here.recv()
        took = perf_counter() - begun
    return count * MiB / took / 1e9


# -- locks and values -------------------------------------------------------------------------------------------------


@workload("ns/pair")
def lock_uncontended(context: Context, scale: float) -> float:
    lock, count = context.Lock(), int(300_000 * scale)
    acquire, release = lock.acquire, lock.release
    begun = perf_counter()
    for _ in range(count):
        acquire()
        release()
    return (perf_counter() - begun) / count * 1e9


@workload("ns/with")
def rlock_with(context: Context, scale: float) -> float:
    lock, count = context.RLock(), int(200_000 * scale)
    begun = perf_counter()
    for _ in range(count):
        with lock:
            pass
    return (perf_counter() - begun) / count * 1e9


@workload("inc/s")
def lock_contended_2p(context: Context, scale: float) -> float:
    lock, value, count = context.Lock(), context.Value("i", 0, lock=False), int(50_000 * scale)
    begun = perf_counter()
    with running(context, 2, count_up, lock, value, count):
        pass
    took = perf_counter() - begun
    if value.value != 2 * count:
        raise AssertionError(f"the lock let {2 * count - value.value} increments be lost")
    return 2 * count / took


@workload("us/rtt")
def sem_handoff(context: Context, scale: float) -> float:
    given, returned, count = context.Semaphore(0), context.Semaphore(0), int(15_000 * scale)
    with running(context, 1, hand_back, given, returned, count + 100):
        for _ in range(100):
            given.release()
            returned.acquire()
        begun = perf_counter()
        for _ in range(count):
            given.release()
            returned.acquire()
        took = perf_counter() - begun
    return took / count * 1e6


@workload("ns")
def value_get(context: Context, scale: float) -> float:
    value, count = context.Value("i", 3), int(300_000 * scale)
    begun = perf_counter()
    for _ in range(count):
        value.value  # noqa: B018
    return (perf_counter() - begun) / count * 1e9


@workload("ns")
def value_inc_locked(context: Context, scale: float) -> float:
    value, count = context.Value("i", 0), int(100_000 * scale)
    begun = perf_counter()
    for _ in range(count):
        with value.get_lock():
            value.value += 1
    return (perf_counter() - begun) / count * 1e9


@workload("ns")
def array_getset(context: Context, scale: float) -> float:
    array, count = context.Array("i", 1000), int(200_000 * scale)
    begun = perf_counter()
    for i in range(count):
        array[i % 1000] = array[i % 1000] + 1
    return (perf_counter() - begun) / count * 1e9


# -- managers ---------------------------------------------------------------------------------------------------------


@workload("us")
def manager_dict_set(context: Context, scale: float) -> float:
    with context.Manager() as manager:
        proxy, count = manager.dict(), int(8_000 * scale)
        begun = perf_counter()
        for i in range(count):
            proxy[i & 255] = i
        return (perf_counter() - begun) / count * 1e6


@workload("us")
def manager_dict_get(context: Context, scale: float) -> float:
    with context.Manager() as manager:
        proxy, count = manager.dict({i: i for i in range(256)}), int(8_000 * scale)
        begun = perf_counter()
        for i in range(count):
            proxy[i & 255]
        return (perf_counter() - begun) / count * 1e6


@workload("ms")
def manager_start(context: Context, scale: float) -> float:
    begun = perf_counter()
    with context.Manager() as manager:
        manager.dict()
    return (perf_counter() - begun) * 1e3


# -- processes and pools ----------------------------------------------------------------------------------------------


@workload("ms")
def process_start_join(context: Context, scale: float) -> float:
    count = max(3, int(20 * scale))
    begun = perf_counter()
    for _ in range(count):
        with running(context, 1, nothing):
            pass
    return (perf_counter() - begun) / count * 1e3


@workload("ms")
def pool_first_result(context: Context, scale: float) -> float:
    begun = perf_counter()
    with context.Pool(2) as pool:
        pool.apply(same, (1,))
    return (perf_counter() - begun) * 1e3


def task_rate(context: Context, count: int, run: Callable[[Any, int], object]) -> float:
    with context.Pool(2) as pool:
        pool.map(same, range(100), chunksize=1)
        return count / seconds(lambda: run(pool, count))


@workload("task/s")
def pool_map_tiny(context: Context, scale: float) -> float:
    return task_rate(context, int(200_000 * scale), lambda pool, count: pool.map(same, range(count)))


@workload("task/s")
def pool_map_tiny_c1(context: Context, scale: float) -> float:
    return task_rate(context, int(30_000 * scale), lambda pool, count: pool.map(same, range(count), chunksize=1))


@workload("task/s")
def pool_imap_unordered_c1(context: Context, scale: float) -> float:
    return task_rate(
        context, int(20_000 * scale), lambda pool, count: sum(1 for _ in pool.imap_unordered(same, range(count)))
    )


@workload("us/rtt")
def pool_apply_rtt(context: Context, scale: float) -> float:
    count = int(5_000 * scale)
    with context.Pool(2) as pool:
        for i in range(100):
            pool.apply(same, (i,))
        begun = perf_counter()
        for i in range(count):
            pool.apply(same, (i,))
        return (perf_counter() - begun) / count * 1e6


@workload("GB/s")
def pool_map_1MB_in(context: Context, scale: float) -> float:
    """All arrays differ: nothing can be sent only once."""
    import numpy as np

    arrays = [np.full(MiB // 8, float(i)) for i in range(int(200 * scale))]
    return task_rate(context, len(arrays), lambda pool, _: pool.map(first_of, arrays, chunksize=1)) * MiB / 1e9


@workload("GB/s")
def pool_map_1MB_out(context: Context, scale: float) -> float:
    def run(pool: Any, count: int) -> object:
        return pool.map(new_array, [MiB] * count, chunksize=1)

    return task_rate(context, int(200 * scale), run) * MiB / 1e9


@workload("x of 2")
def pool_heavy_speedup(context: Context, scale: float) -> float:
    sizes = [SPEEDUP_STEPS] * SPEEDUP_TASKS
    alone = seconds(lambda: [sum_of_roots(size) for size in sizes])
    begun = perf_counter()
    with context.Pool(2) as pool:
        pool.map(sum_of_roots, sizes)
    return alone / (perf_counter() - begun)
