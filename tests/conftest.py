"""What every test stands on: no network, and `gpu` tests only where there is one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# Before anything imports huggingface_hub: a test that reaches for the network fails at once and says so.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Before anything imports torch. Its threads wait for each other by spinning: for models as small as the tests' a second
# one gains nothing, and on a machine that is busy otherwise it made the suite ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def e2b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random checkpoint; `tests/checkpoints.py` says what is in it. To be read only: `copied` is for changes."""
    from tests.checkpoints import make_checkpoint  # only now: most tests need no transformers

    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "e2b")


@pytest.fixture
def copied(e2b: Path, tmp_path: Path) -> Path:
    """A checkpoint of the test's own, to damage."""
    return Path(shutil.copytree(e2b, tmp_path / "copied"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch  # only now: collecting the other tests needs no torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
