"""What a fit gives, whether there was a curve to find or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from auricle.errors import OptionError
from auricle.evaluation.statistics.intervals import Cell
from auricle.evaluation.statistics.psychometric.observer import Task, curve
from auricle.evaluation.statistics.psychometric.resampling import Goodness
from auricle.evaluation.statistics.psychometric.thresholds import Axis, Threshold
from auricle.evaluation.statistics.rows import numbers
from auricle.evaluation.statistics.special import Array

Status = Literal["fitted", "flat", "all right", "all wrong", "too few levels", "too many levels"]
"""Whether there is a curve.

fitted: there is.
flat: the share of right answers doesn't rise with the level, so there is no midpoint; and a threshold only outside the
    tested range, where the answers to the lowest or the highest level show that it is there.
all right, all wrong: every answer, so thresholds are below the tested range, or above it.
too few levels: fewer than a curve has parameters, as with a single level, or no clip at all.
too many levels: a level of its own for nearly every clip, as measured SNRs are; nominal ones are what to fit.
"""

Intervals = Literal["sources", "profile", "none"]
"""What intervals are made from.

profile: the likelihood's, every row being a source of its own.
sources: whole sources drawn anew, and never narrower than the profile's.
none: all clips come from one source, which can't show how sources differ.
"""


@dataclass(frozen=True)
class Observer:
    """The curve's four numbers."""

    midpoint: float  # in the units tested; halfway between guess and 1 - lapse, and outside the tested range perhaps
    width: float  # from 5 to 95 % of the way up; in decades on a logarithmic scale, else in the units tested
    guess: float  # share of right answers where nothing is heard
    lapse: float  # share of wrong answers where all is heard


@dataclass(frozen=True, eq=False)
class Curves:
    """The best curve and those of data sets drawn anew, for pictures."""

    task: Task
    axis: Axis
    best: Array  # (4,)
    drawn: Array  # (resamples, 4)
    confidence: float


@dataclass(frozen=True, eq=False)
class Psychometric:
    """How often a listener is right by level, with a curve through it where there is one."""

    status: Status
    note: str  # in a line, what the reader should know; empty if nothing
    points: tuple[Cell, ...]  # what was seen at each level, ascending; `condition` is the level
    sources: int  # different ones
    thresholds: tuple[Threshold, ...] = ()  # the midpoint (level None), then those asked for, in that order
    intervals: Intervals = "none"
    observer: Observer | None = None  # with status "fitted" only, as are the rest
    goodness: Goodness | None = None  # None as well where there are only as many levels as parameters
    rise_p: float | None = None  # of as much of a rise without one; also with status "flat"
    curves: Curves | None = None

    def threshold(self, level: float | None) -> Threshold:
        """The one at a share of right answers; None is the midpoint.

        Raises:
            OptionError: it wasn't asked for when the curve was fitted.
        """
        for found in self.thresholds:
            if found.level == level:
                return found
        asked = ", ".join("the midpoint" if one.level is None else f"{one.level:g}" for one in self.thresholds)
        raise OptionError(f"there is no threshold at {level}, only at {asked or 'none'}: name it in at=")

    def curve(self, levels: ArrayLike) -> Array:
        """The fitted share of right answers, `(levels,)`.

        Raises:
            OptionError: there is no curve; the message has the status.
        """
        curves = self._drawable()
        return curve(curves.task, curves.best, curves.axis.unit(numbers("levels", levels)))

    def band(self, levels: ArrayLike) -> tuple[Array, Array]:
        """Between which shares the curve lies at each level, point by point: two of `(levels,)`.

        Raises:
            OptionError: there is no curve, or there are no intervals.
        """
        curves = self._drawable()
        if self.intervals == "none":
            raise OptionError(f"a band needs intervals, which {self.sources} source can't give: draw the curve alone")
        every = curve(curves.task, curves.drawn, curves.axis.unit(numbers("levels", levels)))
        sides = [(1 - curves.confidence) / 2, (1 + curves.confidence) / 2]
        low, high = np.quantile(every, sides, axis=0)
        return low, high

    def _drawable(self) -> Curves:
        if self.curves is None:
            raise OptionError(f"there is no curve to draw ({self.status}: {self.note}): draw the points alone")
        return self.curves
