"""Simulated observers: listeners whose curve is known, to see whether a fit finds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from auricle.evaluation.statistics import Psychometric, fit_psychometric

DURATIONS_MS = (20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 500.0, 1000.0)
SNRS_DB = (-10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0)


@dataclass(frozen=True)
class Listener:
    """How often it is right at a level: `guess` below all, `1 - lapse` above, halfway at `midpoint`.

    Written down here once more, by other formulas than in the package: z of F is 0 at the midpoint.
    """

    midpoint: float
    width: float  # from 5 to 95 % of F: in decades of ms, or in dB
    guess: float
    lapse: float
    shape: str = "logistic"
    levels: tuple[float, ...] = DURATIONS_MS
    scale: str = "log"
    sources_differ: float = 0.0  # standard deviation of the midpoint over sources, in decades or in dB

    def right(self, levels: np.ndarray, shift: np.ndarray | float = 0.0) -> np.ndarray:
        turn = np.log10 if self.scale == "log" else np.asarray
        place = (turn(levels) - turn(self.midpoint) - shift) / self.width
        if self.shape == "logistic":
            share = 1 / (1 + np.exp(-place * 2 * np.log(19)))
        elif self.shape == "gaussian":
            share = stats.norm.cdf(place * 2 * stats.norm.ppf(0.95))
        else:  # Weibull: 1 - 2 ** -(level / midpoint) ** slope
            slope = np.log(np.log(20) / -np.log(0.95)) / (self.width * np.log(10))
            share = 1 - 0.5 ** (10 ** (place * self.width * slope))
        return self.guess + (1 - self.guess - self.lapse) * share

    def threshold(self, level: float) -> float:
        """Where the mean over all sources there could be is right so often; by trying."""
        turned = np.linspace(-2.0, 6.0, 100_001) if self.scale == "log" else np.linspace(-60.0, 60.0, 100_001)
        levels = 10**turned if self.scale == "log" else turned
        places, weights = np.polynomial.hermite_e.hermegauss(31)
        mean = sum(
            weight * self.right(levels, self.sources_differ * place)
            for place, weight in zip(places, weights / weights.sum(), strict=True)
        )
        return float(np.interp(level, mean, levels))

    def answers(self, clips: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[int] | None]:
        """Levels, answers and sources of so many clips a level; sources that differ are heard once at every level."""
        rng = np.random.default_rng([seed, clips])
        if not self.sources_differ:
            levels = np.repeat(self.levels, clips)
            return levels, rng.random(len(levels)) < self.right(levels), None
        levels = np.tile(self.levels, clips)
        sources = np.repeat(np.arange(clips), len(self.levels))
        shift = rng.normal(0, self.sources_differ, clips)[sources]
        return levels, rng.random(len(levels)) < self.right(levels, shift), sources.tolist()


def answered(right: list[int], total: int, levels: tuple[float, ...] = DURATIONS_MS) -> tuple[list[float], list[bool]]:
    """Rows of `right` out of `total` answers at each level."""
    return (
        [level for level in levels for _ in range(total)],
        [clip < hits for hits in right for clip in range(total)],
    )


def fitted(right: list[int], total: int, **options: object) -> Psychometric:
    levels, answers = answered(right, total)
    return fit_psychometric(levels, answers, resamples=200, **options)  # type: ignore[arg-type]
