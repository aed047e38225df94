"""What can be said about a checkpoint from its files alone: no torch, no weights read. Behind `auricle inspect`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from auricle.checkpoint import Checkpoint

# model_type -> "module:attribute" of a function `(checkpoint) -> Summary`; the families of `models.family`
SUMMARIES = {
    "gemma4": "auricle.models.gemma4.summary:summarise",
    "qwen2_audio": "auricle.models.qwen2_audio.summary:summarise",
    "auricle_audiolm": "auricle.audiolm.summary:summarise",
    "encodec": "auricle.audiolm.summary:summarise_codec",
}
# Those that answer no questions -> what they are for
OTHER_USES = {
    "auricle_audiolm": "makes sound: auricle continue, infill, restyle",
    "encodec": "turns sound into codes and back: auricle tokenize",
}


@dataclass(frozen=True)
class AudioLimits:
    """What sound a model takes."""

    rate: int  # Hz, after resampling
    min_samples: int  # of a clip, at `rate`
    max_seconds: float  # of a clip; longer sound is cut at pauses
    tokens_per_second: float


@dataclass(frozen=True)
class Summary:
    """A checkpoint in short."""

    model_type: str
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)  # part of the model -> its main settings
    audio: AudioLimits | None = None  # None: it can't hear, or its type doesn't run here
    runs: bool = False  # whether Auricle can run it


def summarise(checkpoint: Checkpoint) -> Summary:
    """Sums up a checkpoint; of a model type that doesn't run here, only what every config has.

    Raises:
        CheckpointError: the settings are of a kind that isn't supported.
    """
    kind = checkpoint.config["model_type"]
    if kind not in SUMMARIES:
        plain = {name: value for name, value in checkpoint.config.items() if isinstance(value, str | int | float)}
        return Summary(kind, {"config": plain})
    module, _, attribute = SUMMARIES[kind].partition(":")
    summary: Summary = getattr(importlib.import_module(module), attribute)(checkpoint)
    return summary
