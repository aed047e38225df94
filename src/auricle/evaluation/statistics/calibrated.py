"""Whether a probability means what it says: of clips given 80 %, four in five should be so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from auricle.evaluation.statistics.intervals import wilson
from auricle.evaluation.statistics.rows import flags, same_length, shares
from auricle.types.checks import require


@dataclass(frozen=True)
class Bin:
    """Rows whose probability is above `low` and at most `high`; the first bin has 0 as well."""

    low: float
    high: float
    rows: int
    probability: float | None  # their mean; None in an empty bin, as the rest
    share: float | None  # of them that came true
    share_low: float | None  # Wilson's 95 % interval of the share
    share_high: float | None


@dataclass(frozen=True)
class Calibration:
    bins: tuple[Bin, ...]  # of equal width from 0 to 1, also empty ones
    ece: float | None  # mean distance of share and probability over bins, weighted by rows; None without any row
    brier: float | None  # mean squared distance of probability and truth (Brier 1950), which no binning changes


def calibration(event: ArrayLike, probability: ArrayLike, bins: int = 10) -> Calibration:
    """The expected calibration error over bins of equal width (Naeini et al. 2015, Guo et al. 2017).

    It depends on the bins, so say how many with the figure; and with few rows a bin it is above 0 by chance alone.

    Args:
        event: `(rows,)`: whether the answer was right, with its confidence as the probability; or whether the clip is
            of a class, with the probability of that class.
        probability: `(rows,)`, from 0 to 1.

    Raises:
        OptionError: columns of different lengths, something that is no probability, fewer than one bin.
    """
    require(bins >= 1, "bins", bins, "at least 1")
    true, given = flags("event", event), shares("probability", probability)
    same_length(event=true, probability=given)
    edges = np.arange(bins + 1) / bins  # 0.3, where linspace has 0.30000000000000004
    place = np.searchsorted(edges[1:-1], given)  # a value on an edge belongs below it
    rows = np.bincount(place, minlength=bins)
    hits, sums = np.bincount(place, true, bins), np.bincount(place, given, bins)
    found = tuple(
        _bin(float(edges[i]), float(edges[i + 1]), int(rows[i]), float(hits[i]), float(sums[i])) for i in range(bins)
    )
    if not len(given):
        return Calibration(found, None, None)
    return Calibration(found, float(np.abs(hits - sums).sum() / len(given)), float(((given - true) ** 2).mean()))


def _bin(low: float, high: float, rows: int, hits: float, total: float) -> Bin:
    if not rows:
        return Bin(low, high, 0, None, None, None, None)
    return Bin(low, high, rows, total / rows, hits / rows, *wilson(hits, float(rows)))
