"""Rows of a result, counted for a fit; and what is said of those that no curve can be fitted to."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.statistics.intervals import Cell, cells
from auricle.evaluation.statistics.psychometric.priors import Beta, Priors
from auricle.evaluation.statistics.psychometric.result import Psychometric, Status
from auricle.evaluation.statistics.psychometric.thresholds import Place, Threshold
from auricle.evaluation.statistics.rows import codes_of
from auricle.evaluation.statistics.special import Array

MOST_LEVELS = 256  # more is a level measured for each clip, which takes long and makes no better curve


@dataclass(frozen=True, eq=False)
class Trials:
    """Right answers and all answers, by source and level."""

    cells: tuple[Cell, ...]  # by level, ascending
    levels: Array  # (levels,) each once, ascending
    right: Array  # (sources, levels)
    total: Array
    repeated: bool  # whether a source has more than one row

    @classmethod
    def of(cls, levels: Array, right: NDArray[np.bool_], sources: Sequence[Hashable], confidence: float) -> Trials:
        different, level = np.unique(levels, return_inverse=True)
        source, count = codes_of(sources)
        hits, total = np.zeros((2, count, len(different)))
        np.add.at(hits, (source, level), right)
        np.add.at(total, (source, level), 1)
        seen = cells(levels.tolist(), right, sources, confidence)
        return cls(tuple(sorted(seen, key=_level)), different, hits, total, count < len(levels))


def _level(cell: Cell) -> float:
    assert isinstance(cell.condition, float)
    return cell.condition


def passed(trials: Trials, level: float) -> Place | None:
    """Where a share of right answers is reached that no curve is fitted for: at no tested level, or at every one.

    A share that rises or not is above the level everywhere if it surely is at the lowest level tested.
    """
    if trials.cells[0].low > level:
        return "below"
    if trials.cells[-1].high < level:
        return "above"
    return None


def unfit(trials: Trials, priors: Priors, at: Sequence[float]) -> Psychometric | None:
    """The result for data that no curve can be fitted to; None for others."""
    sources, levels = trials.right.shape
    needed = 2 + sum(isinstance(rate, Beta) for rate in (priors.guess, priors.lapse))

    def result(status: Status, note: str, value: Place | None = None) -> Psychometric:
        # A midpoint is halfway up a curve, and there is none; a share of right answers is passed or it isn't.
        thresholds = (Threshold(None, None), *(Threshold(share, value) for share in at))
        return Psychometric(status, note, trials.cells, sources, thresholds)

    answers, hits = int(trials.total.sum()), int(trials.right.sum())
    if not answers:
        return result("too few levels", "no clip was answered")
    if hits == answers:
        return result("all right", f"all of {answers} answers are right, at every level", "below")
    if not hits:
        return result("all wrong", f"all of {answers} answers are wrong, at every level", "above")
    if levels < needed:
        return result("too few levels", f"{levels} different level(s), and a curve needs {needed}: test more levels")
    if levels > MOST_LEVELS:
        return result("too many levels", f"{levels} different levels, more than {MOST_LEVELS}: fit nominal levels")
    return None
