"""A dict that several processes fill: a manager keeps it, they talk to it.

Run it with: python examples/05_manager.py [--start-method fork|spawn|forkserver]
"""

import argparse

import phalanx as mp


def measure(lengths, word):
    lengths[word] = len(word)  # looks like a plain dict; in truth a message to the manager


def main():
    # The manager is a process that holds the real dict. What dict() returns is a proxy: a stand-in which can be given
    # to other processes. It is slower than a Value or an Array, and takes any Python object.
    with mp.Manager() as manager:
        lengths = manager.dict()
        words = ["one", "three", "eleven", "thirteen", "seventeen"]

        processes = [mp.Process(target=measure, args=(lengths, word)) for word in words]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

        # The processes ended in any order, so sort before printing.
        for word, length in sorted(lengths.items()):
            print(f"{word}: {length}")


if __name__ == "__main__":
    methods = mp.get_all_start_methods()  # the first of them is the default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", choices=methods, default=methods[0])
    mp.set_start_method(parser.parse_args().start_method)
    main()
