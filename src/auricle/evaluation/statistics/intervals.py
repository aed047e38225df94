"""Wilson's interval of a share, and the cells of a table that it stands in."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from auricle.evaluation.statistics.rows import codes_of, flags, same_length
from auricle.evaluation.statistics.special import Array, normal_quantile
from auricle.types.checks import require


@overload
def wilson(right: float, total: float, confidence: float = ...) -> tuple[float, float]: ...
@overload
def wilson(right: Array, total: Array, confidence: float = ...) -> tuple[Array, Array]: ...
def wilson(right: ArrayLike, total: ArrayLike, confidence: float = 0.95) -> tuple[ArrayLike, ArrayLike]:
    """The interval of a share by its score test, without correction for continuity (Wilson 1927).

    It stays inside 0 to 1 and keeps a width at 0 and at 1, as the normal approximation doesn't. Trials count as
    independent: where clips share sources, it is too narrow, and the bootstrap over sources is the one to believe.

    Args:
        right: how many of `total`; numbers, or arrays of one shape.

    Returns:
        Its ends, shaped like `right`; 0 and 1 where there is no trial.
    """
    require_confidence(confidence)
    right, total = np.asarray(right, dtype=np.float64), np.asarray(total, dtype=np.float64)
    z = float(normal_quantile((1 + confidence) / 2))
    count = np.maximum(total, 1)
    share = right / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    # At no or all right, the ends are 0 and 1 exactly, which rounding misses.
    low = np.where((right == 0) | (total == 0), 0.0, middle - reach)
    high = np.where((right == total) | (total == 0), 1.0, middle + reach)
    return (float(low), float(high)) if low.ndim == 0 else (low, high)


@dataclass(frozen=True)
class Cell:
    """One cell of a table: the rows that share a condition."""

    condition: Hashable
    right: int
    total: int
    sources: int  # that the rows come from: with fewer than `total`, the interval is too narrow
    share: float
    low: float  # of Wilson's interval
    high: float


def cells(
    conditions: Sequence[Hashable],
    right: ArrayLike,
    sources: Sequence[Hashable],
    confidence: float = 0.95,
) -> tuple[Cell, ...]:
    """The share of right answers in each condition, in order of appearance.

    Args:
        conditions: `(rows,)`, anything that can be a key: `(duration_ms, snr_db)`.
        right: `(rows,)`, true or false.
        sources: `(rows,)`, the recording that each clip was cut from.
    """
    answered = flags("right", right)
    same_length(conditions=conditions, right=answered, sources=sources)
    code, _ = codes_of(conditions)
    source, _ = codes_of(sources)
    found = []
    for number, condition in enumerate(dict.fromkeys(conditions)):
        rows = code == number
        hits, total = int(answered[rows].sum()), int(rows.sum())
        low, high = wilson(float(hits), float(total), confidence)
        found.append(Cell(condition, hits, total, len(np.unique(source[rows])), hits / total, low, high))
    return tuple(found)


def require_confidence(confidence: float) -> None:
    require(0 < confidence < 1, "confidence", confidence, "between 0 and 1, such as 0.95")
