"""Numbers that several processes share: a `Value` is one, an `Array` is a row of them.

Run it with: python examples/04_value_array.py [--start-method fork|spawn|forkserver]
"""

import argparse

import phalanx as mp

ROUNDS = 1_000


def count(counter, per_process, index):
    for _ in range(ROUNDS):
        # `value += 1` reads, adds and writes. Between the read and the write the other process could count too,
        # and one of the two would be lost; so each takes the lock that belongs to the counter.
        with counter.get_lock():
            counter.value += 1
        # Nobody else writes to this place of the array, so it needs no lock.
        per_process[index] += 1


def main():
    counter = mp.Value("i", 0)  # "i" is a C int, "d" would be a double
    per_process = mp.Array("i", 2)  # two ints, both 0

    processes = [mp.Process(target=count, args=(counter, per_process, index)) for index in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    print(f"The counter is at {counter.value}")
    print(f"Each process counted {list(per_process)}")


if __name__ == "__main__":
    methods = mp.get_all_start_methods()  # the first of them is the default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", choices=methods, default=methods[0])
    mp.set_start_method(parser.parse_args().start_method)
    main()
