"""ROC, precision and recall, EER: by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn import metrics

from auricle.errors import OptionError
from auricle.evaluation.statistics import eer, pr, roc

POSITIVE = [True, True, False, True, False, False]
SCORE = [0.9, 0.8, 0.7, 0.6, 0.6, 0.1]  # the fourth and the fifth can't be parted


def drawn(seed: int, ties: bool, rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(rows) < rng.uniform(0.1, 0.9)
    score = rng.normal(size=rows) + rng.uniform(0, 2) * positive
    return positive, np.round(score, 1) if ties else score


class TestRoc:
    def test_by_hand(self) -> None:
        found = roc(POSITIVE, SCORE)
        assert found.thresholds.tolist() == [np.inf, 0.9, 0.8, 0.7, 0.6, 0.1]
        assert found.hit_rate == pytest.approx(np.array([0, 1, 2, 2, 3, 3]) / 3)
        assert found.false_alarm_rate == pytest.approx(np.array([0, 0, 0, 1, 2, 3]) / 3)
        assert found.auc == pytest.approx((3 + 3 + 1.5) / 9)  # pairs in order, a tie half

    @pytest.mark.parametrize("ties", [False, True])
    @pytest.mark.parametrize("seed", range(5))
    def test_as_sklearn(self, seed: int, ties: bool) -> None:
        positive, score = drawn(seed, ties)
        found = roc(positive, score)
        alarm, hit, thresholds = metrics.roc_curve(positive, score, drop_intermediate=False)
        np.testing.assert_allclose(found.false_alarm_rate, alarm)
        np.testing.assert_allclose(found.hit_rate, hit)
        np.testing.assert_allclose(found.thresholds, thresholds)
        assert found.auc == pytest.approx(metrics.roc_auc_score(positive, score))

    def test_a_score_that_says_nothing(self) -> None:
        assert roc(POSITIVE, np.zeros(6)).auc == 0.5
        assert roc(POSITIVE, -np.array(SCORE)).auc == pytest.approx(1 - roc(POSITIVE, SCORE).auc)

    @pytest.mark.parametrize("positive", [[True, True], [False, False], []])
    def test_one_class_alone_has_no_curve(self, positive: list[bool]) -> None:
        found = roc(positive, np.arange(len(positive)))
        assert (len(found.hit_rate), found.auc, eer(positive, np.arange(len(positive)))) == (0, None, None)


class TestPr:
    def test_by_hand(self) -> None:
        found = pr(POSITIVE, SCORE)
        assert found.precision == pytest.approx([1, 1, 2 / 3, 3 / 5, 3 / 6])
        assert found.recall == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1, 1])
        assert found.average_precision == pytest.approx((1 + 1 + 3 / 5) / 3)
        assert found.prevalence == 0.5

    @pytest.mark.parametrize("ties", [False, True])
    @pytest.mark.parametrize("seed", range(5))
    def test_as_sklearn(self, seed: int, ties: bool) -> None:
        positive, score = drawn(seed, ties)
        found = pr(positive, score)
        precision, recall, thresholds = metrics.precision_recall_curve(positive, score)
        np.testing.assert_allclose(found.precision[::-1], precision[:-1])
        np.testing.assert_allclose(found.recall[::-1], recall[:-1])
        np.testing.assert_allclose(found.thresholds[::-1], thresholds)
        assert found.average_precision == pytest.approx(metrics.average_precision_score(positive, score))

    def test_no_positive_has_none(self) -> None:
        found = pr([False, False], [1, 2])
        assert (found.average_precision, found.prevalence) == (None, 0.0)
        assert pr([], []).prevalence is None


class TestEer:
    def test_by_hand(self) -> None:
        """Between 0.7 (miss 1/3, alarm 1/3) and nothing: the point itself."""
        assert eer(POSITIVE, SCORE) == pytest.approx(1 / 3)

    def test_between_two_points(self) -> None:
        """One step from (alarm 0, miss 1) to (1, 0): halfway."""
        assert eer([True, False], [0.5, 0.5]) == pytest.approx(0.5)
        # alarm 0 and miss 2/3, then alarm 1/2 and miss 0: 1 - hit = alarm at 2/7
        assert eer([True, True, True, False, False], [3, 2, 2, 2, 1]) == pytest.approx(2 / 7)

    def test_parted_and_turned_around(self) -> None:
        assert eer([True, True, False], [3, 2, 1]) == 0.0
        assert eer([False, False, True], [3, 2, 1]) == 1.0

    @pytest.mark.parametrize("ties", [False, True])
    @pytest.mark.parametrize("seed", range(5))
    def test_as_the_root_on_sklearn_s_curve(self, seed: int, ties: bool) -> None:
        positive, score = drawn(seed, ties)
        alarm, hit, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
        # Upright parts of the curve are no function of the false alarm rate: so along the way instead.
        way = np.arange(len(alarm), dtype=float)
        root = brentq(lambda place: interp1d(way, alarm)(place) - 1 + interp1d(way, hit)(place), 0, way[-1])
        assert eer(positive, score) == pytest.approx(float(interp1d(way, alarm)(root)))


@pytest.mark.parametrize("figure", [roc, pr, eer])
def test_scores_are_finite_and_of_one_length(figure: object) -> None:
    assert callable(figure)
    with pytest.raises(OptionError, match=r"score is inf in row 1 \(1 such rows\): leave those rows out"):
        figure([True, False], [1, np.inf])
    with pytest.raises(OptionError, match="rows don't match: positive 2, score 1"):
        figure([True, False], [1])
