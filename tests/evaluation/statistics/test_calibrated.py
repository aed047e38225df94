"""Calibration: by hand, against scikit-learn, and on probabilities that are true by construction."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from auricle.errors import OptionError
from auricle.evaluation.statistics import calibration, wilson


def test_by_hand() -> None:
    """Two bins: 0.2 and 0.4 with one of two true; 0.9, 0.9 and 1 with one of three."""
    found = calibration([True, False, True, False, False], [0.2, 0.4, 0.9, 0.9, 1.0], bins=2)
    low, high = found.bins
    assert (low.low, low.high, low.rows, low.share) == (0.0, 0.5, 2, 0.5)
    assert low.probability == pytest.approx(0.3)
    assert (high.rows, high.probability, high.share) == (3, pytest.approx(2.8 / 3), pytest.approx(1 / 3))
    assert (high.share_low, high.share_high) == wilson(1, 3)
    assert found.ece == pytest.approx(2 / 5 * 0.2 + 3 / 5 * (2.8 / 3 - 1 / 3))
    assert found.brier == pytest.approx((0.8**2 + 0.4**2 + 0.1**2 + 0.9**2 + 1) / 5)


def test_an_edge_belongs_below_it() -> None:
    found = calibration([True] * 4, [0.0, 0.1, 0.3, 1.0])
    assert [one.rows for one in found.bins] == [2, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert (found.bins[2].low, found.bins[2].high) == (0.2, 0.3)


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_as_sklearn(bins: int) -> None:
    rng = np.random.default_rng(bins)
    probability = rng.beta(0.7, 0.5, 3000)
    event = rng.random(3000) < probability**1.5
    found = calibration(event, probability, bins)
    share, mean = calibration_curve(event, probability, n_bins=bins)
    filled = [one for one in found.bins if one.rows]
    np.testing.assert_allclose([one.share for one in filled], share)
    np.testing.assert_allclose([one.probability for one in filled], mean)
    weights = [one.rows / 3000 for one in filled]
    assert found.ece == pytest.approx(float(np.dot(weights, np.abs(share - mean))))
    assert found.brier == pytest.approx(brier_score_loss(event, probability))


def test_true_probabilities_are_calibrated_and_sure_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(100_000)
    event = rng.random(100_000) < probability
    assert calibration(event, probability).ece < 0.01
    surer = np.where(probability > 0.5, 0.99, 0.01)
    assert calibration(event, surer).ece == pytest.approx(0.24, abs=0.01)


def test_no_row_has_no_error() -> None:
    found = calibration([], [], bins=4)
    assert (found.ece, found.brier, len(found.bins)) == (None, None, 4)
    assert found.bins[0].share is None


@pytest.mark.parametrize(
    ("event", "probability", "bins", "message"),
    [
        ([True], [1.5], 10, r"probability is 1\.5 in row 0; it must be from 0 to 1"),
        ([True], [0.5], 0, "bins is 0; it must be at least 1"),
        ([True], [0.5, 0.5], 10, "rows don't match: event 1, probability 2"),
    ],
)
def test_what_is_no_probability(event: list[bool], probability: list[float], bins: int, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        calibration(event, probability, bins)
