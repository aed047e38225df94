"""Gemma 4 as one module: encoder, projector, decoder. Names and layout are the checkpoint's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from auricle.errors import CheckpointError
from auricle.layers.linear import Linear, replace, replaceable
from auricle.layers.norms import RMSNorm
from auricle.layers.packing import DENSE, Packing
from auricle.models.gemma4.config import AudioConfig, Gemma4Config
from auricle.models.gemma4.decoder import Decoder
from auricle.models.gemma4.encoder import Encoder, EncoderState
from auricle.models.taken import Taken
from auricle.models.weights import WholeModel

HEAD, TABLE = "language_model.lm_head", "language_model.embed_tokens"  # one and the same, but in packed checkpoints


class AudioProjector(nn.Module):
    """From the encoder's width to the decoder's: RMSNorm without a weight, a linear."""

    def __init__(self, audio: AudioConfig, width: int) -> None:
        super().__init__()
        self.embedding_pre_projection_norm = RMSNorm(audio.output_proj_dims, audio.rms_norm_eps, scaled=False)
        self.embedding_projection = Linear(audio.output_proj_dims, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding_projection(self.embedding_pre_projection_norm(x))


class Gemma4(WholeModel):
    """The parts, and what a checkpoint calls them."""

    def __init__(self, config: Gemma4Config, *, own_head: bool = False) -> None:
        super().__init__()
        self.config = config
        self.language_model = Decoder(config.text, own_head=own_head)
        if config.audio is not None:
            self.audio_tower = Encoder(config.audio)
            self.embed_audio = AudioProjector(config.audio, config.text.hidden_size)

    def encode(self, mel: Tensor, frames: Tensor | None = None, state: EncoderState | None = None) -> Tensor:
        """`(batch, frames, mels)` -> audio tokens `(batch, tokens, hidden)` in the decoder's width; see `Encoder`."""
        return self.embed_audio(self.audio_tower(mel, frames, state))

    def hear_layers(self, mel: Tensor, frames: Tensor | None, stage: str, layers: Sequence[int]) -> Tensor:
        """What layers of a stage before the decoder give: `(layers, batch, tokens, width)`; see `models.family`."""
        if stage == "encoder":
            taken = Taken(layers)
            self.audio_tower.conform(self.audio_tower.subsample_conv_projection(mel, frames), taken=taken)
            return taken.all()
        x = self.audio_tower(mel, frames)
        return (x if stage == "tower" else self.embed_audio(x))[None]

    def checkpoint_name(self, name: str) -> str:
        return f"model.{name}"

    def origin(self, path: str) -> str:
        return TABLE if path == HEAD else path

    def unused(self, names: Iterable[str]) -> set[str]:
        """See `WholeModel.unused`.

        The vision tower; the head, which is tied to the embedding table; and keys and values of layers that read
        another's: released checkpoints carry them, the reference drops them too.
        """
        text = self.config.text
        shared = tuple(
            f"model.language_model.layers.{i}.self_attn.{part}."
            for i in range(text.first_shared_layer, text.num_hidden_layers)
            for part in ("k_proj", "v_proj", "k_norm", "v_norm")
        )
        known = ("model.vision_tower.", "model.embed_vision.", "lm_head.", *shared)
        return {name for name in names if name.startswith(known)}


def outline(config: Gemma4Config, packing: Packing | None = None) -> Gemma4:
    """The model on the meta device: modules, names and shapes, without numbers; packed as a checkpoint is.

    Raises:
        CheckpointError: a scheme is unknown, doesn't fit the layer it is to pack, or leaves no head.
    """
    with torch.device("meta"):
        if packing is None:
            return Gemma4(config)
        own_head = packing.scheme_of(HEAD) != DENSE
        if packing.scheme_of(TABLE) != DENSE and not own_head:
            raise CheckpointError(f"config.json packs {TABLE} and names no {HEAD}: quantise the model again")
        model = Gemma4(config, own_head=own_head)
        schemes = {path: packing.scheme_of(path) for path in replaceable(model)}
        replace(model, {path: scheme for path, scheme in schemes.items() if scheme != DENSE})
    return model


def outline_of(settings: dict[str, Any], packing: Packing | None = None) -> Gemma4:
    """`outline` of what a config.json holds."""
    return outline(Gemma4Config.from_dict(settings), packing)
