"""Small EnCodecs with random weights, as the reference saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MUSIC = {  # as facebook/encodec_32khz differs from the class's defaults, but small
    "sampling_rate": 32_000,
    "target_bandwidths": [2.2],
    "upsampling_ratios": [8, 5, 4, 4],
    "use_causal_conv": False,
    "use_conv_shortcut": False,
    "codebook_size": 2048,
    "num_filters": 4,
    "hidden_size": 16,
}
SPEECH = {"num_filters": 4, "hidden_size": 16, "num_residual_layers": 2}  # causal, with shortcuts, 24 kHz, 32 codebooks


def make_encodec(folder: Path, **settings: Any) -> Path:
    import torch
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig(**settings))
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_(std=0.05)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encodec(tmp_path_factory.mktemp("codecs") / "music", **MUSIC)


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encodec(tmp_path_factory.mktemp("codecs") / "speech", **SPEECH)
