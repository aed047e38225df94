"""Two systems on the same clips: sources are the evidence, not clips; and Holm over several."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from auricle.errors import OptionError
from auricle.evaluation.statistics import compare_pairs, compare_systems, holm


def mcnemar_p(a: np.ndarray, b: np.ndarray) -> float:
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    return float(mcnemar(table, exact=True).pvalue)


def equals(seed: int, sources: int = 20, clips: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two systems that are equally good over all sources there could be; each source suits the one or the other."""
    rng = np.random.default_rng(seed)
    source = np.repeat(np.arange(sources), clips)
    suits = rng.choice([0.6, 0.9], sources)[source]
    return rng.random(len(source)) < suits, rng.random(len(source)) < 1.5 - suits, source


class TestSourcesAreTheEvidence:
    def test_one_source_with_many_clips_proves_nothing(self) -> None:
        """The mistake: McNemar over clips calls this a difference with p of one in a thousand million."""
        source = np.array(["one"] * 30 + [f"other {i}" for i in range(20)])
        a = np.ones(50, dtype=bool)
        b = source != "one"
        assert mcnemar_p(a, b) < 1e-8
        found = compare_pairs(a, b, source)
        assert found.p == 1.0
        assert found.note == "the systems differ on 1 source(s), so p can't be below 1: add sources"

    def test_equal_systems_are_told_apart_as_seldom_as_promised(self) -> None:
        ours, theirs = [], []
        for seed in range(200):
            a, b, source = equals(seed)
            ours.append(compare_pairs(a, b, source, resamples=1000, seed=seed).p < 0.05)
            theirs.append(mcnemar_p(a, b) < 0.05)
        assert np.mean(ours) < 0.08
        assert np.mean(theirs) > 0.3  # one in three, where one in twenty was promised

    def test_repeating_every_clip_changes_no_p(self) -> None:
        a, b, source = equals(1)
        once = compare_pairs(a, b, source)
        thrice = compare_pairs(np.tile(a, 3), np.tile(b, 3), np.tile(source, 3))
        assert thrice.p == pytest.approx(once.p)
        assert thrice.difference == pytest.approx(once.difference)
        assert mcnemar_p(np.tile(a, 3), np.tile(b, 3)) < mcnemar_p(a, b)

    def test_a_difference_that_is_there_is_found(self) -> None:
        rng = np.random.default_rng(0)
        source = np.repeat(np.arange(40), 10)
        found = compare_pairs(rng.random(400) < 0.9, rng.random(400) < 0.75, source)
        assert found.p < 0.001
        assert 0 < found.interval.low < found.difference < found.interval.high
        assert found.difference == pytest.approx(0.15, abs=0.06)

    def test_a_single_source_has_no_p(self) -> None:
        found = compare_pairs([True, True], [False, True], ["a", "a"])
        assert (found.p, found.difference, found.interval.low) == (None, 0.5, None)
        assert found.note == "all clips come from one source, which can't tell the systems apart from chance"


class TestSignFlips:
    def test_by_hand(self) -> None:
        """Differences of 2, 1 and -1 by source: of 8 ways to sign them, the sums are ±4 once, ±2 twice, and 0 twice."""
        a = [1, 1, 1, 0]
        b = [0, 0, 0, 1]
        found = compare_pairs(a, b, ["x", "x", "y", "z"])
        assert found.difference == 0.5
        assert (found.rows, found.a_better, found.b_better) == (4, 3, 1)
        assert found.p == 6 / 8
        assert found.method == "sign flips over sources, all 8"

    @pytest.mark.parametrize("seed", range(3))
    def test_all_ways_as_scipy(self, seed: int) -> None:
        a, b, source = equals(seed, sources=10, clips=5)
        by_source = np.bincount(source, a.astype(float) - b)
        expected = stats.permutation_test(
            (by_source, np.zeros(10)), lambda x, y: (x - y).sum(), permutation_type="samples", n_resamples=np.inf
        )
        assert compare_pairs(a, b, source).p == pytest.approx(expected.pvalue)

    def test_drawn_ways_come_near_all_of_them(self) -> None:
        """17 sources: past the limit, so drawn. All 131,072 ways, gone through here."""
        a, b, source = equals(4, sources=17)
        by_source = np.bincount(source, a.astype(float) - b)
        assert (by_source != 0).all()
        signs = 1 - 2 * (np.arange(2**17)[:, None] >> np.arange(17) & 1)
        exact = (np.abs(signs @ by_source) >= abs(by_source.sum())).mean()
        found = compare_pairs(a, b, source, resamples=20_000)
        assert found.method == "sign flips over sources, 20000 drawn"
        assert found.p == pytest.approx(exact, abs=0.015)

    def test_no_p_is_zero(self) -> None:
        found = compare_pairs(np.ones(60), np.zeros(60), range(60), resamples=999)
        assert found.p == 1 / 1000

    def test_the_same_answers_are_no_difference(self) -> None:
        right = np.arange(30) % 3 > 0
        found = compare_pairs(right, right, range(30))
        assert (found.difference, found.p, found.a_better, found.b_better) == (0.0, 1.0, 0, 0)

    def test_turned_around(self) -> None:
        a, b, source = equals(5)
        one, other = compare_pairs(a, b, source), compare_pairs(b, a, source)
        assert one.difference == -other.difference
        assert one.p == other.p

    def test_no_rows(self) -> None:
        found = compare_pairs([], [], [])
        assert (found.difference, found.p) == (None, None)


class TestBalanced:
    def test_each_class_counts_the_same(self) -> None:
        """a is right on all of speech (8 of 8 to 4), b on all of the rest (2 of 2 to 1): equal, when balanced."""
        speech = [True] * 8 + [False] * 2
        a = [True] * 8 + [True, False]
        b = [True] * 4 + [False] * 4 + [True, True]
        assert compare_pairs(a, b, range(10)).difference == pytest.approx(0.3)
        balanced = compare_pairs(a, b, range(10), classes=speech)
        assert balanced.difference == pytest.approx(0)
        assert balanced.interval.value == pytest.approx(0)

    def test_scores_other_than_right_and_wrong(self) -> None:
        """Such as the word error rate of a clip, turned around."""
        rng = np.random.default_rng(0)
        error = rng.random(100)
        found = compare_pairs(-error, -error - 0.1 * rng.random(100), np.arange(100) // 4)
        assert found.difference == pytest.approx(0.05, abs=0.01)
        assert found.p < 0.001


class TestHolm:
    def test_by_hand(self) -> None:
        """0.01 by 3; 0.03 by 2; 0.04 by 1, but not below the one before."""
        assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))

    @pytest.mark.parametrize("seed", range(5))
    def test_as_statsmodels(self, seed: int) -> None:
        p = np.round(np.random.default_rng(seed).random(12) ** 3, 2)  # with ties, and some that reach 1
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])

    def test_none_and_one(self) -> None:
        assert holm([]) == ()
        assert holm([0.2]) == (0.2,)

    def test_no_p_is_above_one(self) -> None:
        with pytest.raises(OptionError, match=r"p_values is 1\.2 in row 1; it must be from 0 to 1"):
            holm([0.1, 1.2])


class TestSystems:
    def test_every_pair_is_adjusted_for_all(self) -> None:
        rng = np.random.default_rng(0)
        source = np.repeat(np.arange(30), 5)
        right = {name: rng.random(150) < share for name, share in (("tiny", 0.8), ("silero", 0.7), ("energy", 0.6))}
        found = compare_systems(right, source)
        assert [(one.a, one.b) for one in found] == [("tiny", "silero"), ("tiny", "energy"), ("silero", "energy")]
        assert [one.adjusted_p for one in found] == list(holm([one.p for one in found]))
        assert any(one.adjusted_p > one.p for one in found)
        alone = compare_pairs(right["tiny"], right["energy"], source)
        assert alone.p == found[1].p == alone.adjusted_p

    def test_equal_systems_by_the_dozen_are_seldom_told_apart(self) -> None:
        """Among five equal systems, one pair of ten would have p below 0.05 in a good part of studies, unadjusted."""
        plain, adjusted = [], []
        for seed in range(100):
            rng = np.random.default_rng(seed)
            right = {str(i): rng.random(60) < 0.5 for i in range(5)}
            found = compare_systems(right, np.arange(60) // 3, resamples=500, seed=seed)
            plain.append(min(one.p for one in found) < 0.05)
            adjusted.append(min(one.adjusted_p for one in found) < 0.05)
        assert np.mean(plain) > 0.15
        assert np.mean(adjusted) < 0.09

    def test_one_system_has_nobody_to_be_compared_with(self) -> None:
        assert compare_systems({"tiny": [True]}, ["a"]) == ()

    def test_a_single_source_is_left_out_of_holm(self) -> None:
        found = compare_systems({name: [True, False] for name in "abc"}, ["x", "x"])
        assert [one.adjusted_p for one in found] == [None] * 3


def test_pairs_are_of_the_same_clips() -> None:
    with pytest.raises(OptionError, match="rows don't match: right_a 2, right_b 3, sources 2, classes 2"):
        compare_pairs([1, 0], [1, 0, 1], ["a", "b"])
    with pytest.raises(OptionError, match="right_b is nan in row 1"):
        compare_pairs([1, 0], [1, np.nan], ["a", "b"])
    with pytest.raises(OptionError, match="resamples is 9; it must be at least 100"):
        compare_pairs([1, 0], [1, 0], ["a", "b"], resamples=9)
