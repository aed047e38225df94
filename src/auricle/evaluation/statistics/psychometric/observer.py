"""An observer: four numbers that make a curve, and how well they explain the trials.

    psi(x) = guess + (1 - guess - lapse) * F(middle + (x - midpoint) * spread / width)

(Wichmann & Hill 2001a, in the midpoint and width of Schütt et al. 2016). Observers come in arrays `theta`, `(..., 4)`:
midpoint and ln width, logit of the guess rate, logit of the lapse share. The axis is the tested range, from 0 to 1, so
that milliseconds and decibels are searched alike. Everything here runs for thousands of observers and data sets at
once, which is what makes a bootstrap that fits every resample take a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auricle.evaluation.statistics.psychometric.priors import Beta, Priors
from auricle.evaluation.statistics.psychometric.shapes import Shape
from auricle.evaluation.statistics.special import Array, logistic

EDGE = 1e-10  # probabilities stay this far from 0 and 1, so that one impossible trial doesn't decide everything


@dataclass(frozen=True, eq=False)
class Task:
    """What stays the same over all data sets that are fitted together."""

    axis: Array  # (levels,) each tested level once, from 0 at the lowest to 1 at the highest
    shape: Shape
    priors: Priors

    @property
    def free(self) -> tuple[int, ...]:
        """Which of the four parameters are not fixed."""
        rates = ((2, self.priors.guess), (3, self.priors.lapse))
        return (0, 1, *(place for place, rate in rates if isinstance(rate, Beta)))


def rates(theta: Array) -> tuple[Array, Array]:
    """Where curves begin and where they end: `guess` and `1 - lapse`, each `(...)`."""
    guess = logistic(theta[..., 2])
    return guess, guess + (1 - guess) * logistic(-theta[..., 3])


def curve(task: Task, theta: Array, axis: Array) -> Array:
    """psi, `(..., points)`, of observers `(..., 4)` at points `(points,)` of the axis."""
    low, high = rates(theta)
    return np.asarray(low[..., None] + (high - low)[..., None] * task.shape.cdf(_z(task.shape, theta, axis)))


def slopes(task: Task, theta: Array) -> tuple[Array, Array]:
    """psi at the tested levels, `(..., levels)`, and its derivatives by theta, `(..., levels, 4)`."""
    z = _z(task.shape, theta, task.axis)
    share, steep = task.shape.cdf(z), task.shape.slope(z)
    guess, lapse = logistic(theta[..., 2])[..., None], logistic(theta[..., 3])[..., None]
    height = (1 - guess) * (1 - lapse)
    by = np.empty((*z.shape, 4))
    by[..., 0] = -height * steep * (task.shape.spread / np.exp(theta[..., 1]))[..., None]
    by[..., 1] = -height * steep * (z - task.shape.middle)
    by[..., 2] = guess * (1 - guess) * (1 - (1 - lapse) * share)
    by[..., 3] = -lapse * (1 - lapse) * (1 - guess) * share
    return guess + height * share, by


def log_likelihood(psi: Array, right: Array, total: Array) -> Array:
    """Binomial, without the coefficients, which no parameter changes; summed over the last axis."""
    psi = np.clip(psi, EDGE, 1 - EDGE)
    return np.asarray((right * np.log(psi) + (total - right) * np.log1p(-psi)).sum(-1))


def deviance(psi: Array, right: Array, total: Array) -> Array:
    """Twice the log-likelihood that a curve through every point has more (Wichmann & Hill 2001a, eq. 6)."""
    share = right / np.maximum(total, 1)
    return np.maximum(2 * (log_likelihood(share, right, total) - log_likelihood(psi, right, total)), 0.0)


def place_of(task: Task, theta: Array, level: float | None) -> Array:
    """Where on the axis curves reach a level of psi, `(...)`; None is the midpoint, F = 0.5.

    -inf where a curve begins above the level, inf where it ends below.
    """
    if level is None:
        return np.asarray(theta[..., 0])
    low, high = rates(theta)
    share = np.clip((level - low) / (high - low), 0.0, 1.0)
    with np.errstate(divide="ignore"):  # 0 and 1 become -inf and inf, as promised
        z = task.shape.inverse(share)
    return np.asarray(theta[..., 0] + (z - task.shape.middle) * np.exp(theta[..., 1]) / task.shape.spread)


def _z(shape: Shape, theta: Array, axis: Array) -> Array:
    distance = axis - theta[..., 0, None]
    return np.asarray(shape.middle + distance * (shape.spread / np.exp(theta[..., 1]))[..., None])
