"""Kept sound, made sound, kept sound, as one: what was kept is the original, and where the two meet they are faded.

The codec also decodes what is kept, next to the seam: its decoder has run in by the time the made sound begins, and in
the fade both say the same thing. So the fade is linear. An equal-power fade is for two sounds that have nothing to do
with each other; of two that are alike it would be up to 3 dB too loud in the middle.

The level of what was made is left alone. A codec's error isn't a gain, so that there is nothing for one to mend; and a
model that gets softer because the phrase ends must be allowed to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


class Splice:
    """Takes decoded sound piece by piece.

    Args:
        before: `(n,)`, kept; the made sound begins where it ends.
        made: samples to be made.
        after: `(m,)`, kept; it begins where the made sound ends.
        lead: samples that the decoder gives of the end of `before`, before what was made.
        spare: samples that it gives of the beginning of `after`.
        fade: samples of each fade, if both have as many; they lie in the kept sound.
    """

    def __init__(self, before: Samples, made: int, after: Samples, *, lead: int, spare: int, fade: int) -> None:
        self._before, self.made, self._after = before, made, after
        self._in, self._out = min(fade, len(before), lead), min(fade, len(after), spare)
        self._at = -lead  # the next decoded sample, from the first seam

    @property
    def seams(self) -> tuple[int, ...]:
        """Samples at which the kept sound ends, and begins again."""
        first, second = len(self._before), len(self._before) + self.made
        return tuple(at for at, there in ((first, len(self._before)), (second, len(self._after))) if there)

    def shorten(self, made: int) -> None:
        """Nothing is kept after it, and it has become shorter than it was to be."""
        assert not len(self._after)
        self.made = made

    def opening(self) -> Samples:
        """What is kept before the first fade: the same bits."""
        return self._before[: len(self._before) - self._in]

    def push(self, decoded: Samples) -> Samples:
        """The next decoded `(n,)` -> what is heard of it, perhaps nothing."""
        first = self._at
        self._at += len(decoded)
        parts = (
            self._fade_in(decoded, first),
            _cut(decoded, first, 0, self.made),
            self._fade_out(decoded, first),
        )
        return np.concatenate(parts)

    def closing(self) -> Samples:
        """What is kept after the last fade: the same bits."""
        assert self._at >= self.made + self._out, "everything has been decoded"
        return self._after[self._out :]

    def _fade_in(self, decoded: Samples, first: int) -> Samples:
        made = _cut(decoded, first, -self._in, 0)
        at = np.arange(max(first, -self._in), max(first, -self._in) + len(made))
        kept = self._before[len(self._before) + at] if len(made) else made
        return _mixed(kept, made, (at + self._in + 0.5) / max(self._in, 1))

    def _fade_out(self, decoded: Samples, first: int) -> Samples:
        made = _cut(decoded, first, self.made, self.made + self._out)
        at = np.arange(max(first - self.made, 0), max(first - self.made, 0) + len(made))
        kept = self._after[at] if len(made) else made
        return _mixed(made, kept, (at + 0.5) / max(self._out, 1))


def _cut(decoded: Samples, first: int, start: int, end: int) -> Samples:
    """What of a piece that begins at `first` lies between two places."""
    return decoded[max(start - first, 0) : max(end - first, 0)]


def _mixed(from_this: Samples, to_that: Samples, share: NDArray[np.float64]) -> Samples:
    return (from_this * (1 - share) + to_that * share).astype(np.float32)
