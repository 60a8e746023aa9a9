"""A producer and a consumer, joined by a queue; `None` says that nothing more will come.

Run it with: python examples/03_queue.py [--start-method fork|spawn|forkserver]
"""

import argparse

import phalanx as mp


def produce(queue, count):
    for number in range(count):
        queue.put(number)  # any object that can be pickled
    queue.put(None)  # the sentinel: a value that is no number, and so means "the end"


def consume(queue):
    # get() waits until there is something; iter(get, None) calls it until it returns None.
    for number in iter(queue.get, None):
        print(f"{number} squared is {number * number}")
    print("The producer is done")


def main():
    queue = mp.Queue()
    producer = mp.Process(target=produce, args=(queue, 5))
    consumer = mp.Process(target=consume, args=(queue,))

    # Both run at the same time: the consumer works on the first numbers while the next are made.
    producer.start()
    consumer.start()
    producer.join()
    consumer.join()


if __name__ == "__main__":
    methods = mp.get_all_start_methods()  # the first of them is the default
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start-method", choices=methods, default=methods[0])
    mp.set_start_method(parser.parse_args().start_method)
    main()
