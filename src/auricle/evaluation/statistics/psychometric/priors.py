"""What is assumed of an observer before a trial is seen: little, and written down.

Guess and lapse rates are free, and both are badly determined by few trials: a likelihood alone then puts them at 0, or
lets the width run to nothing or without end, and takes thresholds along (Wichmann & Hill 2001a). Weak priors hold what
the data leave open, as in psignifit (Schütt et al. 2016), and count for about as much as a trial or ten:

- midpoint: normal around the middle of the tested range, its standard deviation the whole range;
- width: log-normal around half the tested range; 95 % lie between a fourteenth of it and three and a half times it;
- guess rate: Beta(1.2, 1.2), nearly flat from 0 to 1. Whoever prefers one answer is right by it at any rate at all on
  clips of one class, so nothing like 1/2 can be assumed; where a task does fix the rate, give it as a number;
- lapse share: Beta(1.2, 8), below 0.4 with 97.5 %.

All are smooth and fall to 0 at the bounds, so that the most probable observer is found by Newton's steps. The lapse
share is that of trials on which the observer guesses though the clip was clear; the curve then ends at `1 - lapse` with
`lapse = share * (1 - guess)`, which keeps every observer's curve rising.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auricle.errors import OptionError
from auricle.evaluation.statistics.special import Array, logistic
from auricle.types.checks import require


@dataclass(frozen=True)
class Beta:
    """A prior of a rate: as if `a - 1` events and `b - 1` others had been seen already."""

    a: float
    b: float

    def __post_init__(self) -> None:
        for name in ("a", "b"):
            require(getattr(self, name) > 1, name, getattr(self, name), "above 1, so that the rate stays inside 0 to 1")


Rate = Beta | float
"""A rate that is free under a prior, or fixed."""

GUESS = Beta(1.2, 1.2)
LAPSE = Beta(1.2, 8.0)
MIDPOINT = (0.5, 1.0)  # mean and standard deviation, in tested ranges from the lowest level
LOG_WIDTH = (float(np.log(0.5)), 1.0)


@dataclass(frozen=True)
class Priors:
    """Of observers `(..., 4)`: midpoint and ln width in tested ranges, logits of the guess rate and the lapse share."""

    guess: Rate = GUESS
    lapse: Rate = LAPSE

    def __post_init__(self) -> None:
        for name in ("guess", "lapse"):
            rate = getattr(self, name)
            if not isinstance(rate, Beta) and not 0 <= rate < 1:
                raise OptionError(f"{name} is {rate}; it must be from 0 up to below 1, or a Beta prior")

    def log_density(self, theta: Array) -> Array:
        """Up to a constant, `(...)`. It is a density of the rates themselves, not of their logits."""
        found = np.zeros(theta.shape[:-1])
        for place, (mean, deviation) in enumerate((MIDPOINT, LOG_WIDTH)):
            found -= 0.5 * ((theta[..., place] - mean) / deviation) ** 2
        for place, rate in self._betas():
            found -= (rate.a - 1) * np.logaddexp(0, -theta[..., place])  # ln of a logistic, without overflow
            found -= (rate.b - 1) * np.logaddexp(0, theta[..., place])
        return found

    def slope(self, theta: Array) -> Array:
        """The gradient of `log_density` by theta, `(..., 4)`."""
        found = np.zeros_like(theta)
        for place, (mean, deviation) in enumerate((MIDPOINT, LOG_WIDTH)):
            found[..., place] = (mean - theta[..., place]) / deviation**2
        for place, rate in self._betas():
            share = logistic(theta[..., place])
            found[..., place] = (rate.a - 1) * (1 - share) - (rate.b - 1) * share
        return found

    def curvature(self, theta: Array) -> Array:
        """The diagonal of the negative Hessian of `log_density`, `(..., 4)`; all else in it is 0."""
        found = np.zeros_like(theta)
        for place, (_, deviation) in enumerate((MIDPOINT, LOG_WIDTH)):
            found[..., place] = 1 / deviation**2
        for place, rate in self._betas():
            share = logistic(theta[..., place])
            found[..., place] = (rate.a + rate.b - 2) * share * (1 - share)
        return found

    def _betas(self) -> list[tuple[int, Beta]]:
        return [(place, rate) for place, rate in ((2, self.guess), (3, self.lapse)) if isinstance(rate, Beta)]
