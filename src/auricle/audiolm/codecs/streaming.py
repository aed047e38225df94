"""A codec's network over sound of any length, piece by piece, with the result that the whole at once would have.

Convolutions see `reach` frames to each side, so a piece is computed with that much more of its neighbours, which is
then cut off; the LSTM goes on from the state it was left in. Nothing is padded but at the ends of the sound.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from auricle.audiolm.codecs.encodec_model import Half


class Local:
    """Layers that see `reach` frames to each side, over a sequence that comes bit by bit.

    Args:
        layers: `(1, channels, frames * step_in)` -> `(1, others, frames * step_out)`; both ends are padded.
        reach: in frames.
        step_in, step_out: numbers a frame, on the way in and on the way out.
    """

    def __init__(self, layers: Callable[[Tensor], Tensor], reach: int, step_in: int, step_out: int) -> None:
        self._layers, self._reach, self._in, self._out = layers, reach, step_in, step_out
        self._kept: Tensor | None = None  # from `_context` frames before the first that isn't done
        self._context = 0

    def push(self, x: Tensor | None) -> Tensor | None:
        """What has become final with `x`, if anything has."""
        if x is not None:
            self._kept = x if self._kept is None else torch.cat([self._kept, x], dim=-1)
        have = 0 if self._kept is None else self._kept.shape[-1] // self._in
        ready = have - self._context - self._reach
        return self._done(ready) if ready > 0 else None

    def finish(self) -> Tensor | None:
        """What is left, now that the sequence has ended; its last frame may be a part of one."""
        have = 0 if self._kept is None else -(-self._kept.shape[-1] // self._in)
        ready = have - self._context
        return self._done(ready) if ready > 0 else None

    def _done(self, ready: int) -> Tensor:
        assert self._kept is not None
        y = self._layers(self._kept)[..., self._context * self._out : (self._context + ready) * self._out]
        context = min(self._context + ready, self._reach)
        self._kept = self._kept[..., (self._context + ready - context) * self._in :]
        self._context = context
        return y


class Pieces:
    """One half of a codec, over a sequence that comes bit by bit: see `Local`."""

    def __init__(self, half: Half, reach: int, step_in: int, step_out: int) -> None:
        self._half = half
        self._before, self._after = Local(half.before, reach, step_in, 1), Local(half.after, reach, 1, step_out)
        self._state: tuple[Tensor, Tensor] | None = None

    def push(self, x: Tensor) -> Tensor | None:
        """`(1, channels, n)` -> what has become final, if anything has."""
        y = self._recur(self._before.push(x))
        return None if y is None else self._after.push(y)

    def finish(self) -> list[Tensor]:
        """The rest, in order."""
        last = self._recur(self._before.finish())
        parts = (None if last is None else self._after.push(last), self._after.finish())
        return [part for part in parts if part is not None]

    def _recur(self, x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        y, self._state = self._half.through(x, self._state)
        return y
