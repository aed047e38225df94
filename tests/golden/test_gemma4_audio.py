"""Mel and audio tokens of one sound, as transformers 5.23.0 gave them. Needs no transformers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from auricle.models.gemma4.config import AudioConfig
from auricle.models.gemma4.encoder import Encoder
from auricle.models.gemma4.features import log_mel
from auricle.models.gemma4.model import AudioProjector
from tests.golden.gemma4_audio import AUDIO_CONFIG, FILE, WIDTH, sound, weights


@pytest.fixture(scope="module")
def golden() -> Iterator[np.lib.npyio.NpzFile]:
    with np.load(FILE) as file:
        yield file


@pytest.fixture(scope="module")
def parts() -> nn.ModuleDict:
    config = AudioConfig(**AUDIO_CONFIG)
    parts = nn.ModuleDict({"audio_tower": Encoder(config), "embed_audio": AudioProjector(config, WIDTH)})
    made = weights({name: tuple(tensor.shape) for name, tensor in parts.state_dict().items()})
    parts.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in made.items()})
    return parts.eval()


def test_the_file_says_what_made_it_and_stays_small(golden: np.lib.npyio.NpzFile) -> None:
    assert "transformers 5.23.0" in str(golden["made_with"])
    assert FILE.stat().st_size < 200_000


def test_mel(golden: np.lib.npyio.NpzFile) -> None:
    ours = log_mel(sound())
    assert ours.shape == golden["mel"].shape
    assert np.abs(ours - golden["mel"]).max() <= 1e-5


@torch.inference_mode()
def test_encoder(golden: np.lib.npyio.NpzFile, parts: nn.ModuleDict) -> None:
    """From the golden mel, so that this test fails for the encoder alone."""
    encoded = parts["audio_tower"](torch.from_numpy(golden["mel"])[None])
    assert np.abs(encoded[0].numpy() - golden["encoded"]).max() <= 1e-4
    projected = parts["embed_audio"](encoded)
    assert np.abs(projected[0].numpy() - golden["projected"]).max() <= 1e-4
