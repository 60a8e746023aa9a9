"""How new processes come into being: choose the start method once, at the beginning of the program.

- fork: a copy of this process. Fast, and unsafe in a program with threads.
- spawn: a fresh interpreter, which imports this file anew. Slower, and clean.
- forkserver: a clean helper process is started once, and every process is a fork of it.

Run it with: python examples/08_start_method.py [--start-method fork|spawn|forkserver]
"""

import argparse

import phalanx as mp


def report():
    print(f"A child was started with {mp.get_start_method()}")


def main():
    print(f"The start method is {mp.get_start_method()}")

    child = mp.Process(target=report)
    child.start()
    child.join()

    # It is chosen for the whole program, so a second choice is an error, even of the same method.
    try:
        mp.set_start_method("spawn")
    except RuntimeError as error:
        print(f"The second time: {error}")

    # Where one part of a program needs another method, it takes a context: it has all that the module has.
    spawn = mp.get_context("spawn")
    print(f"A context of its own: {spawn.get_start_method()}")


if __name__ == "__main__":
    methods = mp.get_all_start_methods()  # the first of them is the default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", choices=methods, default=methods[0])
    mp.set_start_method(parser.parse_args().start_method)
    main()
