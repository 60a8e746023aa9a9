"""joblib over processes of multiprocessing: many small calls, large arrays, errors, an array that workers write to."""

import os
import sys
import tempfile

import numpy as np
from joblib import Parallel, delayed, parallel_backend


def square(number):
    return number * number


def total(array):
    return float(array.sum()), type(array).__name__


def fail_at_three(number):
    if number == 3:
        raise KeyError("three")
    return number


def fill(array, index):
    array[index] = index + 1


def write_together(folder):
    array = np.memmap(os.path.join(folder, "array"), dtype=np.int64, shape=8, mode="w+")
    Parallel()(delayed(fill)(array, index) for index in range(8))
    return array.tolist()


def main():
    with tempfile.TemporaryDirectory() as folder, parallel_backend("multiprocessing", n_jobs=2):
        print(sum(Parallel()(delayed(square)(number) for number in range(2000))))
        print(Parallel()(delayed(total)(np.full(200_000, number)) for number in range(6)))
        print(write_together(folder))
        try:
            Parallel()(delayed(fail_at_three)(number) for number in range(10))
        except KeyError as error:
            print("KeyError", error)
    if "loky" in sys.argv[1:]:
        print(sum(Parallel(n_jobs=2)(delayed(square)(number) for number in range(2000))))


if __name__ == "__main__":
    main()
