"""Both sides of every comparison, loaded once."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("transformers", minversion="5.23", reason="parity is measured against transformers 5.23")

from tests.checkpoints import make_checkpoint
from tests.parity.pair import Pair, load_pair


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
