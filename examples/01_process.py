"""Start processes, hand them arguments, wait until they are done.

Run it with: python examples/01_process.py [--start-method fork|spawn|forkserver]
"""

import argparse

import phalanx as mp


def greet(name, punctuation="."):
    """Runs in a process of its own: its variables are its own, too."""
    print(f"Hello, {name}{punctuation} I am {mp.current_process().name}")


def main():
    # Describe the process: what to call, with which arguments. Nothing runs yet.
    ada = mp.Process(target=greet, args=("Ada",), name="first")
    bob = mp.Process(target=greet, args=("Bob",), kwargs={"punctuation": "!"}, name="second")

    # start() returns at once; join() waits until that process has ended.
    ada.start()
    ada.join()
    bob.start()
    bob.join()

    # 0 says that all went well, a number above 0 that it failed, below 0 that a signal ended it.
    print(f"Exit codes: {ada.exitcode} and {bob.exitcode}")


if __name__ == "__main__":
    methods = mp.get_all_start_methods()  # the first of them is the default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", choices=methods, default=methods[0])
    mp.set_start_method(parser.parse_args().start_method)
    main()
