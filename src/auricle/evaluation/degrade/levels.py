"""How loud a sound is where there is something: the active part, its level, and a noise at a stated distance from it.

A level over everything that a file holds says how long its pauses are: a clip of 20 ms in a container of 2 s has 20 dB
less than alone, and a noise set by that number is 20 dB too soft. So levels are taken over the active part.

A frame of 10 ms is active when it is at most 15.9 dB softer than all active frames together. That is the margin of
ITU-T P.56 (its method B finds the same level, over an envelope that needs longer sounds than ours); the loudest frames
are always in, silence and low padding never are. A steady sound is active as a whole.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME_S = 0.010
MARGIN_DB = 15.9  # ITU-T P.56 (12/2011), 7.2
SILENT = 1e-10  # mean square; -100 dB, below the noise of 16 bits

Samples = NDArray[np.floating[Any]]


def active_part(samples: Samples, rate: int) -> NDArray[np.bool_]:
    """Which samples are active, `(samples,)`; none of a sound that is silent."""
    frame = max(1, round(FRAME_S * rate))
    starts = np.arange(0, len(samples), frame)
    counts = np.diff(np.append(starts, len(samples)))
    energies = np.add.reduceat(samples**2, starts)
    powers = energies / counts
    active = powers > SILENT
    while active.any():
        mean = energies[active].sum() / counts[active].sum()
        kept = active & (powers >= mean * 10 ** (-MARGIN_DB / 10))
        if kept.sum() == active.sum():
            break
        active = kept
    return np.repeat(active, counts)


def power(samples: Samples, where: NDArray[np.bool_]) -> float:
    """The mean square over a part, which has at least one sample."""
    return float(np.mean(samples[where] ** 2))


def level_db(mean_square: float) -> float:
    """In dB; -inf of nothing."""
    return 10 * math.log10(mean_square) if mean_square > 0 else -math.inf


def factor(decibels: float) -> float:
    """What samples are multiplied by to be so much louder."""
    return float(10 ** (decibels / 20))


def at_snr(noise: Samples, sound: Samples, where: NDArray[np.bool_], snr_db: float) -> Samples:
    """The noise, so loud that the sound is `snr_db` above it over a part; the noise isn't silent there."""
    ratio = power(sound, where) / power(noise, where)
    return noise * math.sqrt(ratio / 10 ** (snr_db / 10))
