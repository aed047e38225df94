"""How far a threshold can be moved before the trials object: the interval by profile likelihood.

A place on the axis is inside when the best observer with its threshold there has a log-posterior no more than half of
chi-square's quantile (1 degree) below the best of all (Venzon & Moolgavkar 1988). Ends need not be alike on both sides,
and where the trials never object, there is no end. Trials count as independent here; where sources repeat, whole
sources are drawn anew instead (`resampling.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from auricle.evaluation.statistics.psychometric.observer import Task, place_of
from auricle.evaluation.statistics.psychometric.priors import Beta
from auricle.evaluation.statistics.psychometric.search import climb, log_posterior
from auricle.evaluation.statistics.special import Array, logistic, logit, normal_quantile

PLACES = 33  # tried over the tested range
FINER = 9  # tried between two of them, where an end lies


def profile_interval(
    task: Task, right: Array, total: Array, best: Array, height: float, level: float | None, confidence: float
) -> tuple[float, float]:
    """The ends between which a threshold lies, on the axis.

    Args:
        right: `(levels,)`, trials answered right.
        total: the same of all trials.
        best: the most probable observer, `(4,)`, and its log-posterior, `height`.
        level: the psi of the threshold; None is the midpoint.

    Returns:
        -inf for an end below the tested range, inf for one above it: both of one sign if all of the interval is there.
    """
    guess = task.priors.guess
    if level is not None and not isinstance(guess, Beta) and guess >= level:
        return -np.inf, -np.inf  # whoever hears nothing is right that often
    edge = float(normal_quantile((1 + confidence) / 2))
    estimate = float(place_of(task, best, level))

    def room(places: Array) -> Array:
        """Above 0 inside. In standard errors, in which it falls nearly straight, so that zeros can be read off."""
        return edge - np.sqrt(2 * np.maximum(height - _heights(task, right, total, best, level, places), 0))

    places = np.unique(np.append(np.linspace(0, 1, PLACES), estimate if 0 < estimate < 1 else 0.5))
    found = room(places)
    inside = np.flatnonzero(found >= 0)
    if not len(inside):
        beyond = np.inf if estimate > 0.5 else -np.inf
        return beyond, beyond
    first, last = int(inside[0]), int(inside[-1])
    low = -np.inf if first == 0 else _end(room, places[first], places[first - 1])
    high = np.inf if last == len(places) - 1 else _end(room, places[last], places[last + 1])
    return low, high


def _end(room: Callable[[Array], Array], inner: float, outer: float) -> float:
    """Where the room ends between a place inside and one outside."""
    places = np.linspace(inner, outer, FINER)
    found = room(places)
    out = int(np.argmax(found < 0))
    if out == 0:  # by rounding, one of both has changed sides
        return inner if found[0] < 0 else outer
    share = found[out - 1] / (found[out - 1] - found[out])
    return float(places[out - 1] + share * (places[out] - places[out - 1]))


def _heights(task: Task, right: Array, total: Array, best: Array, level: float | None, places: Array) -> Array:
    """The log-posterior of the best observer with its threshold at each place, `(places,)`."""
    starts = _starts(task, best, level)
    observer = _midpoint_at if level is None else _threshold_at
    grid = observer(task, np.repeat(places, len(starts)), level, np.tile(starts, (len(places), 1)))
    tried = log_posterior(task, grid, right, total).reshape(len(places), len(starts))
    start = starts[tried.argmax(1)]
    _, found = climb(
        task,
        lambda coordinates, rows: observer(task, places[rows], level, coordinates),
        start,
        np.broadcast_to(right, (len(places), len(right))),
        np.broadcast_to(total, (len(places), len(total))),
    )
    return found


# The coordinates of an observer whose threshold is held: ln width, then guess and lapse where they are free.


def _midpoint_at(task: Task, places: Array, level: float | None, coordinates: Array) -> Array:
    theta = _fixed(task, len(coordinates))
    theta[:, 0] = places
    theta[:, task.free[1:]] = coordinates
    return theta


def _threshold_at(task: Task, places: Array, level: float | None, coordinates: Array) -> Array:
    """Only observers that reach the level: their guess rate is a share of it, their lapse rate one of the rest."""
    assert level is not None
    theta = _fixed(task, len(coordinates))
    theta[:, 1] = coordinates[:, 0]
    guess = logistic(theta[:, 2])
    if 2 in task.free:
        guess = level * logistic(coordinates[:, task.free.index(2) - 1])
        theta[:, 2] = logit(guess)
    if 3 in task.free:
        theta[:, 3] = logit((1 - level) * logistic(coordinates[:, task.free.index(3) - 1]) / (1 - guess))
    # With the midpoint at 0, the threshold is somewhere: that far the curve has to move.
    theta[:, 0] = 0.0
    theta[:, 0] = places - np.clip(place_of(task, theta, level), -_FAR, _FAR)
    return theta


def _fixed(task: Task, count: int) -> Array:
    guess, lapse = (0.5 if isinstance(rate, Beta) else rate for rate in (task.priors.guess, task.priors.lapse))
    return np.tile([0.0, 0.0, *logit(np.array([guess, lapse]))], (count, 1))


def _starts(task: Task, best: Array, level: float | None) -> Array:
    """Coordinates to begin from, `(starts, coordinates)`: the best observer's among others."""
    widths = np.append(np.log([0.05, 0.15, 0.4, 1.0]), best[1])
    shares = logit(np.array([0.03, 0.2, 0.5, 0.8, 0.97]))
    axes = [widths, *([shares] * (len(task.free) - 2))]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


_FAR = 1e3  # in tested ranges: further than any observer goes
