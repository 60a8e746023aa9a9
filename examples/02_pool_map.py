"""Count prime numbers with a pool: the same function over many inputs, on all processors.

Run it with: python examples/02_pool_map.py [--start-method fork|spawn|forkserver]
"""

import argparse

import phalanx as mp


def is_prime(number):
    """Try every divisor up to the square root: slow on purpose, so that there is work to share."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def main():
    # A pool is a fixed number of worker processes. `with` stops them at the end, whatever happens.
    with mp.Pool(processes=4) as pool:
        # As the builtin map(is_prime, range(10_000)), but the calls are spread over the workers.
        # The answers come back in the order of the inputs.
        answers = pool.map(is_prime, range(10_000))

    print(f"There are {sum(answers)} primes below 10,000")


if __name__ == "__main__":
    methods = mp.get_all_start_methods()  # the first of them is the default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", choices=methods, default=methods[0])
    mp.set_start_method(parser.parse_args().start_method)
    main()
