"""Fits of simulated listeners: curves, goodness, sources, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from auricle.errors import OptionError
from auricle.evaluation.statistics import Priors, Psychometric, fit_psychometric
from auricle.evaluation.statistics.psychometric.observer import Task
from auricle.evaluation.statistics.psychometric.resampling import goodness
from auricle.evaluation.statistics.psychometric.search import most_probable
from auricle.evaluation.statistics.psychometric.shapes import shape_named
from auricle.evaluation.statistics.psychometric.thresholds import Axis
from tests.evaluation.statistics.observers import DURATIONS_MS, SNRS_DB, Listener, answered, fitted

LISTENER = Listener(80.0, 1.0, 0.3, 0.05)


class TestCurve:
    def test_a_listener_is_found(self) -> None:
        levels, right, _ = LISTENER.answers(400, seed=0)
        found = fit_psychometric(levels, right, at=(0.6, 0.75), resamples=200)
        assert (found.status, found.note, found.intervals, found.sources) == ("fitted", "", "profile", 3200)
        assert found.observer is not None
        assert found.observer.midpoint == pytest.approx(80, rel=0.15)
        assert found.observer.width == pytest.approx(1.0, rel=0.25)
        assert found.observer.guess == pytest.approx(0.3, abs=0.06)
        assert found.observer.lapse == pytest.approx(0.05, abs=0.03)
        assert [one.level for one in found.thresholds] == [None, 0.6, 0.75]
        for level in (0.6, 0.75):
            one = found.threshold(level)
            assert one.low < LISTENER.threshold(level) < one.high
            assert one.low < one.value < one.high
        assert found.rise_p < 0.01
        assert found.goodness.p > 0.05

    def test_decibels(self) -> None:
        listener = Listener(3.0, 15.0, 0.25, 0.04, levels=SNRS_DB, scale="linear")
        levels, right, _ = listener.answers(300, seed=1)
        found = fit_psychometric(levels, right, scale="linear", resamples=200)
        assert found.threshold(0.75).value == pytest.approx(listener.threshold(0.75), abs=1.0)
        assert found.observer.width == pytest.approx(15, rel=0.3)

    def test_points_are_what_was_seen(self) -> None:
        found = fitted([3, 4, 7, 11, 15, 18, 19, 20], 20)
        assert [point.condition for point in found.points] == list(DURATIONS_MS)
        assert [point.right for point in found.points] == [3, 4, 7, 11, 15, 18, 19, 20]

    def test_the_order_of_rows_changes_nothing(self) -> None:
        levels, right, _ = LISTENER.answers(40, seed=2)
        order = np.random.default_rng(0).permutation(len(levels))
        one = fit_psychometric(levels, right, resamples=100)
        other = fit_psychometric(levels[order], right[order], resamples=100)
        assert one.threshold(0.75) == other.threshold(0.75)

    def test_a_seed_decides_everything(self) -> None:
        listener = Listener(80.0, 1.0, 0.3, 0.05, sources_differ=0.2)
        rows = listener.answers(30, seed=0)
        one, same, other = (fit_psychometric(*rows, resamples=100, seed=seed).threshold(0.75) for seed in (1, 1, 2))
        assert one == same
        assert one != other

    def test_it_is_a_fit_and_no_interpolation(self) -> None:
        """The mistake: a line from point to point crosses 75 % wherever noise does, and first at 40 ms here."""
        right = [18, 31, 26, 28, 33, 36, 38, 39]
        found = fitted(right, 40)
        share = np.array(right) / 40
        crossing = np.flatnonzero(np.diff(share >= 0.75))
        assert len(crossing) == 3
        interpolated = np.interp(0.75, share[:2], DURATIONS_MS[:2])
        assert interpolated < 40
        assert found.threshold(0.75).value > 50
        assert found.threshold(0.75).low < found.threshold(0.75).value < found.threshold(0.75).high

    @pytest.mark.parametrize("seed", range(3))
    def test_it_takes_less_than_two_seconds(self, seed: int) -> None:
        rows = Listener(80.0, 1.0, 0.3, 0.05, sources_differ=0.2).answers(60, seed)
        start = time.process_time()
        fit_psychometric(*rows)
        assert time.process_time() - start < 2  # 0.4 s on an idle core

    def test_a_band_around_the_curve(self) -> None:
        levels, right, _ = LISTENER.answers(100, seed=3)
        found = fit_psychometric(levels, right, resamples=200)
        at = np.geomspace(20, 1000, 30)
        curve = found.curve(at)
        low, high = found.band(at)
        assert (np.diff(curve) > 0).all()
        assert ((low < curve) & (curve < high)).mean() > 0.95
        assert ((low < LISTENER.right(at)) & (LISTENER.right(at) < high)).mean() > 0.8


class TestGoodness:
    def test_a_curve_that_falls_again_is_a_bad_fit(self) -> None:
        found = fitted([20, 40, 75, 95, 70, 60, 80, 95], 100)
        assert found.goodness.p < 0.02
        assert found.goodness.deviance > 20

    def test_good_fits_have_any_p(self) -> None:
        """As often below 0.2 as above 0.8: Monte Carlo keeps its promise where chi-square doesn't."""
        tested = np.array(DURATIONS_MS)
        task = Task(Axis(20.0, 1000.0, "log").unit(tested), shape_named("logistic"), Priors())
        rng = np.random.default_rng(0)
        total = np.full(8, 10.0)
        p = []
        for _ in range(100):
            right = rng.binomial(10, LISTENER.right(tested)).astype(float)
            best = most_probable(task, right[None], total[None])[0][0]
            found, _ = goodness(task, best, right, total, 100, rng)
            assert found is not None
            p.append(found.p)
        assert 0.4 < np.mean(p) < 0.65
        assert 0.1 < np.mean(np.array(p) < 0.2) < 0.3

    def test_no_chance_is_zero(self) -> None:
        """The data set itself is one of those that such a curve can give."""
        levels, right = answered([0, 0, 5, 30, 60, 60, 60, 60], 60)
        assert fit_psychometric(levels, right, resamples=20).rise_p == 1 / 21

    def test_as_many_levels_as_parameters_leave_nothing_to_judge(self) -> None:
        levels, right = answered([4, 12, 18, 20], 20, (20.0, 60.0, 200.0, 1000.0))
        found = fit_psychometric(levels, right, resamples=100)
        assert (found.status, found.goodness) == ("fitted", None)
        assert fit_psychometric(levels, right, resamples=100, guess=0.0).goodness.degrees == 1


class TestSources:
    def test_sources_that_differ_make_intervals_wider(self) -> None:
        """Each is easy or hard at every level, and has 10 clips at each: a hundred clips a level, but ten voices."""
        rng = np.random.default_rng(0)
        levels = np.tile(np.repeat(DURATIONS_MS, 10), 10)
        sources = np.repeat(np.arange(10), 80)
        right = rng.random(800) < LISTENER.right(levels, rng.normal(0, 0.4, 10)[sources])
        alone = fit_psychometric(levels, right, resamples=200)
        together = fit_psychometric(levels, right, sources.tolist(), resamples=200)
        assert (alone.intervals, together.intervals, together.sources) == ("profile", "sources", 10)
        assert alone.threshold(0.75).value == together.threshold(0.75).value
        wide, narrow = (np.log(one.threshold(0.75).high / one.threshold(0.75).low) for one in (together, alone))
        assert wide > 1.5 * narrow

    def test_one_source_gives_no_interval(self) -> None:
        levels, right, _ = LISTENER.answers(60, seed=0)
        found = fit_psychometric(levels, right, ["only"] * len(levels), resamples=100)
        assert (found.status, found.intervals, found.sources) == ("fitted", "none", 1)
        assert found.note == "all clips come from one source, so no interval can be had"
        assert isinstance(found.threshold(0.75).value, float)
        assert (found.threshold(0.75).low, found.threshold(0.75).high) == (None, None)
        with pytest.raises(OptionError, match="a band needs intervals, which 1 source can't give"):
            found.band([100.0])

    def test_few_sources_say_so(self) -> None:
        rows = Listener(80.0, 1.0, 0.3, 0.05, sources_differ=0.1).answers(9, seed=0)
        found = fit_psychometric(*rows, resamples=100)
        assert found.note == "only 9 sources: intervals are rough, and rather too narrow"


class TestClassesApart:
    def test_a_preference_hides_in_a_curve_over_both(self) -> None:
        """Who says "speech" unless it hears otherwise is right on all of speech, and on the rest where it is long."""
        rest = fitted([4, 8, 14, 22, 30, 36, 39, 40], 40)
        speech = fitted([40, 40, 39, 40, 40, 40, 39, 40], 40)
        assert (rest.status, speech.status) == ("fitted", "flat")
        assert rest.observer.guess < 0.3
        assert rest.threshold(0.75).value == pytest.approx(100, rel=0.2)
        assert speech.threshold(0.75).value == "below"
        levels, answers = answered([44, 48, 53, 62, 70, 76, 78, 80], 80)
        both = fit_psychometric(levels, answers, resamples=200)
        assert both.threshold(0.75).value < 0.85 * rest.threshold(0.75).value


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fit_psychometric([0.0, 10.0], [1, 0]),
            r"levels has 0, and a logarithmic scale begins above 0: scale=",
        ),
        (lambda: fit_psychometric([10.0, np.nan], [1, 0]), "levels is nan in row 1"),
        (lambda: fit_psychometric([10.0], [1, 0]), "rows don't match: levels 1, right 2, sources 1"),
        (lambda: fit_psychometric([10.0, 20.0], [1, 3]), "right is 3 in row 1; it must be true or false"),
        (lambda: fit_psychometric([10.0], [1], at=(75,)), "at is 75; it must be shares between 0 and 1, such as 0.75"),
        (lambda: fit_psychometric([10.0], [1], scale="dB"), "scale is 'dB'; it must be 'log' or 'linear'"),  # type: ignore[arg-type]
        (lambda: fit_psychometric([10.0], [1], shape="line"), "shape is 'line'; it must be 'logistic', 'gaussian' or"),  # type: ignore[arg-type]
        (lambda: fit_psychometric([10.0], [1], resamples=5), "resamples is 5; it must be at least 20"),
        (lambda: fit_psychometric([10.0], [1], confidence=0), "confidence is 0; it must be between 0 and 1"),
        (lambda: fit_psychometric([10.0], [1], guess=1.5), r"guess is 1\.5; it must be from 0 up to below 1"),
        (lambda: fit_psychometric([[10.0]], [1]), "levels has 2 dimensions; it must have one number a row"),
    ],
)
def test_what_cannot_be_fitted(call: Callable[[], Psychometric], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()
