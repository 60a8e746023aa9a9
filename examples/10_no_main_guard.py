"""What happens without `if __name__ == "__main__":`, shown by a program that lacks it on purpose.

A spawned process imports this file to find `greet`. Importing runs every line that is not inside a function or under
the guard, so the child comes to the line that starts a child. phalanx stops it there: the child ends with an error that
names the cause, and there is no endless chain of processes. With fork nothing is imported, and so all goes well.

Run it with: python examples/10_no_main_guard.py [--start-method fork|spawn|forkserver]
"""

import argparse

import phalanx as mp


def greet():
    print("Hello from the child")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--start-method", choices=mp.get_all_start_methods(), default="spawn")
context = mp.get_context(parser.parse_args().start_method)

# From here on, everything belongs under the guard that every other example has.
child = context.Process(target=greet)
child.start()
child.join()
print(f"The child ended with exit code {child.exitcode}")
