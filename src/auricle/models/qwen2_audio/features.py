"""Qwen2-Audio's mel features, which are Whisper's: from samples to log-mel frames.

What is unusual: a clip is always filled with silence to 30 s, but the encoder never attends to that. So only frames
that reach it are computed: those of the sound, and two of the silence, which the convolutions see. The spectrum is cut
off 8 (in log10: 80 dB) below the clip's own maximum: a frame depends on the whole clip, so it can't be streamed.

Computed in float64; the reference's own are float32 and 3e-5 from that. Constants and layout: transformers 5.23,
`models/whisper/feature_extraction_whisper.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError, SoundError

AFTER = 2  # frames of silence behind those of the sound


@dataclass(frozen=True)
class FeatureConfig:
    """The settings of a checkpoint's feature extractor."""

    feature_size: int = 128  # mel filters
    sampling_rate: int = 16_000  # Hz
    n_fft: int = 400  # samples of a window
    hop_length: int = 160
    chunk_length: int = 30  # seconds of one clip, at most

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> FeatureConfig:
        """Reads a `preprocessor_config.json` (or the `feature_extractor` part of `processor_config.json`)."""
        for name, neutral in {"dither": (0, None), "do_normalize": (False, None), "padding_value": (0, None)}.items():
            if settings.get(name) not in neutral:
                raise CheckpointError(
                    f"the feature extractor sets {name}={settings[name]}, which is not supported; remove it"
                )
        return cls(**{name: settings[name] for name in cls.__dataclass_fields__ if name in settings})

    @property
    def max_samples(self) -> int:
        return self.chunk_length * self.sampling_rate

    @property
    def min_samples(self) -> int:
        """The fewest samples that give a token: three frames."""
        return 2 * self.hop_length + 1

    @property
    def frame_s(self) -> float:
        return self.hop_length / self.sampling_rate

    def frames(self, samples: int) -> int:
        """How many mel frames hold `samples`, the last one perhaps in part."""
        return -(-samples // self.hop_length)

    def tokens(self, samples: int) -> int:
        """How many audio tokens `samples` give. The only place this is counted."""
        return tokens(self.frames(samples))


def positions(frames: int) -> int:
    """How many positions of the encoder so many frames are: the second convolution has a stride of 2."""
    return (frames - 1) // 2 + 1


def tokens(frames: int) -> int:
    """How many audio tokens so many frames are: pairs of positions are averaged, an odd one at the end is left out."""
    return (positions(frames) - 2) // 2 + 1


def feature_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The feature extractor's settings."""
    nested = checkpoint.json("processor_config.json").get("feature_extractor")
    return nested or checkpoint.json("preprocessor_config.json")


def check_length(samples: int, config: FeatureConfig) -> None:
    """
    Raises:
        SoundError: a clip of so many samples gives no token, or is longer than the model takes.
    """
    if samples < config.min_samples:
        raise SoundError(
            f"the sound has {samples} samples at {config.sampling_rate} Hz; "
            f"the model needs at least {config.min_samples} ({1000 * config.min_samples / config.sampling_rate:.1f} ms)"
        )
    if samples > config.max_samples:
        raise SoundError(
            f"the clip is {samples / config.sampling_rate:.2f} s long; "
            f"the model takes at most {config.chunk_length:g} s a clip: cut it into pieces"
        )


def log_mel(samples: NDArray[np.float32], config: FeatureConfig | None = None) -> NDArray[np.float32]:
    """Log-mel frames of one clip, and of the silence behind it.

    Args:
        samples: `(samples,)`, mono at `config.sampling_rate`, in [-1, 1].

    Returns:
        `(config.frames(len(samples)) + AFTER, mels)`. What of the silence lies past the longest clip is zero, as the
        reference's convolution has it.

    Raises:
        SoundError: the clip gives no token, or is longer than the model takes.
    """
    import torch  # here, since `inspect` reads settings with this module and needs no torch

    config = config or FeatureConfig()
    check_length(len(samples), config)
    frames, longest = config.frames(len(samples)) + AFTER, config.frames(config.max_samples)
    half, computed = config.n_fft // 2, min(frames, longest)
    # Windows are centred: the signal is mirrored at both ends, and silence stands between it and the second.
    sound = np.pad(samples.astype(np.float64), (0, config.max_samples - len(samples)))
    sound = np.pad(sound, half, mode="reflect")[: (computed - 1) * config.hop_length + config.n_fft]
    windows = np.lib.stride_tricks.sliding_window_view(sound, config.n_fft)[:: config.hop_length]
    spectrum = np.fft.rfft(windows * _hann(config.n_fft))
    power = torch.from_numpy(spectrum.real**2 + spectrum.imag**2)
    mel = (power @ torch.from_numpy(_mel_filters(config))).clamp(min=1e-10).log10().numpy()  # see `gemma4.features`
    mel = (np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0
    return np.pad(mel, ((0, frames - computed), (0, 0))).astype(np.float32)


@lru_cache(maxsize=4)
def _hann(length: int) -> NDArray[np.float64]:
    """The periodic Hann window."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))


@lru_cache(maxsize=4)
def _mel_filters(config: FeatureConfig) -> NDArray[np.float64]:
    """Triangular Slaney mel filters, each of the same area: `(n_fft // 2 + 1, mels)`.

    The scale is linear to 1000 Hz (200/3 Hz a mel) and logarithmic above (27 mels for a factor of 6.4): M. Slaney,
    "Auditory Toolbox", 1998.
    """
    step = np.log(6.4) / 27.0
    mels = np.linspace(0.0, 15.0 + np.log(8.0) / step, config.feature_size + 2)
    edges = np.where(mels < 15.0, 200.0 / 3.0 * mels, 1000.0 * np.exp(step * (mels - 15.0)))
    bins = np.linspace(0, config.sampling_rate // 2, config.n_fft // 2 + 1)
    slopes = edges[None, :] - bins[:, None]
    rising = -slopes[:, :-2] / np.diff(edges)[:-1]
    falling = slopes[:, 2:] / np.diff(edges)[1:]
    area = 2.0 / (edges[2:] - edges[:-2])
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)) * area)
