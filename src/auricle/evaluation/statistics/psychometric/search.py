"""The most probable observer for each of many data sets at once.

A likelihood with free guess and lapse rates has more than one hill. So the search starts from the best of some
thousand observers spread over all of them, which for all data sets together is one product of matrices, and climbs
from there by Fisher scoring, damped as Levenberg and Marquardt do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.statistics.psychometric.observer import (
    EDGE,
    Task,
    curve,
    log_likelihood,
    slopes,
)
from auricle.evaluation.statistics.psychometric.priors import Beta, Rate
from auricle.evaluation.statistics.special import Array, logit

STEPS = 200  # most data sets take ten to thirty; a few climb along a ridge for long
CONVERGED = 1e-7  # of log-posterior that the next step would still gain: far below what any interval could show
CHUNK = 4_000_000  # numbers that one product of starts and data sets may have

Rows = NDArray[np.int64]
Chart = Callable[[Array, Rows], Array]
"""From coordinates that are searched, `(rows, coordinates)`, of the data sets `(rows,)`, to observers, `(rows, 4)`."""


def most_probable(task: Task, right: Array, total: Array) -> tuple[Array, Array]:
    """The observers that explain the trials best under the priors, and their log-posteriors.

    Args:
        right: `(sets, levels)`, trials answered right.
        total: the same of all trials.

    Returns:
        Observers `(sets, 4)`, and `(sets,)`.
    """
    start = _best_start(task, right, total)
    free = list(task.free)

    def chart(coordinates: Array, rows: Rows) -> Array:
        theta = start[rows]
        theta[:, free] = coordinates
        return theta

    coordinates, value = climb(task, chart, start[:, free], right, total)
    return chart(coordinates, np.arange(len(start))), value


def climb(task: Task, chart: Chart, start: Array, right: Array, total: Array) -> tuple[Array, Array]:
    """From `(sets, coordinates)` up to the nearest hilltop, and how high that is, `(sets,)`."""
    here = start.copy()
    rows = np.arange(len(here))  # those that still climb
    height = log_posterior(task, chart(here, rows), right, total)
    damping = np.full(len(here), 1e-3)
    for _ in range(STEPS):
        if not len(rows):
            break
        slope, bend = _local(task, chart, here[rows], rows, right, total)
        diagonal = np.einsum("sii->si", bend)
        damped = bend + np.einsum("s,si,ij->sij", damping[rows], diagonal + 1e-9, np.eye(here.shape[1]))
        step = np.linalg.solve(damped, slope[..., None])[..., 0]
        there = here[rows] + np.clip(step, -_LONGEST, _LONGEST)
        new = log_posterior(task, chart(there, rows), right[rows], total[rows])
        up = new > height[rows]
        here[rows[up]], height[rows[up]] = there[up], new[up]
        damping[rows] = np.clip(np.where(up, damping[rows] / 5, damping[rows] * 4), 1e-9, 1e9)
        # A step that leads down although it promised next to nothing is rounding: that is the top as well.
        rows = rows[(step * slope).sum(-1) > CONVERGED]
    return here, height


def log_posterior(task: Task, theta: Array, right: Array, total: Array) -> Array:
    return log_likelihood(curve(task, theta, task.axis), right, total) + task.priors.log_density(theta)


def _local(task: Task, chart: Chart, here: Array, rows: Rows, right: Array, total: Array) -> tuple[Array, Array]:
    """Gradient `(rows, coordinates)` and expected curvature `(rows, coordinates, coordinates)`."""
    theta, right, total = chart(here, rows), right[rows], total[rows]
    turn = _turn(chart, here, rows)  # (rows, 4, coordinates)
    psi, by = slopes(task, theta)
    psi = np.clip(psi, EDGE, 1 - EDGE)
    spread = psi * (1 - psi)
    slope = np.einsum("sl,slp->sp", (right - total * psi) / spread, by) + task.priors.slope(theta)
    bend = (by * (total / spread)[..., None]).swapaxes(1, 2) @ by
    bend[:, range(4), range(4)] += task.priors.curvature(theta)
    return np.einsum("sp,spc->sc", slope, turn), turn.swapaxes(1, 2) @ bend @ turn


def _turn(chart: Chart, here: Array, rows: Rows) -> Array:
    """How observers move with coordinates, by central differences."""
    sides = []
    for place in range(here.shape[1]):
        move = np.zeros(here.shape[1])
        move[place] = _NEAR
        with np.errstate(invalid="ignore"):  # a rate fixed at 0 stays where it is: -inf minus -inf
            sides.append((chart(here + move, rows) - chart(here - move, rows)) / (2 * _NEAR))
    return np.nan_to_num(np.stack(sides, -1))


def _best_start(task: Task, right: Array, total: Array) -> Array:
    starts = _starts(task)
    psi = np.clip(curve(task, starts, task.axis), EDGE, 1 - EDGE)
    prior = task.priors.log_density(starts)
    by_right, by_wrong = np.log(psi).T, np.log1p(-psi).T  # (levels, starts)
    every = max(1, CHUNK // len(starts))
    best = [
        (right[i : i + every] @ by_right + (total - right)[i : i + every] @ by_wrong + prior).argmax(1)
        for i in range(0, len(right), every)
    ]
    return starts[np.concatenate(best)]


def _starts(task: Task) -> Array:
    midpoints = np.linspace(-0.25, 1.25, 19)
    widths = np.log([0.05, 0.12, 0.25, 0.5, 0.9, 1.6])
    guesses = _places(task.priors.guess, (0.02, 0.15, 0.35, 0.55, 0.75, 0.9))
    lapses = _places(task.priors.lapse, (0.01, 0.08, 0.3))
    return np.stack(np.meshgrid(midpoints, widths, guesses, lapses, indexing="ij"), -1).reshape(-1, 4)


def _places(rate: Rate, free: tuple[float, ...]) -> Array:
    return logit(np.array(free if isinstance(rate, Beta) else [rate]))


_LONGEST = 3.0  # of a step: in tested ranges, in ln width, or in a logit
_NEAR = 1e-5
