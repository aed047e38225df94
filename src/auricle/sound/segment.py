"""Long sound, cut at pauses into pieces that a model takes. Nothing is lost: the pieces put together are the sound.

A cut is looked for in the last third of what fits: in the middle of the longest pause there, or, without a pause, of
the quietest 100 ms. So pieces are as long as possible without a word being cut, where the speaker allows it. The end is
different: when little more than one piece is left, it is cut near its half, for a tail of a fraction of a second would
be a clip that no model makes sense of. All pieces are at least a third of the longest allowed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.errors import OptionError
from auricle.sound.activity import hop_samples, levels, pauses
from auricle.types import Audio

QUIET_S = 0.1  # how long a quiet moment must be to be cut at where there is no pause


@dataclass(frozen=True)
class Piece:
    """A stretch of a longer sound."""

    audio: Audio
    start_s: float  # where it starts in the whole sound, in seconds
    end_s: float


def segment(audio: Audio, max_seconds: float) -> list[Piece]:
    """Cuts a sound into consecutive pieces of at most `max_seconds`; one that is no longer stays as it is.

    The samples of the pieces are views of the sound's, not copies. The same sound always gives the same pieces.

    Raises:
        OptionError: `max_seconds` is shorter than a sample.
    """
    if not max_seconds * audio.rate >= 1:
        raise OptionError(f"max_seconds is {max_seconds}; it must be at least one sample ({1 / audio.rate:.6f} s)")
    longest = max_seconds * audio.rate + 1e-6  # 0.29 s at 100 Hz are 29 samples, whatever floats make of it
    if len(audio.samples) <= longest:
        return [Piece(audio, 0.0, audio.seconds)]
    cuts = _cuts(audio, int(longest))
    return [_piece(audio, start, end) for start, end in zip([0, *cuts], [*cuts, len(audio.samples)], strict=True)]


def _piece(audio: Audio, start: int, end: int) -> Piece:
    part = Audio(audio.samples[start:end], audio.rate, audio.source)
    return Piece(part, start / audio.rate, end / audio.rate)


def _cuts(audio: Audio, longest: int) -> list[int]:
    """The samples at which pieces after the first start."""
    finder = _Finder(audio)
    third = longest // 3
    cuts: list[int] = []
    start, left = 0, len(audio.samples)
    while left > longest:
        if left <= longest + 2 * third:  # two pieces are to come, and there is room to choose
            first = max(left - longest, left // 2 - third // 2)
            last = min(longest, left // 2 + third // 2)
        else:
            first, last = longest - third, longest
        start = finder.best(start + max(first, 1), start + last)
        cuts.append(start)
        left = len(audio.samples) - start
    return cuts


class _Finder:
    """Finds the best place to cut; measures the sound once, so that all cuts together take linear time."""

    def __init__(self, audio: Audio) -> None:
        self._hop = hop_samples(audio.rate)
        self._pauses = [(round(start * audio.rate), round(end * audio.rate)) for start, end in pauses(audio)]
        self._seen = 0  # pauses before this one have ended; cuts are looked for from left to right
        self._width = max(1, round(QUIET_S * audio.rate) // self._hop)  # in hops
        power = 10 ** (levels(audio) / 10)
        self._power_before = np.concatenate(([0.0], np.cumsum(power)))  # (hops + 1,)

    def best(self, first: int, last: int) -> int:
        """The best sample to cut at from `first` to `last`, both included."""
        while self._seen < len(self._pauses) and self._pauses[self._seen][1] <= first:
            self._seen += 1
        longest, cut = 0, None
        for start, end in self._pauses[self._seen :]:
            if start >= last:
                break
            start, end = max(start, first), min(end, last)
            if end - start >= longest:  # of equals the later, for longer pieces
                longest, cut = end - start, (start + end) // 2
        return cut if cut is not None else self._quietest(first, last)

    def _quietest(self, first: int, last: int) -> int:
        """The middle of the quietest 100 ms that lie within; the last of equals."""
        begin, end = -(-first // self._hop), last // self._hop  # whole hops, end excluded
        sums = self._sums(begin, end)
        if not len(sums):  # less than 100 ms to choose from
            return (first + last) // 2
        quietest = len(sums) - 1 - int(np.argmin(sums[::-1]))
        return (begin + quietest) * self._hop + self._width * self._hop // 2

    def _sums(self, begin: int, end: int) -> NDArray[np.float64]:
        """The power of every stretch of `_width` hops from `begin` to `end`."""
        before = self._power_before[begin : end + 1]
        return before[self._width :] - before[: -self._width]
