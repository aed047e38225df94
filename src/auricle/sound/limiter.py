"""Peaks beyond full scale, brought within it without clipping: the sound around a peak gets softer, smoothly.

The gain each sample needs is spread to its neighbours (the least within `REACH_S` to either side) and then averaged
over as much. Every gain that goes into such an average is at most what its sample needs, so no sample stays beyond full
scale; and where nothing is beyond it, the sound comes out bit for bit as it went in.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

REACH_S = 0.01


class Limiter:
    """Of a sound that comes piece by piece.

    Args:
        rate: samples a second.
        ceiling: no sample is beyond this.
    """

    def __init__(self, rate: int, ceiling: float = 1.0) -> None:
        self._rate, self._ceiling = rate, ceiling
        self._reach = max(1, round(REACH_S * rate))
        window = np.hanning(2 * self._reach + 3)[1:-1]
        self._window = window / window.sum()
        self._kept = np.zeros(0, np.float32)  # from 2 reaches before the first sample that isn't given yet
        self._context = 0  # samples of these that were given
        self.lowered = 0  # samples that were made softer
        self.deepest = 1.0  # the least gain

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next `(n,)` -> what has become final, perhaps nothing."""
        self._kept = np.concatenate([self._kept, samples])
        return self._given(len(self._kept) - self._context - 2 * self._reach)

    def finish(self) -> NDArray[np.float32]:
        """The rest."""
        return self._given(len(self._kept) - self._context)

    def notes(self, name: str) -> tuple[str, ...]:
        """What was done to the sound, if anything was."""
        if not self.lowered:
            return ()
        decibels, seconds = -20 * math.log10(self.deepest), self.lowered / self._rate
        return (f"{name} goes beyond full scale: {seconds:.2f} s of it are lowered, by up to {decibels:.1f} dB",)

    def _given(self, count: int) -> NDArray[np.float32]:
        if count <= 0:
            return np.zeros(0, np.float32)
        wanted = self._kept[self._context : self._context + count]
        gain = self._gain(count)
        if gain is not None:
            lowered = gain < 1
            self.lowered += int(lowered.sum())
            self.deepest = min(self.deepest, float(gain.min()))
            # In float32 a product may round back beyond the ceiling by its last bit.
            limited = np.clip(wanted * gain, -self._ceiling, self._ceiling).astype(np.float32)
            wanted = np.where(lowered, limited, wanted)
        context = min(self._context + count, 2 * self._reach)
        self._kept = self._kept[self._context + count - context :]
        self._context = context
        return wanted.copy()

    def _gain(self, count: int) -> NDArray[np.float64] | None:
        """Of the next `(count,)`; None where all of it is 1."""
        size = np.abs(self._kept)
        if not (size > self._ceiling).any():
            return None
        needed = np.minimum(1.0, self._ceiling / np.maximum(size.astype(np.float64), 1e-9))
        span = 2 * self._reach
        before = np.ones(max(0, span - self._context))
        needed = np.concatenate([before, needed[max(0, self._context - span) :], np.ones(span)])[: count + 2 * span]
        least = np.ones(len(needed) - span)
        for at in np.flatnonzero(needed < 1):  # few: a sound that is beyond everywhere is another matter
            first = max(0, at - span)
            least[first : at + 1] = np.minimum(least[first : at + 1], needed[at])
        averaged: NDArray[np.float64] = sliding_window_view(least, span + 1) @ self._window
        return np.where(averaged > 1 - 1e-9, 1.0, averaged)  # weights add up to one but for the last bits


def limited(samples: NDArray[np.float32], rate: int, ceiling: float = 1.0) -> tuple[NDArray[np.float32], Limiter]:
    """A whole sound, and what was done to it."""
    limiter = Limiter(rate, ceiling)
    return np.concatenate([limiter.push(samples), limiter.finish()]), limiter
