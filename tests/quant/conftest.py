"""Checkpoints in both schemes, and the kernels switched off."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auricle.checkpoint import Checkpoint
from auricle.hub import ModelName, find
from auricle.layers import native
from auricle.quant.quantize import quantize
from tests.checkpoints import make_checkpoint


@pytest.fixture(scope="session")
def e4b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoints") / "e4b", family="e4b", dtype="bfloat16")


@pytest.fixture(scope="session")
def packed(e2b: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """e2b in both schemes."""
    parent = tmp_path_factory.mktemp("packed")
    for scheme in ("int4", "int8"):
        quantize(Checkpoint(e2b), scheme, parent / scheme)
    return {scheme: parent / scheme for scheme in ("int4", "int8")}


@pytest.fixture
def int4(packed: dict[str, Path], tmp_path: Path) -> Path:
    """A packed folder of the test's own, to damage."""
    return Path(shutil.copytree(packed["int4"], tmp_path / "int4"))


@pytest.fixture
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "missing", lambda: "switched off for this test")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained model, dense and in both schemes: a random one magnifies every error."""
    parent, dense = tmp_path_factory.mktemp("tiny"), find(ModelName("tiny"))
    for scheme in ("int4", "int8"):
        quantize(Checkpoint(dense), scheme, parent / scheme)
    return {"dense": dense, "int4": parent / "int4", "int8": parent / "int8"}
