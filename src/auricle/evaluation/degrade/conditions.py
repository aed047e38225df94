"""What is done to a clip: the levels of each factor, and the conditions that all of them together make."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from auricle.errors import OptionError
from auricle.evaluation.degrade.codecs import Codec
from auricle.evaluation.degrade.filters import Filter
from auricle.evaluation.degrade.noise import KINDS
from auricle.evaluation.numbers import spelt

LONGEST_MS = 3_600_000.0
LOUDEST_DB = 120.0  # of an SNR or a gain, either way: beyond is a slip of the pen
LONGEST_RT60 = 20.0


@dataclass(frozen=True)
class Condition:
    """One level of each factor; None or 0 leaves the sound as it is."""

    duration_ms: float | None = None
    rt60: float = 0.0
    noise: str | None = None
    snr_db: float | None = None
    filter: str | None = None
    gain_db: float = 0.0
    codec: str | None = None

    @property
    def name(self) -> str:
        """Short, unique among conditions, and fit for a folder: `100ms_rt0.3_white-5dB_lowpass3400`."""
        parts = [
            f"{spelt(self.duration_ms)}ms" if self.duration_ms is not None else "",
            f"rt{spelt(self.rt60)}" if self.rt60 else "",
            f"{self.noise}{spelt(self.snr_db, sign=True)}dB" if self.snr_db is not None else "",
            (self.filter or "").replace(":", ""),
            f"gain{spelt(self.gain_db, sign=True)}dB" if self.gain_db else "",
            (self.codec or "").replace(":", "-"),
        ]
        return "_".join(part for part in parts if part) or "clean"


@dataclass(frozen=True)
class Factors:
    """The levels of each factor; every combination is a condition.

    An SNR of None is no noise, and gives one condition whatever the kinds of noise.
    """

    durations: tuple[float, ...] = ()  # milliseconds; empty: clips stay whole
    rt60: tuple[float, ...] = (0.0,)  # seconds; 0 is no reverberation
    snr: tuple[float | None, ...] = (None,)  # dB
    noise: tuple[str, ...] = ("white",)  # a generated kind, or the folder or file of noise clips
    filters: tuple[str, ...] = ("none",)
    gains: tuple[float, ...] = (0.0,)  # dB
    codecs: tuple[str, ...] = ("none",)
    rate: int = 16_000  # of what is written

    def __post_init__(self) -> None:
        if not 4000 <= self.rate <= 192_000:
            raise OptionError(f"rate is {self.rate}; it must be from 4000 to 192000 samples a second")
        shortest = 1000 / self.rate
        _all_within("durations", self.durations, shortest, LONGEST_MS, "milliseconds")
        _all_within("rt60", [value for value in self.rt60 if value], 0.02, LONGEST_RT60, "seconds, or 0")
        _all_within("snr", [value for value in self.snr if value is not None], -LOUDEST_DB, LOUDEST_DB, "dB, or clean")
        _all_within("gain", self.gains, -LOUDEST_DB, LOUDEST_DB, "dB")
        for name in ("rt60", "snr", "noise", "filters", "gains", "codecs"):
            if not getattr(self, name):
                raise OptionError(f"{name} is empty; give at least one level")
        for name in ("durations", "rt60", "snr", "noise", "filters", "gains", "codecs"):
            levels = getattr(self, name)
            if twice := [level for level in levels if levels.count(level) > 1]:
                shown = "clean" if twice[0] is None else twice[0]
                raise OptionError(f"{name} has {shown} twice: give each level once")
        for text in self.filters:
            self.filter(text)
        for text in self.codecs:
            self.codec(text)
        names = [noise_name(word) for word in self.noise]
        if alike := [name for name in names if names.count(name) > 1]:
            raise OptionError(f"two kinds of noise are called {alike[0]!r}: rename one folder")

    def filter(self, text: str) -> Filter | None:
        return None if text == "none" else Filter.parse(text, self.rate)

    def codec(self, text: str) -> Codec | None:
        return None if text == "none" else Codec.parse(text, self.rate)

    def conditions(self) -> list[Condition]:
        """All combinations, those that share their first stages next to each other."""
        masks = [
            mask
            for snr in self.snr
            for mask in ([(None, None)] if snr is None else [(noise_name(word), snr) for word in self.noise])
        ]
        return [
            Condition(duration, rt60, noise, snr, _or_none(passed), gain, _or_none(codec))
            for duration, rt60, (noise, snr), passed, gain, codec in itertools.product(
                self.durations or (None,), self.rt60, masks, self.filters, self.gains, self.codecs
            )
        ]


def noise_name(word: str) -> str:
    """What a kind of noise is called in names: its folder's or file's name, fit for a path."""
    if word in KINDS:
        return word
    name = re.sub(r"[^\w]+", "-", Path(word).stem).strip("-") or "noise"
    return f"{name}-clips" if name in KINDS else name


def _all_within(name: str, levels: Sequence[float], least: float, most: float, unit: str) -> None:
    if bad := [level for level in levels if not least <= level <= most]:
        raise OptionError(f"{name} has {bad[0]:g}; it must be from {least:g} to {most:g} {unit}")


def _or_none(text: str) -> str | None:
    return None if text == "none" else text
