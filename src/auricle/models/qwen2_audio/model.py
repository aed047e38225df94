"""Qwen2-Audio as one module: encoder, projector, decoder. Names and layout are the checkpoint's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from auricle.layers.linear import Linear, replace, replaceable
from auricle.layers.packing import DENSE, Packing
from auricle.models.qwen2_audio.config import Qwen2AudioConfig
from auricle.models.qwen2_audio.decoder import LanguageModel
from auricle.models.qwen2_audio.encoder import Encoder
from auricle.models.taken import Taken
from auricle.models.weights import WholeModel


class Projector(nn.Module):
    """From the encoder's width to the decoder's."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = Linear(width, out, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Qwen2Audio(WholeModel):
    """The parts, by the names of the released checkpoints."""

    def __init__(self, config: Qwen2AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.audio_tower = Encoder(config.audio)
        self.multi_modal_projector = Projector(config.audio.d_model, config.text.hidden_size)
        self.language_model = LanguageModel(config.text)

    def encode(self, mel: Tensor, frames: Sequence[int]) -> Tensor:
        """Clips to audio tokens `(batch, tokens, hidden)` in the decoder's width; arguments as for `Encoder`."""
        return self.multi_modal_projector(self.audio_tower(mel, frames))

    def hear_layers(self, mel: Tensor, frames: Sequence[int], stage: str, layers: Sequence[int]) -> Tensor:
        """What layers of a stage before the decoder give: `(layers, batch, vectors, width)`; see `models.family`."""
        if stage == "encoder":
            taken = Taken(layers)
            self.audio_tower.blocks(self.audio_tower.embed(mel, frames), frames, taken)
            return taken.all()
        x = self.audio_tower(mel, frames)
        return (x if stage == "tower" else self.multi_modal_projector(x))[None]


def outline(config: Qwen2AudioConfig, packing: Packing | None = None) -> Qwen2Audio:
    """The model on the meta device: modules, names and shapes, without numbers; packed as a checkpoint is.

    Raises:
        CheckpointError: a scheme is unknown, or doesn't fit the layer it is to pack.
    """
    with torch.device("meta"):
        model = Qwen2Audio(config)
        if packing is not None:
            schemes = {path: packing.scheme_of(path) for path in replaceable(model)}
            replace(model, {path: scheme for path, scheme in schemes.items() if scheme != DENSE})
    return model


def outline_of(settings: dict[str, Any], packing: Packing | None = None) -> Qwen2Audio:
    """`outline` of what a config.json holds."""
    return outline(Qwen2AudioConfig.from_dict(settings), packing)
