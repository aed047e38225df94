"""Taking a piece out of a clip, and putting it into silence or low noise of a stated length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from auricle.errors import OptionError, SoundError
from auricle.evaluation.degrade.levels import Samples

Place = Literal["centre", "start", "random", "loudest"]
Filling = Literal["none", "silence", "noise"]
Side = Literal["centre", "start"]


@dataclass(frozen=True)
class Padding:
    """What stands around a clip; the clip itself is left alone."""

    filling: Filling = "none"
    to_ms: float = 2000.0  # of the whole
    at: Side = "centre"  # where the clip stands: in the middle, or first
    noise_rms: float = 1e-4  # standard deviation of the noise: N(0, noise_rms), 80 dB below full scale

    def __post_init__(self) -> None:
        if self.filling not in get_args(Filling):
            raise OptionError(f"pad is {self.filling!r}; it must be {', '.join(get_args(Filling))}")
        if self.at not in get_args(Side):
            raise OptionError(f"pad_at is {self.at!r}; it must be {', '.join(get_args(Side))}")
        if not 0 < self.to_ms <= 3_600_000:
            raise OptionError(f"pad_to is {self.to_ms:g}; it must be a number of milliseconds above 0")
        if not 0 < self.noise_rms <= 0.1:
            raise OptionError(f"pad_noise is {self.noise_rms:g}; it must be above 0 and at most 0.1")

    def around(self, clip: Samples, rate: int, random: np.random.Generator) -> tuple[Samples, int]:
        """The padded clip, and the sample at which the clip starts.

        Raises:
            SoundError: the clip is longer than the whole is to be.
        """
        if self.filling == "none":
            return clip, 0
        count = samples_of(self.to_ms, rate)
        if len(clip) > count:
            raise SoundError(
                f"it has {1000 * len(clip) / rate:g} ms and pad_to is {self.to_ms:g}: raise pad_to, or cut it "
                "with durations"
            )
        onset = 0 if self.at == "start" else (count - len(clip)) // 2
        whole = np.zeros(count) if self.filling == "silence" else random.normal(0, self.noise_rms, count)
        whole[onset : onset + len(clip)] = clip
        return whole, onset


def samples_of(milliseconds: float, rate: int) -> int:
    return max(1, round(milliseconds * rate / 1000))


def cut(clip: Samples, count: int, place: Place, random: np.random.Generator) -> tuple[Samples, int]:
    """`count` samples of a clip that has as many, and where they start.

    `loudest` is the piece with the most energy, the first of several: a piece of 20 ms from the middle may lie between
    two words.
    """
    spare = len(clip) - count
    match place:
        case "start":
            first = 0
        case "centre":
            first = spare // 2
        case "random":
            first = int(random.integers(0, spare + 1))
        case "loudest":
            energy = np.concatenate(([0.0], np.cumsum(clip**2)))
            first = int(np.argmax(energy[count:] - energy[: spare + 1]))
    return clip[first : first + count].copy(), first


def ramped(clip: Samples, count: int) -> Samples:
    """With the first and the last `count` samples rising and falling as a raised cosine; at most half of it each."""
    count = min(count, len(clip) // 2)
    if count:
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
        clip[:count] *= ramp
        clip[-count:] *= ramp[::-1]
    return clip
