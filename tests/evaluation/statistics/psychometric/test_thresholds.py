"""A threshold outside the tested range is a side, and no number: the mistake was an interval such as [20, 20]."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.evaluation.statistics.psychometric.thresholds import Axis, Place, Threshold


class TestAxis:
    def test_durations_are_logarithmic(self) -> None:
        axis = Axis(10.0, 1000.0, "log")
        np.testing.assert_allclose(axis.unit(np.array([10.0, 100.0, 1000.0])), [0, 0.5, 1])
        assert axis.place(0.5) == pytest.approx(100)
        assert axis.range == pytest.approx(2)

    def test_decibels_are_not(self) -> None:
        axis = Axis(-10.0, 20.0, "linear")
        np.testing.assert_allclose(axis.unit(np.array([-10.0, 5.0, 20.0])), [0, 0.5, 1])
        assert (axis.place(0.5), axis.range) == (5.0, 30.0)

    @pytest.mark.parametrize(
        ("unit", "place"), [(-1e-9, "below"), (0.0, 20.0), (1.0, 800.0), (1.0001, "above"), (np.inf, "above")]
    )
    def test_outside_is_a_side(self, unit: float, place: Place) -> None:
        found = Axis(20.0, 800.0, "log").place(unit)
        assert found == place if isinstance(place, str) else found == pytest.approx(place)

    def test_a_parameter_may_be_outside(self) -> None:
        assert Axis(10.0, 100.0, "log").level(2.0) == pytest.approx(1000)


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (Threshold(0.75, 35.123, 28.4, 41.0), "35.1 ms (28.4 to 41 ms)"),
        (Threshold(0.75, 35.123), "35.1 ms"),
        (Threshold(0.75, 700.0, 520.0, "above"), "700 ms (from 520 ms, no upper end in the tested range)"),
        (Threshold(0.75, 25.0, "below", 31.0), "25 ms (to 31 ms, no lower end in the tested range)"),
        (Threshold(0.75, 60.0, "below", "above"), "60 ms (anywhere in the tested range, or outside)"),
        (
            Threshold(0.75, "above", 800.0, "above"),
            "above the tested range (from 800 ms, no upper end in the tested range)",
        ),
        (Threshold(0.75, "below", "below", "below"), "below the tested range"),
        (Threshold(0.75, "above", "above", "above"), "above the tested range"),
        (Threshold(0.75, None), "no threshold"),
    ],
)
def test_in_words(threshold: Threshold, words: str) -> None:
    assert threshold.told("ms") == words


def test_censored_says_the_side() -> None:
    assert Threshold(0.75, "below").censored == "below"
    assert Threshold(0.75, 20.0).censored is None
    assert Threshold(0.75, None).censored is None
