"""Intervals over sources: that they cover what they should where clips share sources, and say where none can be had."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from auricle.errors import OptionError
from auricle.evaluation.statistics import Interval, bootstrap_by_source, bootstrap_totals, roc, wilson
from auricle.evaluation.statistics.bootstrap import Method


def share(totals: np.ndarray) -> np.ndarray:
    return totals[..., 0] / totals[..., 1]


def mean(values: np.ndarray) -> float:
    return float(values.mean())


def listeners(seed: int, sources: int = 40, clips: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Answers to clips of sources that are easy or hard as a whole; 70 % are right over all sources there could be."""
    rng = np.random.default_rng(seed)
    source = np.repeat(np.arange(sources), clips)
    return rng.random(len(source)) < rng.beta(1.4, 0.6, sources)[source], source


class TestSources:
    def test_they_cover_where_independent_rows_do_not(self) -> None:
        """The mistake: clips of one source counted as if each were a source."""
        by_source, by_row = [], []
        for seed in range(300):
            right, source = listeners(seed)
            found = bootstrap_totals(share, (right, np.ones(len(right))), source, resamples=500, seed=seed)
            assert found.low is not None
            assert found.high is not None
            by_source.append(found.low <= 0.7 <= found.high)
            low, high = wilson(float(right.sum()), float(len(right)))
            by_row.append(low <= 0.7 <= high)
        assert 0.90 <= np.mean(by_source) <= 0.98
        assert np.mean(by_row) < 0.7

    def test_more_clips_of_the_same_sources_tell_nothing_new(self) -> None:
        right, source = listeners(0)
        once = bootstrap_by_source(mean, (right,), source)
        thrice = bootstrap_by_source(mean, (np.tile(right, 3),), np.tile(source, 3))
        assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))

    def test_one_source_gives_no_interval(self) -> None:
        found = bootstrap_by_source(mean, ([True, False, True],), ["a", "a", "a"])
        assert found.value == pytest.approx(2 / 3)
        assert (found.low, found.high, found.sources) == (None, None, 1)
        assert found.note == "all clips come from one source, so no interval can be had"

    def test_few_sources_say_so(self) -> None:
        right, source = listeners(0, sources=4)
        assert bootstrap_by_source(mean, (right,), source).note.startswith("only 4 sources: the interval is rough")
        right, source = listeners(0, sources=10)
        assert bootstrap_by_source(mean, (right,), source).note == ""


class TestMethods:
    @pytest.mark.parametrize(("ours", "theirs"), [("percentile", "percentile"), ("bca", "BCa")])
    def test_as_scipy_where_every_row_is_a_source(self, ours: Method, theirs: str) -> None:
        values = np.random.default_rng(0).exponential(size=60)  # skewed, so that the methods differ
        found = bootstrap_by_source(mean, (values,), range(60), method=ours, resamples=20_000)
        low, high = stats.bootstrap(
            (values,), np.mean, n_resamples=20_000, method=theirs, rng=np.random.default_rng(1)
        ).confidence_interval
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)

    def test_they_differ_on_what_is_skewed(self) -> None:
        values = np.random.default_rng(0).exponential(size=60)
        plain, corrected = (
            bootstrap_by_source(mean, (values,), range(60), method=method, resamples=20_000)
            for method in ("percentile", "bca")
        )
        assert corrected.low > plain.low + 0.01
        assert corrected.high > plain.high + 0.01

    def test_totals_are_the_same_draws(self) -> None:
        right, source = listeners(3)
        a = bootstrap_totals(share, (right, np.ones(len(right))), source, seed=5)
        b = bootstrap_by_source(mean, (right,), source, seed=5)
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))

    def test_a_seed_decides_everything(self) -> None:
        right, source = listeners(3)
        first, again, other = (bootstrap_by_source(mean, (right,), source, seed=seed) for seed in (1, 1, 2))
        assert first == again
        assert first.low != other.low

    def test_columns_stay_together(self) -> None:
        """A row's class and score, and its text, are drawn as one."""
        rng = np.random.default_rng(0)
        label = np.array(["speech", "rest"])[rng.integers(0, 2, 200)]
        score = (label == "speech") + 0.0

        def auc(label: np.ndarray, score: np.ndarray) -> float | None:
            return roc(label == "speech", score).auc

        noisy = bootstrap_by_source(auc, (label, score + rng.normal(size=200)), range(200))
        assert 0.6 < noisy.low < noisy.value < noisy.high < 0.9
        # Parted perfectly in every draw, if rows stay whole.
        assert bootstrap_by_source(auc, (label, score), range(200)).note.startswith("every draw")


class TestWithoutAnInterval:
    def test_all_right_is_no_certainty(self) -> None:
        """An interval such as [1, 1] would say that nobody will ever be wrong."""
        found = bootstrap_totals(share, (np.ones(50), np.ones(50)), range(50))
        assert (found.value, found.low, found.high) == (1.0, None, None)
        assert found.note == "every draw of sources gives the same value, so no interval can be had: see Wilson's"

    def test_a_figure_without_a_value(self) -> None:
        found = bootstrap_by_source(lambda p, s: roc(p, s).auc, ([True, True], [1, 2]), ["a", "b"])
        assert (found.value, found.low, found.note) == (None, None, "the figure has no value on these rows")

    def test_no_rows(self) -> None:
        assert bootstrap_totals(share, ([], []), []).value is None

    def test_some_draws_without_a_value_are_told(self) -> None:
        rng = np.random.default_rng(0)
        positive = np.arange(40) < 4
        found = bootstrap_by_source(lambda p, s: roc(p, s).auc, (positive, positive + rng.normal(size=40)), range(40))
        assert found.low is not None
        assert "of 2000 draws left out, where the figure has no value" in found.note

    def test_too_many_are_no_interval(self) -> None:
        positive = np.arange(40) < 1
        found = bootstrap_by_source(lambda p, s: roc(p, s).auc, (positive, np.arange(40)), range(40))
        assert found.low is None
        assert "draws of sources: too few of some kind" in found.note


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_by_source(mean, ([1, 2],), ["a"]), "rows don't match: column 0 2, sources 1"),
        (lambda: bootstrap_totals(share, ([1, 2], [1]), "ab"), "rows don't match: column 0 2, column 1 1, sources 2"),
        (lambda: bootstrap_totals(share, ([1, np.nan], [1, 1]), "ab"), "column 0 is nan in row 1"),
        (lambda: bootstrap_by_source(mean, ([1, 2],), "ab", resamples=10), "resamples is 10; it must be at least 100"),
        (
            lambda: bootstrap_by_source(mean, ([1, 2],), "ab", method="basic"),  # type: ignore[arg-type]
            "method is 'basic'; it must be 'percentile' or 'bca'",
        ),
        (lambda: bootstrap_by_source(mean, ([1, 2],), "ab", confidence=1), "confidence is 1; it must be between 0 and"),
    ],
)
def test_what_cannot_be_drawn(call: Callable[[], Interval], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call()


def test_strata_keep_the_share_of_each_class() -> None:
    """Sources of one class each: a listener that says one word alone is right as often as that word is true."""
    sources = [f"s{number}" for number in range(20) for _ in range(5)]
    true = ["speech"] * 50 + ["noise"] * 50
    right = np.array([label == "speech" for label in true], dtype=float)
    columns = (right, np.ones(100))
    free = bootstrap_totals(lambda t: t[..., 0] / t[..., 1], columns, sources)
    held = bootstrap_totals(lambda t: t[..., 0] / t[..., 1], columns, sources, strata=true)
    assert free.low is not None
    assert free.low < 0.35
    assert held.value == 0.5
    assert held.low is None  # no draw of sources changes it
    assert "every draw of sources gives the same value" in held.note


def test_strata_of_sources_with_every_class_change_nothing() -> None:
    rng = np.random.default_rng(4)
    sources = [f"s{number}" for number in range(15) for _ in range(6)]
    true = ["speech", "noise"] * 45
    columns = (rng.random(90), np.ones(90))
    free = bootstrap_totals(lambda t: t[..., 0] / t[..., 1], columns, sources)
    assert bootstrap_totals(lambda t: t[..., 0] / t[..., 1], columns, sources, strata=true) == free
    by_rows = bootstrap_by_source(lambda values, ones: values.sum() / ones.sum(), columns, sources, strata=true)
    assert (by_rows.low, by_rows.high) == pytest.approx((free.low, free.high))


def test_a_class_of_few_sources_says_so() -> None:
    """One source of noise is in every draw as it is: nothing of how noises differ is in the interval."""
    rng = np.random.default_rng(5)
    sources = [f"s{number}" for number in range(21) for _ in range(4)]
    true = ["speech"] * 80 + ["noise"] * 4
    columns = ((rng.random(84) < 0.7).astype(float), np.ones(84))
    found = bootstrap_totals(share, columns, sources, strata=true)
    assert found.low is not None
    assert found.note == "a class with only 1 source(s): the interval is rough, and rather too narrow"
    assert bootstrap_totals(share, columns, sources).note == ""


@pytest.mark.parametrize("few", [5, 12])
def test_strata_as_two_samples_of_scipy(few: int) -> None:
    """BCa of two samples: each source's influence is measured within its own class."""
    rng = np.random.default_rng(6)
    one, two = rng.exponential(size=40), rng.exponential(size=few)
    values, other = np.append(one, two), np.arange(40 + few) >= 40

    def difference(values: np.ndarray, other: np.ndarray) -> float:
        return float(values[~other].mean() - values[other].mean())

    found = bootstrap_by_source(difference, (values, other), range(40 + few), strata=other.tolist(), resamples=20_000)
    expected = stats.bootstrap(
        (one, two),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        n_resamples=20_000,
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.03)
