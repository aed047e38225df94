"""Our fits beside psignifit's (Schütt et al. 2016), which integrates over a grid where we climb and profile."""

from __future__ import annotations

import warnings

import numpy as np
import psignifit
import pytest
from scipy import stats

from auricle.evaluation.statistics import fit_psychometric
from auricle.evaluation.statistics.psychometric.priors import GUESS, LAPSE
from tests.evaluation.statistics.observers import Listener

THEIR_NAMES = {"logistic": "logistic", "gaussian": "norm", "weibull": "gumbel"}  # of log durations
LISTENERS = [
    Listener(80.0, 1.0, 0.3, 0.05),
    Listener(60.0, 0.8, 0.5, 0.02, "gaussian"),
    Listener(120.0, 0.9, 0.2, 0.03, "weibull"),
]


def theirs(listener: Listener, levels: np.ndarray, right: np.ndarray, **options: object) -> psignifit.Result:
    tested = np.array(listener.levels)
    counts = [[right[levels == one].sum(), (levels == one).sum()] for one in tested]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of guess rates that are high for a yes/no task
        return psignifit.psignifit(
            np.column_stack([np.log10(tested), counts]),
            experiment_type="yes/no",
            sigmoid=THEIR_NAMES[listener.shape],
            estimate_type="MAP",
            **options,
        )


@pytest.mark.parametrize("listener", LISTENERS, ids=lambda one: one.shape)
@pytest.mark.parametrize("seed", range(3))
def test_with_known_rates(listener: Listener, seed: int) -> None:
    """Two parameters, which 60 clips a level determine well: the same curve and the same interval."""
    levels, right, _ = listener.answers(60, seed)
    known = {"gamma": listener.guess, "lambda": listener.lapse, "eta": 0.0}
    found = theirs(listener, levels, right, fixed_parameters=known)
    share = listener.lapse / (1 - listener.guess)
    ours = fit_psychometric(
        levels, right, shape=listener.shape, guess=listener.guess, lapse=share, at=(0.75,), resamples=100
    )
    middle = ours.threshold(None)
    assert middle.value == pytest.approx(10 ** found.parameter_estimate["threshold"], rel=0.01)
    assert ours.observer.width == pytest.approx(found.parameter_estimate["width"], rel=0.05)
    low, high = 10 ** np.array(found.confidence_intervals["threshold"]["0.95"])
    assert (middle.low, middle.high) == pytest.approx((low, high), rel=0.08)  # theirs is a credible interval
    at_75, _ = found.threshold(0.75, unscaled=False)
    assert ours.threshold(0.75).value == pytest.approx(10**at_75, rel=0.02)


@pytest.mark.parametrize("listener", LISTENERS, ids=lambda one: one.shape)
@pytest.mark.parametrize("seed", range(3))
def test_with_free_rates_under_our_priors(listener: Listener, seed: int) -> None:
    """Their own prior of the guess rate is for yes/no tasks, small: a preference for an answer goes past it."""
    levels, right, _ = listener.answers(60, seed)
    priors = {
        "gamma": lambda rate: stats.beta.pdf(rate, GUESS.a, GUESS.b),
        "lambda": lambda rate: stats.beta.pdf(rate, LAPSE.a, LAPSE.b),
    }
    bounds = {"gamma": (0.0, 0.9), "lambda": (0.0, 0.5)}
    found = theirs(listener, levels, right, priors=priors, bounds=bounds, fixed_parameters={"eta": 0.0})
    ours = fit_psychometric(levels, right, shape=listener.shape, at=(0.75,), resamples=100)
    at_75, _ = found.threshold(0.75, unscaled=False)
    assert ours.threshold(0.75).value == pytest.approx(10**at_75, rel=0.03)
    assert ours.threshold(None).value == pytest.approx(10 ** found.parameter_estimate["threshold"], rel=0.06)
    # Profile and credible interval part where the guess rate is open: the lower end then hardly exists.
    _, high = 10 ** np.array(found.confidence_intervals["threshold"]["0.95"])
    assert ours.threshold(None).high == pytest.approx(high, rel=0.2)
