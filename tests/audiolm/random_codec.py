"""An EnCodec of random weights: sound in it is noise, but shapes, rates and files are those of a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RATE, FRAME = 32_000, 640
VALUES: dict[str, Any] = {
    "sampling_rate": RATE,
    "target_bandwidths": [1.2],  # four codebooks
    "hidden_size": 8,
    "num_filters": 2,
    "upsampling_ratios": [8, 5, 4, 4],
    "num_lstm_layers": 1,
    "codebook_size": 64,
    "use_causal_conv": False,
    "use_conv_shortcut": False,
}


def make_codec(folder: Path, seed: int = 0) -> Path:
    """Writes the folder of a codec of 32 kHz, 50 frames a second and 4 codebooks of 64."""
    import torch
    from safetensors.torch import save_file

    from auricle.audiolm.codecs.encodec_config import EncodecConfig
    from auricle.audiolm.codecs.encodec_model import EncodecModel

    torch.manual_seed(seed)
    model = EncodecModel(EncodecConfig.from_json(VALUES))
    for book in model.quantizer.books:
        book.embed.normal_()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "encodec", **VALUES}))
    return folder
