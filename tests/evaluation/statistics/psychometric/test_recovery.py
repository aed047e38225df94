"""The bars that fits are held to: thresholds of simulated listeners within 5 %, and intervals that cover them.

Two hundred data sets for each listener, of 60 clips a level; `-s` prints what was measured.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auricle.evaluation.statistics import Threshold, fit_psychometric
from tests.evaluation.statistics.observers import SNRS_DB, Listener

SIMULATIONS = 200
CLIPS = 60  # a level
LISTENERS = {
    "prefers neither": Listener(80.0, 1.0, 0.3, 0.05),
    "guesses half right": Listener(60.0, 0.8, 0.5, 0.02),
    "rises slowly": Listener(150.0, 1.3, 0.1, 0.1),
    "gaussian": Listener(70.0, 0.6, 0.2, 0.03, "gaussian"),
    "weibull": Listener(90.0, 0.9, 0.3, 0.05, "weibull"),
    "snr": Listener(3.0, 15.0, 0.25, 0.04, levels=SNRS_DB, scale="linear"),
}
DIFFER = {"log": 0.15, "linear": 2.5}  # how far midpoints of sources lie apart: 40 %, or dB


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["profile", "sources"])
@pytest.mark.parametrize("name", LISTENERS)
def test_thresholds_are_recovered(name: str, kind: str) -> None:
    listener = LISTENERS[name]
    if kind == "sources":
        listener = replace(listener, sources_differ=DIFFER[listener.scale])
    levels = {"midpoint": listener.guess + (1 - listener.guess - listener.lapse) / 2, "75 %": 0.75}
    found = []
    for seed in range(SIMULATIONS):
        one = fit_psychometric(
            *listener.answers(CLIPS, seed), scale=listener.scale, shape=listener.shape, resamples=400, seed=seed
        )
        assert (one.status, one.intervals) == ("fitted", kind)
        found.append(one)
    for place, (words, level) in zip((None, 0.75), levels.items(), strict=True):
        truth = listener.threshold(level)
        thresholds = [one.threshold(place) for one in found]
        error = np.array([off(one, truth, listener) for one in thresholds])
        covered = np.mean([within(one, truth) for one in thresholds])
        print(
            f"\n{name}, {kind}, {words}: true {truth:.4g}; mean error {error.mean():+.1%}, "
            f"mean size of error {np.abs(error).mean():.1%}; 95 % intervals cover {covered:.1%}",
            end="",
        )
        assert abs(error.mean()) < 0.05
        assert 0.90 <= covered <= 0.98


def off(threshold: Threshold, truth: float, listener: Listener) -> float:
    """A duration's error is relative. That of an SNR, which has no zero, is a share of the tested range."""
    assert isinstance(threshold.value, float)
    if listener.scale == "log":
        return float(np.log(threshold.value / truth))
    return (threshold.value - truth) / (listener.levels[-1] - listener.levels[0])


def within(threshold: Threshold, truth: float) -> bool:
    low = -np.inf if threshold.low == "below" else threshold.low
    high = np.inf if threshold.high == "above" else threshold.high
    assert isinstance(low, float)
    assert isinstance(high, float)
    return low <= truth <= high
