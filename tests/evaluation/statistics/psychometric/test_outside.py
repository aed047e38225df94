"""Thresholds outside the tested range, and data without a curve: results that say so."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.errors import OptionError
from auricle.evaluation.statistics import fit_psychometric
from tests.evaluation.statistics.observers import DURATIONS_MS, Listener, fitted


class TestCensored:
    """The mistake: values past the tested range given as numbers, and intervals such as [20, 20]."""

    def test_a_threshold_past_the_range_is_a_side(self) -> None:
        found = fitted([10, 11, 10, 12, 15, 20, 25, 29], 50)  # up to 58 %
        one = found.threshold(0.75)
        assert (found.status, one.value, one.censored, one.high) == ("fitted", "above", "above", "above")
        assert "above the tested range" in one.told("ms")

    def test_and_below(self) -> None:
        found = fitted([41, 43, 44, 47, 48, 49, 50, 50], 50)  # from 82 %
        one = found.threshold(0.75)
        assert (found.status, one.value, one.low) == ("fitted", "below", "below")
        assert isinstance(one.high, str) or one.high < 60

    def test_an_end_past_the_range_has_no_number(self) -> None:
        found = fitted([10, 11, 14, 17, 20, 26, 32, 39], 50)  # 78 % at the last
        one = found.threshold(0.75)
        assert isinstance(one.value, float)
        assert (one.high, one.low < one.value) == ("above", True)

    @pytest.mark.parametrize("seed", range(6))
    def test_no_interval_is_a_point_or_leaves_its_value_out(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        listener = Listener(float(rng.choice([8, 25, 700, 3000])), 0.6, 0.3, 0.02, sources_differ=0.1)
        found = fit_psychometric(*listener.answers(30, seed), at=(0.5, 0.75, 0.9), resamples=200)
        order = {"below": -np.inf, "above": np.inf}
        for one in found.thresholds:
            low, value, high = (
                order.get(end, end) if isinstance(end, str) else end for end in (one.low, one.value, one.high)
            )
            if low is None:
                assert found.status != "fitted"
                continue
            assert low <= value <= high
            assert low < high or low in (-np.inf, np.inf)
            for end in (low, value, high):
                assert np.isinf(end) or 20 <= end <= 1000

    def test_a_known_guess_rate_above_the_level_is_below_everything(self) -> None:
        found = fitted([20, 24, 28, 34, 38, 40, 40, 40], 40, guess=0.5, at=(0.4, 0.75))
        assert found.threshold(0.4).value == "below"
        assert found.threshold(0.4).low == found.threshold(0.4).high == "below"
        assert isinstance(found.threshold(0.75).value, float)


class TestNoCurve:
    """Results that say so, and no exception in the middle of a report."""

    def test_all_right(self) -> None:
        found = fitted([20] * 8, 20)
        assert (found.status, found.note) == ("all right", "all of 160 answers are right, at every level")
        assert found.threshold(0.75).value == "below"
        assert found.threshold(0.75).low is None  # and no [20, 20]
        assert found.threshold(None).value is None
        assert found.observer is None

    def test_all_wrong(self) -> None:
        found = fitted([0] * 8, 20)
        assert (found.status, found.threshold(0.75).value) == ("all wrong", "above")

    def test_nothing_at_all(self) -> None:
        found = fit_psychometric([], [])
        assert (found.status, found.note, found.points) == ("too few levels", "no clip was answered", ())

    def test_one_level(self) -> None:
        found = fit_psychometric([100.0] * 20, [True] * 15 + [False] * 5)
        assert (found.status, found.threshold(0.75).value) == ("too few levels", None)
        assert found.note == "1 different level(s), and a curve needs 4: test more levels"

    def test_levels_that_were_measured(self) -> None:
        rng = np.random.default_rng(0)
        found = fit_psychometric(rng.uniform(-10, 20, 300), rng.random(300) < 0.7, scale="linear")
        assert found.status == "too many levels"
        assert found.note == "300 different levels, more than 256: fit nominal levels"

    def test_chance_is_flat(self) -> None:
        found = fitted([21, 19, 20, 18, 22, 20, 19, 21], 40, at=(0.6, 0.75))
        assert (found.status, found.threshold(None).value, found.observer) == ("flat", None, None)
        assert "50.0% right, and no more of a rise with the level than chance gives (p " in found.note
        assert found.rise_p > 0.05
        assert found.threshold(0.75).value == "above"  # 21 of 40 at the longest: at most 67 %
        assert found.threshold(0.6).value is None  # which they leave open

    def test_a_flat_listener_that_is_nearly_always_right_has_its_threshold_below(self) -> None:
        found = fitted([39, 40, 38, 39, 40, 39, 40, 39], 40, at=(0.75, 0.95))
        assert (found.status, found.threshold(0.75).value, found.threshold(0.75).low) == ("flat", "below", None)
        assert found.threshold(0.95).value is None

    def test_falling_is_not_rising(self) -> None:
        """As a class has it that a listener says less and less often, the more it hears."""
        assert fitted([38, 36, 33, 28, 20, 14, 9, 6], 40).status == "flat"

    def test_a_flat_listener_is_seldom_given_a_curve(self) -> None:
        rng = np.random.default_rng(0)
        levels = np.repeat(DURATIONS_MS, 15)
        found = [fit_psychometric(levels, rng.random(120) < 0.6, resamples=60).status for _ in range(60)]
        assert set(found) == {"flat", "fitted"}
        assert found.count("fitted") <= 8

    def test_what_cannot_be_drawn_says_why(self) -> None:
        found = fitted([20] * 8, 20)
        for draw in (found.curve, found.band):
            with pytest.raises(OptionError, match=r"there is no curve to draw \(all right: all of 160 answers"):
                draw([100.0])

    def test_a_threshold_that_was_not_asked_for(self) -> None:
        with pytest.raises(
            OptionError, match=r"there is no threshold at 0\.5, only at the midpoint, 0\.75: name it in"
        ):
            fitted([20] * 8, 20).threshold(0.5)
