"""The normal and the logistic distribution over arrays, which numpy lacks."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auricle.errors import UnsupportedError

Array = NDArray[np.float64]


def normal_cdf(z: ArrayLike) -> Array:
    """The share of a standard normal below each `z`, of any shape."""
    return np.asarray(_special().ndtr(z), dtype=np.float64)


def normal_quantile(share: ArrayLike) -> Array:
    """The inverse of `normal_cdf`; -inf at 0 and inf at 1."""
    return np.asarray(_special().ndtri(share), dtype=np.float64)


def logistic(z: ArrayLike) -> Array:
    """`1 / (1 + exp(-z))`, without overflow."""
    return np.asarray(_special().expit(z), dtype=np.float64)


def logit(share: ArrayLike) -> Array:
    """The inverse of `logistic`."""
    return np.asarray(_special().logit(share), dtype=np.float64)


@cache
def _special() -> Any:
    # Imported when first used, so that reading a manifest needs no scipy; it ships no types either.
    try:
        return importlib.import_module("scipy.special")
    except ModuleNotFoundError as error:
        if error.name != "scipy":
            raise
        raise UnsupportedError('statistics need scipy, which is not installed: pip install "auricle[eval]"') from None
