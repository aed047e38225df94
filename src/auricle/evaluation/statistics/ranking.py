"""What a score tells of a class whatever its threshold: ROC, precision and recall, and their summaries.

Rows with the same score rise and fall together: no threshold can part them, so they are one step of a curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from auricle.evaluation.statistics.rows import flags, numbers, same_length
from auricle.evaluation.statistics.special import Array


@dataclass(frozen=True, eq=False)
class Steps:
    """What is called positive as the threshold falls, from nothing to everything."""

    thresholds: Array  # (steps,) inf, then each different score, falling; positive is said from the threshold up
    hits: Array  # (steps,) positive rows that are called so
    false_alarms: Array
    positives: int
    negatives: int


@dataclass(frozen=True, eq=False)
class Roc:
    """Hit rate over false alarm rate; empty, and without an area, where a class has no row."""

    thresholds: Array  # (points,) falling, the first inf
    false_alarm_rate: Array  # (points,) from 0 to 1
    hit_rate: Array
    auc: float | None  # the chance that a positive scores above another, ties half (Hanley & McNeil 1982)


@dataclass(frozen=True, eq=False)
class Pr:
    """Precision over recall; empty, and without an average, where there is no positive row."""

    thresholds: Array  # (points,) falling; each different score
    recall: Array  # (points,) rising to 1
    precision: Array
    average_precision: float | None  # each gain of recall times the precision there, without interpolation
    prevalence: float | None  # the share of positive rows, which is the average precision of chance


def steps_of(positive: ArrayLike, score: ArrayLike) -> Steps:
    """
    Raises:
        OptionError: columns of different lengths, a score that is no finite number, a class not true or false.
    """
    event, value = flags("positive", positive), numbers("score", score)
    same_length(positive=event, score=value)
    order = np.argsort(-value, kind="stable")
    event, value = event[order], value[order]
    last = np.flatnonzero(np.append(value[1:] != value[:-1], len(value) > 0))  # of each run of equal scores
    hits = np.append(0, np.cumsum(event)[last]).astype(np.float64)
    called = np.append(0, last + 1)
    positives = int(event.sum())
    return Steps(np.append(np.inf, value[last]), hits, called - hits, positives, len(event) - positives)


def roc(positive: ArrayLike, score: ArrayLike) -> Roc:
    """The curve of a score, with a point for each different value and none interpolated.

    Args:
        positive: `(rows,)`, true or false.
        score: `(rows,)`, higher for the positive class; a probability or anything that orders clips.
    """
    steps = steps_of(positive, score)
    if not steps.positives or not steps.negatives:
        none = np.empty(0)
        return Roc(none, none, none, None)
    hit, false_alarm = steps.hits / steps.positives, steps.false_alarms / steps.negatives
    return Roc(steps.thresholds, false_alarm, hit, float(np.trapezoid(hit, false_alarm)))


def pr(positive: ArrayLike, score: ArrayLike) -> Pr:
    """As `roc`, for precision and recall."""
    steps = steps_of(positive, score)
    rows = steps.positives + steps.negatives
    prevalence = steps.positives / rows if rows else None
    if not steps.positives:
        none = np.empty(0)
        return Pr(none, none, none, None, prevalence)
    recall = steps.hits / steps.positives
    precision = steps.hits[1:] / (steps.hits + steps.false_alarms)[1:]
    average = float((np.diff(recall) * precision).sum())
    return Pr(steps.thresholds[1:], recall[1:], precision, average, prevalence)


def eer(positive: ArrayLike, score: ArrayLike) -> float | None:
    """The equal error rate: where as large a share of positives is missed as of others is called positive.

    Between two points of the ROC that it lies between, on the straight line that joins them. It describes the score;
    a threshold to decide by is chosen with `threshold_from_dev`. None where a class has no row.
    """
    found = roc(positive, score)
    if found.auc is None:
        return None
    # 1 - hit rate falls from 1 and the false alarm rate rises to 1, so that their difference crosses 0 just once.
    apart = found.false_alarm_rate - (1 - found.hit_rate)
    above = int(np.argmax(apart >= 0))
    share = -apart[above - 1] / (apart[above] - apart[above - 1])
    before, after = found.false_alarm_rate[above - 1], found.false_alarm_rate[above]
    return float(before + share * (after - before))
