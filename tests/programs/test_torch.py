"""PyTorch's `DataLoader(num_workers=2)` gives the same batches, and notices a worker's death itself."""

from typing import Any

import pytest


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_data_loader(runner: Any, source: Any, method: str) -> None:
    ran = runner.compare(source("torch_work.py"), method)
    assert not ran.opened_stdlib
    assert "RuntimeError DataLoader worker (pid" in ran.output
    assert "KeyError Caught KeyError in DataLoader worker process 1." in ran.output
