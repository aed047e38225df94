"""Writes gemma4_audio.npz: what transformers hears in one synthetic sound, with a small encoder of seeded weights.

    python -m tests.golden.gemma4_audio

The parity tests compare with the transformers that is installed; this file keeps what version 5.23.0 gave, for where it
is not installed and for the day its numbers change. Sound and weights come from the functions below, so that the file
holds results only: `mel` (frames, mels), `encoded` (tokens, output_proj_dims), `projected` (tokens, WIDTH), and
`made_with`, the versions it was made with.
"""

from __future__ import annotations

import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_suffix(".npz")
RATE = 16_000
WIDTH = 40  # of the decoder that the audio tokens are for
AUDIO_CONFIG: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "subsampling_conv_channels": (128, 8),
    "output_proj_dims": 24,
}


def sound() -> NDArray[np.float32]:
    """1.4 s: a rising tone, a pause with a click in it, noise. On a 16-bit grid, so every machine has the same."""
    t = np.arange(int(0.6 * RATE)) / RATE
    chirp = 0.4 * np.sin(2 * np.pi * (200 * t + 2500 * t**2))
    pause = np.zeros(int(0.3 * RATE) + 77)
    pause[1000] = 0.9
    noise = 0.1 * np.random.RandomState(7).standard_normal(RATE // 2)
    whole = np.concatenate([chirp, pause, noise])
    return (np.round(whole * 32768) / 32768).astype(np.float32)


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Random tensors by name, nothing at its neutral value.

    RandomState, because numpy promises its numbers for ever (NEP 19), and not those of newer generators.
    """
    random = np.random.RandomState(2026)
    return {name: _random(name, shapes[name], random).astype(np.float32) for name in sorted(shapes)}


def _random(name: str, shape: tuple[int, ...], random: np.random.RandomState) -> NDArray[np.float64]:
    if name.endswith(("_min", "_max")):
        return np.asarray(random.uniform(1.5, 2.5, shape) * (-1 if name.endswith("_min") else 1))
    if name.endswith("per_dim_scale"):
        return 0.5 * random.standard_normal(shape)
    if "norm" in name:
        return 1 + 0.25 * random.standard_normal(shape)
    if name.endswith("bias"):
        return 0.3 * random.standard_normal(shape)
    return random.standard_normal(shape) * 1.2 / math.sqrt(math.prod(shape[1:]))


def main() -> None:
    import torch
    import transformers
    from transformers import Gemma4AudioFeatureExtractor, Gemma4Config, Gemma4ForConditionalGeneration

    text = {"hidden_size": WIDTH, "layer_types": ["full_attention"], "num_hidden_layers": 1}
    text |= {"vocab_size": 16, "vocab_size_per_layer_input": 16}
    config = Gemma4Config(text_config=text, audio_config=AUDIO_CONFIG, vision_config=None)
    model = Gemma4ForConditionalGeneration(config).model.eval()
    parts = torch.nn.ModuleDict({"audio_tower": model.audio_tower, "embed_audio": model.embed_audio})
    made = weights({name: tuple(tensor.shape) for name, tensor in parts.state_dict().items()})
    parts.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in made.items()})
    heard = Gemma4AudioFeatureExtractor()([sound()], return_tensors="pt")
    with torch.inference_mode():
        out = model.get_audio_features(heard["input_features"], heard["input_features_mask"])
    versions = (transformers.__version__, torch.__version__, np.__version__, platform.machine())
    np.savez_compressed(
        FILE,
        mel=heard["input_features"][heard["input_features_mask"]].numpy(),
        encoded=out.last_hidden_state[out.attention_mask].numpy(),
        projected=out.pooler_output[out.attention_mask].numpy(),
        made_with="transformers {}, torch {}, numpy {}, {}".format(*versions),
    )
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
