"""Data sets drawn anew: whole sources for intervals, single trials for goodness of fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auricle.evaluation.statistics.psychometric.observer import Task, curve, deviance, log_likelihood
from auricle.evaluation.statistics.psychometric.search import most_probable
from auricle.evaluation.statistics.special import Array


def by_source(task: Task, right: Array, total: Array, resamples: int, rng: np.random.Generator) -> Array:
    """The most probable observers, `(resamples, 4)`, of data sets made of sources drawn with replacement.

    A source comes with all its clips, at every level: they share a voice, a room and a microphone, so they are hard or
    easy together, and counted as independent they would make intervals that miss the truth a quarter of the time.

    Args:
        right, total: `(sources, levels)`.
    """
    sources = len(right)
    times = rng.multinomial(sources, np.full(sources, 1 / sources), resamples).astype(np.float64)
    return most_probable(task, times @ right, times @ total)[0]


def ends_of(places: Array, confidence: float) -> tuple[float, float]:
    """The middle share of places on the axis, of which some may be infinite; an end outside 0 to 1 is infinite."""
    sides = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = (float(end) for end in np.quantile(places, sides, method="inverted_cdf"))
    return _open(low), _open(high)


def _open(end: float) -> float:
    return end if 0 <= end <= 1 else float(np.copysign(np.inf, end - 0.5))


@dataclass(frozen=True)
class Goodness:
    """How well a curve explains the trials: its deviance beside that of curves that are right by construction."""

    deviance: float
    degrees: int  # levels less free parameters
    p: float  # of as much deviance or more; small where the curve's shape is wrong, or trials depend on each other


def goodness(
    task: Task, theta: Array, right: Array, total: Array, resamples: int, rng: np.random.Generator
) -> tuple[Goodness | None, Array]:
    """Deviance with its chance by Monte Carlo (Wichmann & Hill 2001a): chi-square is wrong for few trials a level.

    Every simulated data set gets a fit of its own, as the real one did.

    Args:
        theta: `(4,)`; right, total: `(levels,)`.

    Returns:
        None where there are no more levels than parameters; and the simulated observers, `(resamples, 4)`.
    """
    psi = curve(task, theta, task.axis)
    drawn = rng.binomial(total.astype(np.int64), psi, (resamples, len(psi))).astype(np.float64)
    totals = np.broadcast_to(total, drawn.shape)
    refitted, _ = most_probable(task, drawn, totals)
    degrees = len(psi) - len(task.free)
    if degrees < 1:
        return None, refitted
    seen = float(deviance(psi, right, total))
    simulated = deviance(curve(task, refitted, task.axis), drawn, totals)
    return Goodness(seen, degrees, _chance(seen, simulated)), refitted


def rise(task: Task, theta: Array, right: Array, total: Array, resamples: int, rng: np.random.Generator) -> float:
    """How likely trials that don't depend on the level would look as much like a rising curve as these do.

    By Monte Carlo of the likelihood ratio against one share for all levels: a flat curve has no midpoint, so the ratio
    is no chi-square (Davies 1977). Trials count as independent, which is careful where each source was heard at every
    level.
    """
    share = right.sum() / total.sum()

    def gain(observers: Array, correct: Array) -> Array:
        totals = np.broadcast_to(total, correct.shape)
        level = (correct.sum(-1) / total.sum())[..., None] * np.ones_like(total)
        rising = log_likelihood(curve(task, observers, task.axis), correct, totals)
        return np.asarray(rising - log_likelihood(level, correct, totals))

    drawn = rng.binomial(total.astype(np.int64), share, (resamples, len(total))).astype(np.float64)
    refitted, _ = most_probable(task, drawn, np.broadcast_to(total, drawn.shape))
    return _chance(float(gain(theta, right)), gain(refitted, drawn))


def _chance(seen: float, simulated: Array) -> float:
    # The data set itself counts as one draw, so that no chance is 0 (Davison & Hinkley 1997, eq. 4.11).
    return float((1 + (simulated >= seen - 1e-9).sum()) / (1 + len(simulated)))
