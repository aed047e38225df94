"""Both sides of every comparison, loaded once."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from tests.checkpoints import make_checkpoint
from tests.parity.pair import Pair, load_pair

if importlib.util.find_spec("transformers") is None:  # the dev extra brings it
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("parity")
    return {family: load_pair(make_checkpoint(folder / family, family=family)) for family in ("e2b", "e4b")}


@pytest.fixture(params=["e2b", "e4b"])
def pair(request: pytest.FixtureRequest, pairs: dict[str, Pair]) -> Pair:
    return pairs[request.param]


@pytest.fixture(scope="session")
def extractor() -> Any:
    from transformers import Gemma4AudioFeatureExtractor

    return Gemma4AudioFeatureExtractor()
