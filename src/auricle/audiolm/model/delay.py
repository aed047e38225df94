"""The delay pattern: codebook k of frame t stands at step t + k, so that what refines a code comes after it.

Four codebooks, three frames, and `.` where there is no code:

    step       0  1  2  3  4  5
    codebook 0 a0 b0 c0 .  .  .
    codebook 1 .  a1 b1 c1 .  .
    codebook 2 .  .  a2 b2 c2 .
    codebook 3 .  .  .  a3 b3 c3

One codebook has no delay, and is what the AR half of the other pattern reads and predicts.
"""

from __future__ import annotations

import torch
from torch import Tensor


def delayed(values: Tensor, lens: Tensor, steps: int, fill: float, *, late: int = 0) -> Tensor:
    """
    Args:
        values: `(rows, frames, streams, ...)`.
        lens: `(rows,)`, frames that a row has.
        fill: stands where there is no frame.
        late: further steps: 1 for what a step reads, 0 for what it predicts.

    Returns:
        `(rows, steps, streams, ...)`.
    """
    rows, frames, streams = values.shape[:3]
    frame = frames_at(steps, streams, values.device) - late
    there = (frame >= 0) & (frame < lens[:, None, None])
    found = frame.clamp(0, frames - 1).expand(rows, -1, -1)
    more = values.ndim - 3
    found, there = (one[(..., *(None,) * more)] for one in (found, there))
    found = found.expand(-1, -1, -1, *values.shape[3:])
    return torch.where(there, values.gather(1, found), fill)


def restored(steps: Tensor, frames: int) -> Tensor:
    """`(rows, steps, streams)` -> `(rows, frames, streams)`; steps are at least frames + streams - 1."""
    streams = steps.shape[2]
    return torch.stack([steps[:, late : late + frames, late] for late in range(streams)], dim=2)


def frames_at(steps: int, streams: int, device: torch.device) -> Tensor:
    """Which frame a stream is at: `(steps, streams)`, negative before its first."""
    return torch.arange(steps, device=device)[:, None] - torch.arange(streams, device=device)
