"""Is it worth it? The same work in one process, and spread over all processors.

Run it with: python examples/09_speedup.py [--start-method fork|spawn|forkserver]
"""

import argparse
import time

import phalanx as mp

TASKS = [300_000] * 16


def sum_of_squares(count):
    """Only calculates, so what bounds it is the processor. Waiting for a disk or a network would be another story."""
    return sum(number * number for number in range(count))


def main():
    start = time.perf_counter()
    one_by_one = [sum_of_squares(count) for count in TASKS]
    sequential_s = time.perf_counter() - start

    # Starting the workers is part of the price, so it is part of the time.
    start = time.perf_counter()
    with mp.Pool() as pool:  # as many workers as there are processors to use
        in_parallel = pool.map(sum_of_squares, TASKS)
    parallel_s = time.perf_counter() - start

    print(f"Same results: {in_parallel == one_by_one}")
    print(f"Sequential: {sequential_s:.2f} s")
    print(f"Parallel:   {parallel_s:.2f} s")
    print(f"Speed-up:   {sequential_s / parallel_s:.1f}")


if __name__ == "__main__":
    methods = mp.get_all_start_methods()  # the first of them is the default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", choices=methods, default=methods[0])
    mp.set_start_method(parser.parse_args().start_method)
    main()
