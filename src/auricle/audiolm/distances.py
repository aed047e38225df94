"""How far one set of sounds is from another: a Fréchet distance of log-mel patches, which needs no other model.

It is no FAD: that takes its features from a trained network (VGGish, CLAP), which hears what a spectrum does not show.
Compare values only where rate, bands, patches and the number of sounds are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.audiolm.spectra import log_mel
from auricle.errors import OptionError, SoundError

PATCH_S = 0.5
BANDS = 32
DECIBEL = 20 / np.log(10)  # for a natural logarithm of magnitudes
RIDGE = 1e-3  # dB², so that silence, which doesn't vary, still has a Gaussian


def log_mel_frechet(
    a: Sequence[NDArray[np.float32]],
    b: Sequence[NDArray[np.float32]],
    rate: int,
    *,
    bands: int = BANDS,
    patch_s: float = PATCH_S,
) -> float:
    """The Fréchet distance of two sets of mono sounds, in dB²; 0 for the same sounds.

    Each sound is cut into patches of `patch_s` seconds that overlap by half. A patch is, for each of `bands` mel bands,
    the mean and the standard deviation of its level over time, in dB: what sounds at once, and how it moves. Each set
    becomes a Gaussian, and the distance is |m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½). Few patches overestimate it: take at
    least ten times `2 * bands` in each set, and equally many.

    Args:
        a, b: samples `(n,)` in [-1, 1] at `rate`, each at least a patch long.

    Raises:
        OptionError: bands or patch_s is out of range; SoundError: a set has no two patches, or isn't finite.
    """
    if bands < 1:
        raise OptionError(f"bands is {bands}; it must be at least 1")
    if not patch_s * rate >= 2048:
        raise OptionError(f"patch_s is {patch_s}; at {rate} Hz it must be at least {2048 / rate:.3f} seconds")
    means, spreads = zip(*(_gaussian(_patches(one, rate, bands, patch_s)) for one in (a, b)), strict=True)
    return _frechet(means[0], spreads[0], means[1], spreads[1])


def _patches(sounds: Sequence[NDArray[np.float32]], rate: int, bands: int, patch_s: float) -> NDArray[np.float64]:
    """`(patches, 2 * bands)` of all sounds."""
    hop = 512
    size = round(patch_s * rate / hop)
    found = []
    for sound in sounds:
        if len(sound) < size * hop:
            continue
        samples = torch.from_numpy(np.ascontiguousarray(sound, np.float32))
        levels = log_mel(samples[None], rate, size=2 * hop, hop=hop, bands=bands)[0].double().numpy() * DECIBEL
        for start in range(0, len(levels) - size + 1, max(1, size // 2)):
            patch = levels[start : start + size]
            found.append(np.concatenate([patch.mean(0), patch.std(0)]))
    if len(found) < 2:
        raise SoundError(f"there are {len(found)} patches of {patch_s} s to compare; a set needs at least 2")
    patches = np.stack(found)
    if not np.isfinite(patches).all():
        raise SoundError("a sound to compare is not finite: clean it first")
    return patches


def _gaussian(patches: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return patches.mean(0), np.cov(patches, rowvar=False) + RIDGE * np.eye(patches.shape[1])


def _frechet(
    mean_a: NDArray[np.float64],
    spread_a: NDArray[np.float64],
    mean_b: NDArray[np.float64],
    spread_b: NDArray[np.float64],
) -> float:
    """tr (A B)^½ is that of (A^½ B A^½)^½, which is symmetric: no square root of a general matrix is needed."""
    root = _root(spread_a)
    values = np.linalg.eigvalsh(root @ spread_b @ root)
    shared = np.sqrt(np.clip(values, 0, None)).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(spread_a) + np.trace(spread_b) - 2 * shared
    return max(0.0, float(distance))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
