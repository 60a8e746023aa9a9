"""A DataLoader with two workers over numpy and tensor data; one whose worker dies, one whose data set raises."""

import os
import signal
import sys

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info


class Arrays(Dataset):
    def __init__(self):
        self.data = np.arange(60_000, dtype=np.float32).reshape(60, 1000)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index], index


class Tensors(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.full((300, 300), float(index)), {"index": index, "word": str(index)}


class Plain(Dataset):
    """Not turned into tensors: arrays travel as they are."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return np.full(200_000, index)


class Stream(IterableDataset):
    def __iter__(self):
        worker = get_worker_info()
        return iter(range(worker.id, 30, worker.num_workers))


class Deadly(Plain):
    def __getitem__(self, index):
        if index == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


class Faulty(Plain):
    def __getitem__(self, index):
        if index == 7:
            raise KeyError("seven")
        return index


def same(batch):
    return batch


def load(data, **options):
    return DataLoader(data, num_workers=2, multiprocessing_context=sys.argv[1], **options)


def show_error(data):
    try:
        print(list(load(data, collate_fn=same)))
    except Exception as error:
        print(type(error).__name__, str(error).split("(pid")[0].splitlines()[0] + "(pid" * ("(pid" in str(error)))


def main():
    torch.manual_seed(0)
    print([(float(batch.sum()), indices.tolist()) for batch, indices in load(Arrays(), batch_size=8)])
    print([(float(batch.sum()), rest) for batch, rest in load(Tensors(), batch_size=4, shuffle=True)])
    print([float(batch[0].sum()) for batch in load(Plain(), batch_size=1, collate_fn=same)])
    loader = load(Tensors(), batch_size=4, persistent_workers=True, prefetch_factor=3)
    print([sum(float(batch.sum()) for batch, _ in loader) for _ in range(3)])
    print([batch.tolist() for batch in load(Stream(), batch_size=5)])
    show_error(Deadly())
    show_error(Faulty())


if __name__ == "__main__":
    main()
