"""Reverberation by a synthetic room: the direct sound, then noise that decays by 60 dB in RT60 seconds.

That is Polack's model of a diffuse room (the impulse response behind many data sets): it has no single reflections and
the same decay at all frequencies, and the one thing that it varies, the decay, is known exactly.
"""

from __future__ import annotations

import numpy as np

from auricle.evaluation.degrade.levels import Samples

LENGTH = 1.2  # of the impulse response, in RT60s: 72 dB
FIT_DB = (-5.0, -35.0)  # T30 of ISO 3382-1


def impulse_response(rt60: float, drr_db: float, rate: int, random: np.random.Generator) -> Samples:
    """`(samples,)`: 1 at time 0, then the tail, whose energy is `drr_db` below."""
    count = max(2, round(LENGTH * rt60 * rate))
    tail = random.standard_normal(count - 1) * decay(np.arange(1, count) / rate, rt60)
    tail *= np.sqrt(10 ** (-drr_db / 10) / np.sum(tail**2))
    return np.concatenate(([1.0], tail))


def decay(time: Samples, rt60: float) -> Samples:
    """The envelope at some times in seconds: 1 at 0, 0.001 after `rt60`."""
    found: Samples = 10 ** (-3 * time / rt60)
    return found


def measured_rt60(response: Samples, rate: int) -> float:
    """Seconds to decay by 60 dB, from the tail of an impulse response.

    By Schroeder's backward integration and a line through what lies between -5 and -35 dB, without the direct sound,
    whose drop is no decay.
    """
    energy = np.cumsum((response[1:] ** 2)[::-1])[::-1]
    level = 10 * np.log10(energy / energy[0])
    chosen = np.flatnonzero((level <= FIT_DB[0]) & (level >= FIT_DB[1]))
    time, heard = chosen / rate - np.mean(chosen / rate), level[chosen]
    return float(-60 * np.sum(time**2) / np.sum(time * heard))


def convolved(samples: Samples, response: Samples, count: int) -> Samples:
    """The first `count` samples of the reverberant sound."""
    response, samples = response[:count], samples[:count]  # later ones only sound later
    size = _fast(len(samples) + len(response) - 1)
    full: Samples = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return full[:count]


def _fast(count: int) -> int:
    """A length from `count` on that the FFT is fast for: a power of 2."""
    return 1 << (count - 1).bit_length()
