"""Two processes add to one number; a lock lets only one of them do so at a time.

Run it with: python examples/06_lock.py [--start-method fork|spawn|forkserver]
"""

import argparse

import phalanx as mp

ROUNDS = 10_000


def add(total, lock):
    for _ in range(ROUNDS):
        with lock:  # waits here while the other process is inside
            total.value += 1


def main():
    # RawValue is a number without a lock of its own: here one lock is made by hand, and given to both.
    # Without it, some additions would get lost; how many would differ from run to run.
    total = mp.RawValue("i", 0)
    lock = mp.Lock()

    processes = [mp.Process(target=add, args=(total, lock)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    print(f"2 times {ROUNDS:,} makes {total.value:,}")


if __name__ == "__main__":
    methods = mp.get_all_start_methods()  # the first of them is the default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", choices=methods, default=methods[0])
    mp.set_start_method(parser.parse_args().start_method)
    main()
