"""The shapes that a psychometric function can have between guessing and lapsing.

A shape is a distribution function F of `z`. The curve at a level x has `z = middle + (x - midpoint) * spread / width`:
so F is 0.5 at the midpoint, and goes from 0.05 to 0.95 over one width, whatever the shape (Schütt et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from auricle.evaluation.statistics.special import Array, logistic, logit, normal_cdf, normal_quantile
from auricle.types.checks import require_one_of

ShapeName = Literal["logistic", "gaussian", "weibull"]


@dataclass(frozen=True)
class Shape:
    """F, its slope and its inverse, each over arrays of any shape."""

    name: ShapeName
    cdf: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    inverse: Callable[[Array], Array]

    @property
    def middle(self) -> float:
        """The z at which F is 0.5."""
        return float(self.inverse(np.array(0.5)))

    @property
    def spread(self) -> float:
        """The z between F = 0.05 and F = 0.95."""
        low, high = self.inverse(np.array([0.05, 0.95]))
        return float(high - low)


def shape_named(name: str) -> Shape:
    """
    Raises:
        OptionError: there is no such shape.
    """
    require_one_of("shape", name, get_args(ShapeName))
    return _SHAPES[name]


def _logistic_slope(z: Array) -> Array:
    return logistic(z) * logistic(-z)


def _normal_slope(z: Array) -> Array:
    return np.asarray(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


# A Weibull function of a duration is a Gumbel function (of the smallest value) of its logarithm.
def _gumbel(z: Array) -> Array:
    return np.asarray(-np.expm1(-np.exp(np.minimum(z, _LARGE))))


def _gumbel_slope(z: Array) -> Array:
    z = np.minimum(z, _LARGE)
    return np.asarray(np.exp(z - np.exp(z)))


def _gumbel_inverse(share: Array) -> Array:
    return np.asarray(np.log(-np.log1p(-share)))


_LARGE = 50.0  # exp(-exp(50)) is 0 in float64, and exp(50) is far from its end

_SHAPES = {
    "logistic": Shape("logistic", logistic, _logistic_slope, logit),
    "gaussian": Shape("gaussian", normal_cdf, _normal_slope, normal_quantile),
    "weibull": Shape("weibull", _gumbel, _gumbel_slope, _gumbel_inverse),
}
