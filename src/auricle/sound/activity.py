"""Where something is heard and where nothing is: by energy alone, without a model.

Levels are measured over 10 ms, smoothed over 50 ms, and compared with a threshold between the sound's own noise floor
and its own loudest moment. So a soft recording and a loud one, a studio and a street, get the same pauses. What has no
contrast has none: a steady tone or noise is one activity without a pause, digital silence is one pause.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auricle.types import Audio

HOP_S = 0.010  # between two levels
SMOOTHING_HOPS = 5  # 10 ms of noise, or of a low voice, have a level too much by chance
BLOCK_HOPS = 3000  # measured at once, so that an hour in float64 doesn't have to fit
SILENT_DB = -100.0  # the level of digital silence; below the noise of 16 bits
INAUDIBLE_DB = -70.0  # a sound whose loudest moment is below is a pause as a whole
FLOOR_PERCENTILE = 1  # the noise floor is the level that so many of the frames stay below; a dropout is fewer
MIN_CONTRAST_DB = 10.0  # between floor and loudest moment; steady noise has less
THRESHOLD_SHARE = 0.3  # of the way up from the floor to the loudest moment
MAX_DEPTH_DB = 40.0  # below the loudest moment is a pause in any case


def levels(audio: Audio) -> NDArray[np.float64]:
    """The level of every 10 ms in dB relative to full scale: `(frames,)`, none below -100.

    The frames don't overlap, and the last one is as short as what is left. A constant offset counts as silence.
    """
    hop = hop_samples(audio.rate)
    whole = len(audio.samples) // hop
    power = np.empty(-(-len(audio.samples) // hop))
    for first in range(0, whole, BLOCK_HOPS):
        last = min(first + BLOCK_HOPS, whole)
        frames = audio.samples[first * hop : last * hop].reshape(-1, hop)
        power[first:last] = frames.var(axis=1, dtype=np.float64)
    if whole < len(power):
        power[whole] = audio.samples[whole * hop :].var(dtype=np.float64)
    return _decibels(power)


def hop_samples(rate: int) -> int:
    """The samples from one level to the next."""
    return max(1, round(HOP_S * rate))


def pauses(audio: Audio, min_seconds: float = 0.2) -> list[tuple[float, float]]:
    """The pauses of at least `min_seconds`, as `(start_s, end_s)` in order; those at the edges of the sound too."""
    level = _smoothed(levels(audio))
    edges = np.flatnonzero(np.diff(np.concatenate(([0], level < _threshold(level), [0]))))
    hop_s = hop_samples(audio.rate) / audio.rate
    found = [(start * hop_s, min(end * hop_s, audio.seconds)) for start, end in edges.reshape(-1, 2).tolist()]
    return [(start, end) for start, end in found if end - start >= min_seconds]


def _threshold(level: NDArray[np.float64]) -> float:
    """The level in dB below which a frame is part of a pause."""
    loudest = float(level.max(initial=SILENT_DB))
    if loudest < INAUDIBLE_DB:
        return 0.0  # full scale: all of it
    floor = float(np.percentile(level, FLOOR_PERCENTILE))
    if loudest - floor < MIN_CONTRAST_DB:
        return SILENT_DB
    return max(floor + THRESHOLD_SHARE * (loudest - floor), loudest - MAX_DEPTH_DB)


def _smoothed(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """The level of the mean power over `SMOOTHING_HOPS` frames, as many frames as before."""
    half = SMOOTHING_HOPS // 2
    power = 10 ** (level / 10)
    padded = np.pad(power, half, mode="edge") if len(power) else power
    summed = np.cumsum(np.concatenate(([0.0], padded)))
    return _decibels((summed[SMOOTHING_HOPS:] - summed[:-SMOOTHING_HOPS]) / SMOOTHING_HOPS)


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10)))
    return level
