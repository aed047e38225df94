"""Gemma 4's mel features: from samples to log-mel frames.

What is unusual: 160 zeros stand before the signal ("semicausal"), windows are 321 samples long of which the last is
dropped, the spectrum is a magnitude (not a power), and the floor is added (`ln(mel + 1e-3)`), so small values matter:
the spectrogram is computed in float64, as the reference does, because a float32 FFT is off by up to 7e-3 on pure tones.

Constants and layout: transformers 5.23, `models/gemma4/feature_extraction_gemma4.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError, SoundError


@dataclass(frozen=True)
class FeatureConfig:
    """The settings of a checkpoint's feature extractor; the defaults are those of every released Gemma 4."""

    feature_size: int = 128  # mel filters
    sampling_rate: int = 16_000  # Hz
    frame_length_ms: float = 20.0
    hop_length_ms: float = 10.0
    min_frequency: float = 0.0  # Hz
    max_frequency: float = 8000.0  # Hz
    mel_floor: float = 1e-3  # added before the logarithm
    max_seconds: float = 30.0  # of one clip
    trailing_silence_s: float = 0.0  # put after every clip, for a model that names a word only once it has ended

    # Settings the reference knows but no released checkpoint uses: refused rather than ignored.
    UNSUPPORTED = {
        "preemphasis": (0.0, None),
        "dither": (0.0, None),
        "input_scale_factor": (1.0, None),
        "fft_overdrive": (False, None),
        "per_bin_mean": (None,),
        "per_bin_stddev": (None,),
    }

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> FeatureConfig:
        """Reads a `preprocessor_config.json` (or the `feature_extractor` part of `processor_config.json`)."""
        for name, neutral in cls.UNSUPPORTED.items():
            if settings.get(name) not in neutral:
                raise CheckpointError(
                    f"the feature extractor sets {name}={settings[name]}, which is not supported; remove it"
                )
        return cls(**{name: settings[name] for name in cls.__dataclass_fields__ if name in settings})

    @property
    def frame_length(self) -> int:
        return round(self.sampling_rate * self.frame_length_ms / 1000)

    @property
    def hop_length(self) -> int:
        return round(self.sampling_rate * self.hop_length_ms / 1000)

    @property
    def fft_length(self) -> int:
        return 1 << (self.frame_length - 1).bit_length()

    @property
    def max_samples(self) -> int:
        return int(self.max_seconds * self.sampling_rate)

    @property
    def trailing_samples(self) -> int:
        return round(self.trailing_silence_s * self.sampling_rate)

    @property
    def min_samples(self) -> int:
        """The fewest samples that give one frame, and so one token."""
        return self.frame_length // 2 + 1

    def frames(self, samples: int) -> int:
        """How many mel frames `samples` give: `(N + 160 - 321) // 160 + 1`, N counting the trailing silence."""
        if samples < self.min_samples:
            return 0
        padded = samples + self.trailing_samples + self.frame_length // 2
        return (padded - (self.frame_length + 1)) // self.hop_length + 1

    def tokens(self, samples: int) -> int:
        """How many audio tokens `samples` give: `ceil(frames / 4)`. The only place this is counted."""
        return -(-self.frames(samples) // 4)


def feature_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The feature extractor's settings. Converted checkpoints often lack them: every release has the defaults."""
    nested = checkpoint.json("processor_config.json").get("feature_extractor")
    return nested or checkpoint.json("preprocessor_config.json")


def check_length(samples: int, config: FeatureConfig) -> None:
    """
    Raises:
        SoundError: a clip of so many samples is shorter than one frame, or longer than the model takes.
    """
    if samples < config.min_samples:
        raise SoundError(
            f"the sound has {samples} samples at {config.sampling_rate} Hz; "
            f"the model needs at least {config.min_samples} ({1000 * config.min_samples / config.sampling_rate:.1f} ms)"
        )
    if samples > config.max_samples:
        raise SoundError(
            f"the clip is {samples / config.sampling_rate:.2f} s long; "
            f"the model takes at most {config.max_seconds:g} s a clip: cut it into pieces"
        )


def log_mel(samples: NDArray[np.float32], config: FeatureConfig | None = None) -> NDArray[np.float32]:
    """Log-mel frames of one clip.

    Args:
        samples: `(samples,)`, mono at `config.sampling_rate`, in [-1, 1].

    Returns:
        `(frames, mels)`, natural logarithm, `config.frames(len(samples))` frames, all of them valid.

    Raises:
        SoundError: the clip is shorter than one frame, or longer than the model takes.
    """
    config = config or FeatureConfig()
    check_length(len(samples), config)
    stream = MelStream(config)
    return stream.add(samples, last=True)


class MelStream:
    """Log-mel frames of one clip as its samples come in: each frame as soon as its last sample is there.

    It remembers less than one window, however long the clip.
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self._rest = np.zeros(config.frame_length // 2, dtype=np.float32)  # what the next window begins with

    def add(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """`(samples,)`, any number of them -> `(frames, mels)`, often none. `last` adds the silence after a clip."""
        import torch  # here, since `inspect` reads settings with this module and needs no torch

        config = self.config
        after = np.zeros(config.trailing_samples if last else 0, dtype=np.float32)
        sound = np.concatenate([self._rest, samples, after])
        # 321 samples are a window, 320 of them are used: a frame is valid when its 321st sample is real audio.
        count = max(0, (len(sound) - config.frame_length - 1) // config.hop_length + 1)
        self._rest = sound[count * config.hop_length :].copy()
        if not count:
            return np.empty((0, config.feature_size), dtype=np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(sound, config.frame_length + 1)[:: config.hop_length, :-1]
        # The reference windows in float32 and transforms in float64: both roundings show, so both are kept.
        windowed = (windows * _hann(config.frame_length)).astype(np.float64)
        spectrum = np.abs(np.fft.rfft(windowed, n=config.fft_length))
        # With torch's threads: numpy's (OpenBLAS) keep a core busy for tens of milliseconds, while the encoder runs.
        mel = torch.from_numpy(spectrum) @ torch.from_numpy(_mel_filters(config))
        return np.log(mel.numpy() + config.mel_floor).astype(np.float32)


@lru_cache(maxsize=4)
def _hann(length: int) -> NDArray[np.float32]:
    """The periodic Hann window, in float32 as the reference's is."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


@lru_cache(maxsize=4)
def _mel_filters(config: FeatureConfig) -> NDArray[np.float64]:
    """Triangular HTK mel filters without normalisation: `(fft_length // 2 + 1, mels)`."""

    def to_mel(hertz: float) -> float:
        return 2595.0 * float(np.log10(1.0 + hertz / 700.0))

    mels = np.linspace(to_mel(config.min_frequency), to_mel(config.max_frequency), config.feature_size + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = np.linspace(0, config.sampling_rate // 2, config.fft_length // 2 + 1)
    slopes = edges[None, :] - bins[:, None]
    rising = -slopes[:, :-2] / np.diff(edges)[:-1]
    falling = slopes[:, 2:] / np.diff(edges)[1:]
    return np.maximum(0.0, np.minimum(rising, falling))
