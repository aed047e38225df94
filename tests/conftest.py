"""What every test stands on: no network, and `gpu` tests only where there is one."""

from __future__ import annotations

import os

import pytest

# Before anything imports huggingface_hub: a test that reaches for the network fails at once and says so.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Before anything imports torch. Its threads wait for each other by spinning: for models as small as the tests' a second
# one gains nothing, and on a machine that is busy otherwise it made the suite ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch  # only now: collecting the other tests needs no torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
