"""Pools, with the types that typeshed gives their results."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.dummy import Pool as DummyPool
from multiprocessing.pool import ApplyResult, AsyncResult, MapResult, Pool, ThreadPool


def double(number: int) -> str:
    return str(2 * number)


def add(one: int, other: int) -> int:
    return one + other


def on_error(error: BaseException) -> None:
    print(error)


def all_at_once(workers: Pool) -> list[str]:
    words: list[str] = workers.map(double, range(3), chunksize=1)
    word: str = workers.apply(double, (1,), {})
    sums: list[int] = workers.starmap(add, [(1, 2), (3, 4)])
    print(word.upper(), sum(sums))
    return words


def later(workers: Pool) -> str:
    result: AsyncResult[str] = workers.apply_async(double, (1,), callback=print, error_callback=on_error)
    same: ApplyResult[str] = result
    many: MapResult[str] = workers.map_async(double, [1, 2])
    stars: AsyncResult[list[int]] = workers.starmap_async(add, [(1, 2)])
    result.wait(1.0)
    print(result.ready(), same.successful(), sum(stars.get()))
    return result.get(timeout=1.0) + many.get()[0].lower()


def one_by_one(workers: Pool) -> Iterator[str]:
    for word in workers.imap(double, iter([1, 2]), chunksize=2):
        yield word.upper()
    iterator = workers.imap_unordered(double, [1])
    yield iterator.next(timeout=1.0)
    yield next(iterator)


def main() -> None:
    with multiprocessing.Pool(processes=2, maxtasksperchild=1) as workers:
        print(all_at_once(workers), later(workers), list(one_by_one(workers)))
        workers.close()
        workers.join()
    with ThreadPool(2) as threads, DummyPool(2) as others:
        print(threads.map(double, [1])[0].upper(), others)
        threads.terminate()
