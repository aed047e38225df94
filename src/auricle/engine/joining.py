"""Vectors on a sound's time axis: where a long sound is cut, how what its chunks give is joined, and pooling.

Chunks begin on the token grid, every 40 ms, so that a vector of one stands for the same stretch of time as one of its
neighbour. Of two that overlap, the first's vectors count up to the middle of what they share, then the second's: each
time once, and none near an edge, where a chunk knows least of what is around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.types import VectorKind


@dataclass(frozen=True)
class Chunk:
    """A stretch of a sound that is heard as one clip. Its places are counted in tokens from the sound's beginning."""

    start: int
    samples: slice
    first: int  # of the tokens whose vectors count
    end: int | None  # None: all up to the chunk's last

    def kept(self, vectors: int, per_token: int) -> slice:
        """Which of the chunk's vectors count, where so many of them cover a token."""
        return slice(
            (self.first - self.start) * per_token,
            vectors if self.end is None else (self.end - self.start) * per_token,
        )


def chunks_of(
    samples: int, *, token: int, most: int, shared: int, longest: int, tokens_of: Callable[[int], int]
) -> list[Chunk]:
    """Cuts a sound of so many samples.

    Args:
        token: samples of a token.
        most: tokens of a chunk.
        shared: tokens that neighbours have in common, fewer than `most`.
        longest: samples of the longest sound that is left whole.
        tokens_of: how many tokens so many samples give. A rest that gives none is no chunk.
    """
    starts = [0]
    while samples > longest and (starts[-1] + most) * token < samples:
        following = starts[-1] + most - shared
        if not tokens_of(min(samples - following * token, most * token)):
            break
        starts.append(following)
    seams = [0, *(start + shared // 2 for start in starts[1:])]
    length = samples if len(starts) == 1 and samples <= longest else most * token
    return [
        Chunk(start, slice(start * token, min(samples, start * token + length)), seam, end)
        for start, seam, end in zip(starts, seams, [*seams[1:], None], strict=True)
    ]


@dataclass(frozen=True)
class Vectors:
    """Vectors, each labelled; see `types.Embedding`."""

    values: NDArray[np.float32]  # (layers, vectors, width)
    start_s: NDArray[np.float64]  # NaN where a vector has no time
    end_s: NDArray[np.float64]
    kinds: tuple[VectorKind, ...]

    @classmethod
    def joined(cls, parts: Sequence[Vectors]) -> Vectors:
        """One after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.values for part in parts], axis=1),
            np.concatenate([part.start_s for part in parts]),
            np.concatenate([part.end_s for part in parts]),
            tuple(kind for part in parts for kind in part.kinds),
        )

    def pooled(self, pooling: str, window: float | None, origin_s: float) -> Vectors:
        """One vector of all, or of every window of so many seconds from `origin_s` on."""
        if window is not None:
            return Vectors.joined(list(self._windows(window, origin_s)))
        if pooling == "none":
            return self
        if pooling == "last":
            return self._one(self.values[:, -1:])
        return self._one(self.values.max(1, keepdims=True) if pooling == "max" else _mean(self.values))

    def _windows(self, seconds: float, origin_s: float) -> Iterator[Vectors]:
        """By when vectors start. The window that a token's start falls on is told from one a rounding error before."""
        numbers = np.floor(np.round((self.start_s - origin_s) / seconds, 6)).astype(np.int64)
        for number in np.unique(numbers):
            at = np.flatnonzero(numbers == number)
            start_s, last_s = origin_s + number * seconds, self.end_s[at[-1]]
            end_s = min(start_s + seconds, last_s) if at[-1] == len(numbers) - 1 else start_s + seconds
            yield Vectors(_mean(self.values[:, at]), np.array([start_s]), np.array([end_s]), (self.kinds[at[0]],))

    def _one(self, values: NDArray[np.float32]) -> Vectors:
        """A vector that stands for all of these."""
        timed = ~np.isnan(self.start_s)
        start_s = self.start_s[timed].min() if timed.any() else np.nan
        end_s = self.end_s[timed].max() if timed.any() else np.nan
        kinds = set(self.kinds)
        return Vectors(values, np.array([start_s]), np.array([end_s]), (kinds.pop() if len(kinds) == 1 else "all",))


def _mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over vectors, in float64: of an hour there are 90,000."""
    return values.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)
