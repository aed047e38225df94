"""One clip under one condition: every step in its order, and what was measured on the way.

cut -> reverberation -> noise -> filter -> gain -> codec -> padding. That is the way that sound takes: somebody speaks
for a while (cut) in a room (reverberation), something else is heard there too (noise), the line passes a band (filter),
is amplified (gain) and coded (codec), and what arrives is put into the container that a model wants (padding). So the
SNR is that of the sound that reaches the microphone, and the container has no part in any level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from auricle.errors import OptionError, SoundError
from auricle.evaluation.degrade import levels, noise, pieces, reverb
from auricle.evaluation.degrade.clips import NoiseClips
from auricle.evaluation.degrade.codecs import coded, reached
from auricle.evaluation.degrade.conditions import Condition, Factors
from auricle.evaluation.degrade.levels import Samples
from auricle.jobs.parts import digest, generator

Over = Literal["refuse", "scale"]
Tail = Literal["cut", "keep"]


@dataclass(frozen=True)
class Settings:
    """What holds for all conditions."""

    cut: pieces.Place = "centre"  # where in the clip a piece of a stated duration is taken
    ramp_ms: float = 0.0  # at either end of a piece
    level_db: float | None = None  # of the active part before anything is done, in dB of full scale; None: as it is
    drr_db: float = 0.0  # of the synthetic room: direct to reverberant energy
    tail: Tail = "cut"  # what sounds on after the clip's end: left out, or kept, which makes the sound longer
    over: Over = "refuse"  # of a sound that goes beyond full scale: refuse it, or lower it and say by how much
    padding: pieces.Padding = field(default_factory=pieces.Padding)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("cut", pieces.Place), ("tail", Tail), ("over", Over)):
            if getattr(self, name) not in get_args(kind):
                raise OptionError(f"{name} is {getattr(self, name)!r}; it must be {', '.join(get_args(kind))}")
        if not 0 <= self.ramp_ms <= 1000:
            raise OptionError(f"ramp is {self.ramp_ms:g}; it must be from 0 to 1000 milliseconds")
        if self.level_db is not None and not -100 <= self.level_db <= 0:
            raise OptionError(f"level is {self.level_db:g}; it must be from -100 to 0 dB of full scale")
        if not -60 <= self.drr_db <= 60:
            raise OptionError(f"drr is {self.drr_db:g}; it must be from -60 to 60 dB")
        if not 0 <= self.seed < 1 << 63:
            raise OptionError(f"seed is {self.seed}; it must be a whole number from 0 up")


@dataclass(frozen=True)
class Degraded:
    """What came of it: float32 samples within [-1, 1], and columns of the manifest."""

    samples: NDArray[np.float32]
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class _Sound:
    """A clip on its way: what is wanted and what masks it apart, so that their ratio can be measured at any step."""

    clip: Samples
    mask: Samples | None
    active: NDArray[np.bool_]
    columns: Mapping[str, Any]

    def also(self, **columns: Any) -> Mapping[str, Any]:
        return {**self.columns, **columns}

    def snr_db(self) -> float | None:
        if self.mask is None:
            return None
        mask = levels.power(self.mask, self.active)
        ratio = levels.power(self.clip, self.active) / mask if mask else 0.0
        return levels.level_db(ratio) if ratio else None  # None where a filter has left nothing of one


class Chain:
    """Degrades one clip under any number of conditions; a step that several share is done once.

    Random choices depend on the seed, the clip's samples and the condition: on no name and no order. The piece that is
    cut and the room are the same in all conditions that have that duration and that RT60; noise is new in each.
    """

    def __init__(
        self,
        clip: Samples,
        sha256: str,
        split: str | None,
        factors: Factors,
        settings: Settings,
        noises: Mapping[str, NoiseClips] | None = None,
    ) -> None:
        self._clip, self._split = clip, split
        self._factors, self._settings, self._noises = factors, settings, noises or {}
        self._key = digest("degrade", settings.seed, sha256)
        self._cut = lru_cache(maxsize=2)(self._cut_now)
        self._reverberant = lru_cache(maxsize=2)(self._reverberant_now)
        self._masked = lru_cache(maxsize=2)(self._masked_now)
        self._filtered = lru_cache(maxsize=2)(self._filtered_now)

    def under(self, condition: Condition) -> Degraded:
        """
        Raises:
            SoundError: the clip is too short or silent, no noise is long enough, or the result would be clipped.
        """
        rate, settings = self._factors.rate, self._settings
        before_gain = replace(condition, gain_db=0.0, codec=None)
        sound = self._filtered(before_gain)
        whole = sound.clip if sound.mask is None else sound.clip + sound.mask
        whole, scale_db = self._fitted(whole * levels.factor(condition.gain_db), condition)
        columns: dict[str, Any] = {"gain_db": condition.gain_db, "codec": condition.codec or "none"}
        if condition.codec is not None:
            codec = self._factors.codec(condition.codec)
            assert codec is not None, "a condition has no codec that is none"
            if settings.over == "scale" and (peak := reached(whole, rate, codec)) > 1:
                # A little more than by the peak: the codec's rate has it as 32-bit numbers.
                lower_db = -levels.level_db(peak**2) - 0.001
                whole, scale_db = whole * levels.factor(lower_db), scale_db + lower_db
            done = coded(whole, rate, codec)
            whole, more_db = self._fitted(done.samples, condition)
            scale_db += more_db
            columns |= {"codec_kbps": done.kbps, "codec_delay_ms": done.delay_ms}
        random = generator(self._key, condition.name, "padding")
        padded, onset = settings.padding.around(whole, rate, random)
        columns |= {
            "condition": condition.name,
            "length_ms": 1000 * len(padded) / rate,
            "onset_ms": 1000 * onset / rate,
            "rate": rate,
            "scale_db": scale_db,
            "pad": settings.padding.filling,
            "seed": settings.seed,
        }
        return Degraded(padded.astype(np.float32), sound.also(**columns))

    # --- the steps; each takes a condition without what comes later

    def _cut_now(self, condition: Condition) -> _Sound:
        rate, settings = self._factors.rate, self._settings
        piece, first = self._clip.copy(), 0
        if condition.duration_ms is not None:
            count = pieces.samples_of(condition.duration_ms, rate)
            if count > len(piece):
                raise SoundError(
                    f"it has {1000 * len(piece) / rate:g} ms, fewer than the {condition.duration_ms:g} that are wanted"
                )
            random = generator(self._key, condition.name, "cut")
            piece, first = pieces.cut(piece, count, settings.cut, random)
        piece = pieces.ramped(piece, round(settings.ramp_ms * rate / 1000))
        active = levels.active_part(piece, rate)
        if not active.any():
            raise SoundError("it is silent: it has no active part, and so no level; leave it out")
        if settings.level_db is not None:
            piece *= levels.factor(settings.level_db - levels.level_db(levels.power(piece, active)))
        columns = {
            "duration_ms": 1000 * len(piece) / rate if condition.duration_ms is None else condition.duration_ms,
            "cut": "whole" if condition.duration_ms is None else settings.cut,
            "cut_start_ms": 1000 * first / rate,
            "active_ms": 1000 * int(active.sum()) / rate,
            "active_dbfs": levels.level_db(levels.power(piece, active)),
        }
        return _Sound(piece, None, active, columns)

    def _reverberant_now(self, condition: Condition) -> _Sound:
        sound = self._cut(Condition(duration_ms=condition.duration_ms))
        if not condition.rt60:
            return replace(sound, columns=sound.also(rt60=0.0))
        rate, settings = self._factors.rate, self._settings
        response, measured = _room(self._key, condition.rt60, settings.drr_db, rate)
        count = len(sound.clip) + (len(response) - 1 if settings.tail == "keep" else 0)
        heard = reverb.convolved(sound.clip, response, count)
        here = np.zeros(count, np.bool_)
        here[: len(sound.active)] = sound.active
        # As loud as it was where it was active: a room makes a sound longer, and shall not make it louder.
        heard *= math.sqrt(levels.power(sound.clip, sound.active) / levels.power(heard, here))
        columns = sound.also(rt60=condition.rt60, rt60_measured=measured, drr_db=settings.drr_db)
        return _Sound(heard, None, levels.active_part(heard, rate), columns)

    def _masked_now(self, condition: Condition) -> _Sound:
        sound = self._reverberant(Condition(condition.duration_ms, condition.rt60))
        if condition.noise is None or condition.snr_db is None:
            return sound
        rate, count = self._factors.rate, len(sound.clip)
        seed = digest(self._key, condition.name)
        columns: dict[str, Any] = {"noise": condition.noise, "snr_db_nominal": condition.snr_db}
        piece: Samples
        if condition.noise in self._noises:
            piece, name, start = self._noises[condition.noise].piece(count, rate, self._split, self._key, seed)
            columns |= {"noise_id": name, "noise_start_s": start}
            if levels.power(piece, sound.active) <= levels.SILENT:
                raise SoundError(
                    f"noise {name} is silent at {start:.3f} s, where it was to mask it: leave that clip out"
                )
        else:
            kind = next(kind for kind in noise.KINDS if kind == condition.noise)
            piece = noise.generated(kind, count, rate, generator(seed, "noise"))
        masked = replace(sound, mask=levels.at_snr(piece, sound.clip, sound.active, condition.snr_db))
        return replace(masked, columns=sound.also(**columns, snr_db_measured=masked.snr_db()))

    def _filtered_now(self, condition: Condition) -> _Sound:
        sound = self._masked(replace(condition, filter=None))
        passed = self._factors.filter(condition.filter or "none")
        if passed is not None:
            rate = self._factors.rate
            mask = None if sound.mask is None else passed.apply(sound.mask, rate)
            sound = replace(sound, clip=passed.apply(sound.clip, rate), mask=mask)
        columns = {"filter": condition.filter or "none"} | (
            {} if sound.mask is None else {"snr_db_out": sound.snr_db()}
        )
        return replace(sound, columns=sound.also(**columns))

    def _fitted(self, samples: Samples, condition: Condition) -> tuple[Samples, float]:
        """Within full scale, and by how many dB it was changed for that: never clipped."""
        peak = float(np.abs(samples).max(initial=0.0))
        if peak <= 1:
            return samples, 0.0
        if self._settings.over == "refuse":
            raise SoundError(
                f"it reaches {peak:.3g} where full scale is 1, {levels.level_db(peak**2):.1f} dB too much: set a "
                "lower level (--level -30), or let it be lowered (--over scale)"
            )
        return samples / peak, -levels.level_db(peak**2)


@lru_cache(maxsize=8)
def _room(key: str, rt60: float, drr_db: float, rate: int) -> tuple[Samples, float]:
    """A clip's impulse response, and its RT60 as measured."""
    response = reverb.impulse_response(rt60, drr_db, rate, generator(key, "room", rt60))
    return response, reverb.measured_rt60(response, rate)
