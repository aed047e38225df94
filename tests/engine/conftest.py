"""Families that tell what becomes of requests: see `TellingFamily`."""

from __future__ import annotations

from pathlib import Path

import pytest

from auricle.checkpoint import Checkpoint
from auricle.quant.quantize import quantize
from tests.checkpoints import make_checkpoint
from tests.engine.scripted import TellingFamily


@pytest.fixture
def family(tmp_path: Path) -> TellingFamily:
    return TellingFamily(tmp_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TellingFamily:
    """Another, to be asked by one at a time."""
    return TellingFamily(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def folders(e2b: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("checkpoints")
    quantize(Checkpoint(e2b), "int4", parent / "int4")
    return {"e2b": e2b, "e4b": make_checkpoint(parent / "e4b", family="e4b"), "int4": parent / "int4"}
