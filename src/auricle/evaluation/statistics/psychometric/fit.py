"""A psychometric function: how often a listener is right, over the duration of clips or their SNR.

Each class is fitted apart, speech on its own and the rest on its own: a preference for one answer lifts the one curve
and lowers the other, and a curve over both hides that.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from auricle.errors import OptionError
from auricle.evaluation.statistics.intervals import require_confidence
from auricle.evaluation.statistics.psychometric.observer import Task, place_of, rates
from auricle.evaluation.statistics.psychometric.priors import GUESS, LAPSE, Priors, Rate
from auricle.evaluation.statistics.psychometric.profile import profile_interval
from auricle.evaluation.statistics.psychometric.resampling import by_source, ends_of, goodness, rise
from auricle.evaluation.statistics.psychometric.result import (
    Curves,
    Intervals,
    Observer,
    Psychometric,
)
from auricle.evaluation.statistics.psychometric.search import most_probable
from auricle.evaluation.statistics.psychometric.shapes import ShapeName, shape_named
from auricle.evaluation.statistics.psychometric.thresholds import Axis, Scale, Threshold
from auricle.evaluation.statistics.psychometric.trials import Trials, passed, unfit
from auricle.evaluation.statistics.rows import flags, numbers, same_length
from auricle.evaluation.statistics.special import Array
from auricle.types.checks import require, require_one_of

FLAT = 0.05  # a curve rises if trials without a rise look like it less often than this
FEW_SOURCES = 10  # fewer than these don't show how sources differ


def fit_psychometric(
    levels: ArrayLike,
    right: ArrayLike,
    sources: Sequence[Hashable] | None = None,
    *,
    scale: Scale = "log",
    shape: ShapeName = "logistic",
    at: Sequence[float] = (0.75,),
    guess: Rate = GUESS,
    lapse: Rate = LAPSE,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Psychometric:
    """Fits a rising curve to the answers to clips of one class.

    The estimate is the most probable observer under the weak priors of `priors.py`. Intervals come from the profile of
    the likelihood, in which every row counts as independent; where sources repeat, each end is the wider one of that
    and of whole sources drawn with replacement. Data that no curve can be fitted to give a result that says so: see
    `Psychometric.status`.

    Args:
        levels: `(rows,)`, the nominal duration of each clip, or its SNR.
        right: `(rows,)`, whether the answer was right; what becomes of unknown answers was decided before.
        sources: `(rows,)`, the recording that each clip was cut from; None if no two rows share one.
        scale: "log" for durations, "linear" for SNR in dB.
        shape: "logistic", "gaussian" or "weibull".
        at: the shares of right answers whose thresholds are wanted, beside the curve's midpoint.
        guess: a prior of the rate at which a listener that hears nothing is right, or that rate where it is known.
        lapse: the same of the share of trials on which it guesses though the clip is clear.
        confidence: of intervals.
        resamples: data sets drawn anew, for intervals and for goodness of fit each.

    Raises:
        OptionError: columns of different lengths, a level that isn't a finite number or not above 0 on a logarithmic
            scale, an answer that isn't true or false, an option outside its range.
    """
    require_one_of("scale", scale, get_args(Scale))
    require_confidence(confidence)
    require(resamples >= 20, "resamples", resamples, "at least 20, and some hundreds for figures that are shown")
    for share in at:
        require(0 < share < 1, "at", share, "shares between 0 and 1, such as 0.75")
    shaped, priors = shape_named(shape), Priors(guess, lapse)
    tested, answered = numbers("levels", levels), flags("right", right)
    sources = range(len(tested)) if sources is None else sources
    same_length(levels=tested, right=answered, sources=sources)
    if scale == "log" and (tested <= 0).any():
        raise OptionError(f"levels has {tested.min():g}, and a logarithmic scale begins above 0: scale='linear'")

    trials = Trials.of(tested, answered, sources, confidence)
    if result := unfit(trials, priors, at):
        return result
    axis = Axis(float(trials.levels[0]), float(trials.levels[-1]), scale)
    task = Task(axis.unit(trials.levels), shaped, priors)
    return _fitted(trials, task, axis, at, confidence, resamples, np.random.default_rng(seed))


def _fitted(
    trials: Trials,
    task: Task,
    axis: Axis,
    at: Sequence[float],
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> Psychometric:
    right, total = trials.right.sum(0), trials.total.sum(0)
    (best, *_), (height, *_) = most_probable(task, right[None], total[None])
    rising = rise(task, best, right, total, resamples, rng)
    if rising > FLAT:
        share = right.sum() / total.sum()
        note = f"{share:.1%} right, and no more of a rise with the level than chance gives (p {rising:.2g})"
        thresholds = (Threshold(None, None), *(Threshold(level, passed(trials, level)) for level in at))
        return Psychometric("flat", note, trials.cells, len(trials.right), thresholds, rise_p=rising)
    fits, drawn = goodness(task, best, right, total, resamples, rng)
    kind: Intervals = "profile" if not trials.repeated else "sources" if len(trials.right) > 1 else "none"
    if kind == "sources":
        drawn = by_source(task, trials.right, trials.total, resamples, rng)

    def threshold(level: float | None) -> Threshold:
        value = axis.place(float(place_of(task, best, level)))
        if kind == "none":
            return Threshold(level, value)
        low, high = profile_interval(task, right, total, best, float(height), level, confidence)
        if kind == "sources":
            # Sources that all turn at one level are alike in every draw: only the profile knows of the gap beside it.
            drawn_low, drawn_high = ends_of(place_of(task, drawn, level), confidence)
            low, high = min(low, drawn_low), max(high, drawn_high)
        return Threshold(level, value, axis.place(low), axis.place(high))

    return Psychometric(
        "fitted",
        _note(trials, kind),
        trials.cells,
        len(trials.right),
        tuple(threshold(level) for level in (None, *at)),
        kind,
        _observer(best, axis),
        fits,
        rising,
        Curves(task, axis, best, drawn, confidence),
    )


def _note(trials: Trials, kind: Intervals) -> str:
    sources = len(trials.right)
    if kind == "none":
        return "all clips come from one source, so no interval can be had"
    if kind == "sources" and sources < FEW_SOURCES:
        return f"only {sources} sources: intervals are rough, and rather too narrow"
    return ""


def _observer(theta: Array, axis: Axis) -> Observer:
    low, high = rates(theta)
    return Observer(axis.level(float(theta[0])), float(np.exp(theta[1])) * axis.range, float(low), float(1 - high))
