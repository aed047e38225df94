"""An EnCodec and an AudioLM on disk, small and of random weights: what they make is noise, but made as it should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from auricle.audiolm.codecs.encodec_config import EncodecConfig
from auricle.audiolm.codecs.encodec_model import EncodecModel
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.weights import save

RATE, FRAME = 32_000, 640
CODEC: dict[str, Any] = {
    "sampling_rate": RATE,
    "target_bandwidths": [0.6],  # 2 codebooks of 64
    "hidden_size": 8,
    "num_filters": 2,
    "upsampling_ratios": [8, 5, 4, 4],
    "num_lstm_layers": 1,
    "codebook_size": 64,
    "use_causal_conv": False,
    "use_conv_shortcut": False,
}
MODEL: dict[str, Any] = {
    "d_model": 32,
    "nhead": 2,
    "num_layers": 1,
    "num_quantizers": 2,
    "codebook_size": 64,
    "max_frames": 60,
}


def make_codec(folder: Path) -> Path:
    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig.from_json(CODEC))
    for book in model.quantizer.books:
        book.embed.normal_()
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "encodec", **CODEC}))
    return folder


def make_audiolm(folder: Path, **fields: Any) -> Path:
    """With its codec in a folder beside its own."""
    if not (folder.parent / "codec").exists():
        make_codec(folder.parent / "codec")
    torch.manual_seed(0)
    save(AudioLM(**{**MODEL, "codec": str(folder.parent / "codec"), **fields}), folder)
    return folder
