"""What every model family offers to the engine, and the registry of families."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from auricle.models.summary import OTHER_USES
from auricle.models.text import TextCodec
from auricle.types import Message, Order, StageShape

# model_type -> "module:attribute" of a class built from a Checkpoint
FAMILIES = {
    "gemma4": "auricle.models.gemma4.family:Gemma4Family",
    "qwen2_audio": "auricle.models.qwen2_audio.family:Qwen2AudioFamily",
}


@dataclass(frozen=True)
class Prompt:
    """A rendered conversation."""

    ids: list[int]  # audio placeholders included
    layout: list[str]  # for people: a line for each stretch of text or audio


class PromptCache(Protocol):
    """Keys and values of what one request has read."""

    length: int  # positions read so far
    shortest: int  # the least length that it can be forked or truncated to
    nbytes: int

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on."""

    def fork(self, length: int) -> PromptCache:
        """One that goes on by itself from this length."""


@dataclass(frozen=True)
class Part:
    """What one request reads in a pass."""

    cache: Any  # its own `PromptCache`, which takes it up
    ids: Sequence[int]  # with placeholders where audio tokens go
    audio: Tensor | None = None  # these, `(audio tokens, hidden)`, in order
    wanted: int = 1  # of how many of the last positions the logits are wanted; fewer is less work


class Ear(Protocol):
    """Hears one clip while it comes in."""

    samples: int  # heard so far
    tokens: int  # given so far
    mel_s: float  # spent on features so far

    def hear(self, samples: NDArray[np.float32], *, last: bool = False) -> Tensor:
        """The next `(samples,)`, any number of them -> `(tokens, hidden)` that have become final, often none.

        `last` ends the clip: all its tokens are final then.
        """


class Family(Protocol):
    """A loaded checkpoint of one family: sound to audio tokens, messages to a prompt, tokens to logits."""

    model: nn.Module
    codec: TextCodec
    hears: bool  # whether it has an audio tower
    device: torch.device
    dtype: torch.dtype
    rate: int  # Hz
    max_clip_seconds: float
    order: Order  # what stood first in the prompts that it was trained on
    context: int  # tokens, prompt and answer together
    stop_ids: frozenset[int]
    placeholder: int  # the id that stands in a prompt for each audio token
    vocabulary: int  # how many logits there are
    notes: tuple[str, ...]  # what the user should know of how it was loaded
    hidden_span: tuple[int, int] | None  # ids that open and close what is not part of the answer (thinking)

    @property
    def stages(self) -> Mapping[str, StageShape]:
        """Where vectors can be taken from: "encoder", "tower", "projector", "llm"; see `types.Stage`."""

    def load(self, device: torch.device, dtype: torch.dtype, *, encoder_only: bool = False) -> None:
        """Fills the weights; with `encoder_only` those of the language model are left out, and never mapped.

        Then only what ends in audio tokens can be called: `encode`, `ear`, `hear_layers`.
        """

    def parameters(self) -> int:
        """How many numbers the weights used are."""

    def audio_tokens(self, samples: int) -> int:
        """How many tokens a clip of this many samples becomes."""

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """One clip, `(samples,)` at `rate` -> `(frames, mels)`; too short or too long is a SoundError."""

    def encode(self, features: NDArray[np.float32]) -> Tensor:
        """`(frames, mels)` -> `(tokens, hidden)`, on `device` and in `dtype`."""

    def hear_layers(self, features: Sequence[NDArray[np.float32]], stage: str, layers: Sequence[int]) -> list[Tensor]:
        """Hears clips, all in one padded batch -> for each `(layers, vectors, width)`, on `device` and in `dtype`.

        Args:
            features: of each clip, `(frames, mels)`.
            stage: "encoder", "tower" or "projector".
            layers: of the encoder, from 0 (what its first block is given) to `blocks`; `(0,)` of the others. No more is
                computed than these need, and nothing kept of other layers.
        """

    def check_clip(self, samples: int) -> None:
        """A clip of so many samples that is too short or too long is a SoundError."""

    def ear(self) -> Ear | None:
        """Begins to hear a clip piece by piece; None where the encoder needs the whole of it at once."""

    def prompt(self, messages: list[Message], tokens: list[int]) -> Prompt:
        """Renders messages; `tokens` is how many audio tokens each clip has, in order."""

    def new_cache(self, *, observed: bool = False) -> PromptCache:
        """Keys and values of a new request; `observed` has every module run by itself, so that hooks see it."""

    def read(self, parts: Sequence[Part]) -> list[Tensor]:
        """Takes up what requests read, all in one pass -> for each `(wanted, vocabulary)` logits, float32.

        What a request gets does not depend on who else is in the pass, but for the rounding of products in float32 that
        take one row or several.
        """

    def read_layers(self, parts: Sequence[Part], layers: Sequence[int]) -> list[Tensor]:
        """As `read`, but -> for each `(layers, wanted, hidden)`: what layers of the decoder give for these positions.

        Layer 0 is the embeddings, audio tokens among them; layer n what block n gives, the last after the final norm.
        No more is computed than these need: no logits. Caches are of `new_cache(observed=True)`, each empty, and of no
        use afterwards.
        """


def read_one(family: Family, ids: Sequence[int], audio: Tensor | None, cache: Any, *, wanted: int = 1) -> Tensor:
    """`Family.read` of one request alone: `(wanted, vocabulary)` logits."""
    return family.read([Part(cache, ids, audio, wanted)])[0]


def open_family(checkpoint: Checkpoint) -> Family:
    """The family of a checkpoint, weights not loaded yet.

    Raises:
        CheckpointError: the model type is unknown (the message names those that are known), or its files don't fit.
    """
    kind = checkpoint.config["model_type"]
    if kind in OTHER_USES:
        raise CheckpointError(
            f"{checkpoint.folder.name} answers no questions; it {OTHER_USES[kind]}. A model that does is tiny"
        )
    if kind not in FAMILIES:
        raise CheckpointError(
            f"{checkpoint.folder} is a {kind!r} model; model types that run here are {', '.join(sorted(FAMILIES))}"
        )
    module, _, attribute = FAMILIES[kind].partition(":")
    family: Family = getattr(importlib.import_module(module), attribute)(checkpoint)
    return family
