"""A room for two: a semaphore lets in two processes at a time, the others wait at the door.

Run it with: python examples/07_semaphore.py [--start-method fork|spawn|forkserver]
"""

import argparse
import time

import phalanx as mp

SEATS = 2
GUESTS = 6


def visit(door, inside, most):
    with door:  # takes one of the seats, or waits for one; gives it back at the end
        with inside.get_lock():
            inside.value += 1
            most.value = max(most.value, inside.value)
        time.sleep(0.05)  # stay for a while
        with inside.get_lock():
            inside.value -= 1


def main():
    door = mp.Semaphore(SEATS)
    inside = mp.Value("i", 0)  # how many are in the room now
    most = mp.Value("i", 0)  # how many there were at most

    processes = [mp.Process(target=visit, args=(door, inside, most)) for _ in range(GUESTS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    print(f"All {GUESTS} were in the room, {inside.value} are left")
    print(f"Never more than {SEATS} at a time: {most.value <= SEATS}")


if __name__ == "__main__":
    methods = mp.get_all_start_methods()  # the first of them is the default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", choices=methods, default=methods[0])
    mp.set_start_method(parser.parse_args().start_method)
    main()
