"""The learning rate at each step: up in a line, then down along half a cosine. A function of the step alone."""

from __future__ import annotations

import math

LAST = 0.1  # of the highest rate, at the end
WARMUP_SHARE, WARMUP_MOST = 0.05, 1000


def warmup_steps(asked: int | None, total: int) -> int:
    """As asked; unasked, a twentieth of the run, at most 1,000 steps."""
    return min(WARMUP_MOST, max(1, round(WARMUP_SHARE * total))) if asked is None else asked


def rate(step: int, total: int, highest: float, warmup: int) -> float:
    """The learning rate of `step`, which counts from 0, in a run of `total` steps."""
    if step < warmup:
        return highest * (step + 1) / warmup
    passed = min(1.0, (step - warmup) / max(1, total - warmup))
    return highest * (LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * passed)))
