"""A threshold is chosen on dev and applied to other sources: the mistake was one tuned on the rows it was judged by."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from auricle.errors import OptionError
from auricle.evaluation.statistics import threshold_from_dev


def noise(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores that tell nothing of the class."""
    rng = np.random.default_rng(seed)
    return np.arange(rows) % 2 == 0, rng.normal(size=rows), [f"{seed}.{row}" for row in range(rows)]


class TestChoice:
    def test_by_hand(self) -> None:
        """From 2.5 up: 3 of 4 positives and 1 of 4 others. As good: from 1.5, 4 and 2; from 4.5, 2 and none."""
        positive = [True, True, False, True, True, False, False, False]
        score = [6, 5, 4, 3, 2, 2, 1, 0]
        found = threshold_from_dev(positive, score, list("abcdefgh"))
        assert (found.balanced_accuracy, found.equally_good) == (0.75, 3)
        assert found.value == 2.5  # of the three, where misses and false alarms are equal
        assert (found.miss_rate, found.false_alarm_rate) == (0.25, 0.25)
        assert (found.rows, found.sources) == (8, frozenset("abcdefgh"))

    def test_of_equals_the_highest(self) -> None:
        """Either one of two misses or one of two false alarms, everything else being equal."""
        found = threshold_from_dev([True, False, True, False], [4, 3, 2, 1], list("abcd"))
        assert (found.value, found.equally_good) == (3.5, 2)
        assert (found.miss_rate, found.false_alarm_rate) == (0.5, 0.0)

    @pytest.mark.parametrize("seed", range(5))
    def test_no_other_threshold_is_better(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        positive = rng.random(300) < 0.3
        score = np.round(rng.normal(size=300) + positive, 1)
        found = threshold_from_dev(positive, score, range(300))
        every = [balanced_accuracy_score(positive, score >= value) for value in np.arange(-5, 5, 0.05)]
        assert found.balanced_accuracy == pytest.approx(max(every))
        assert balanced_accuracy_score(positive, score >= found.value) == pytest.approx(found.balanced_accuracy)

    @pytest.mark.parametrize("seed", range(5))
    def test_equal_errors(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        positive = rng.random(300) < 0.3
        score = rng.normal(size=300) + positive
        found = threshold_from_dev(positive, score, range(300), by="eer")
        apart = [
            abs((score[positive] < value).mean() - (score[~positive] >= value).mean()) for value in np.sort(score)[1:]
        ]
        assert abs(found.miss_rate - found.false_alarm_rate) == pytest.approx(min(apart))

    def test_neighbouring_floats_can_be_parted(self) -> None:
        low = 0.1
        high = float(np.nextafter(low, 1))
        found = threshold_from_dev([True, False], [high, low], ["a", "b"])
        assert found.apply([high, low], ["c", "d"]).tolist() == [True, False]


class TestApply:
    def test_to_other_sources(self) -> None:
        found = threshold_from_dev([True, False], [1.0, 0.0], ["a", "b"])
        assert found.value == 0.5
        assert found.apply([0.5, 0.49], ["c", "c"]).tolist() == [True, False]

    def test_not_to_a_source_of_dev(self) -> None:
        positive, score, sources = noise(0, 40)
        found = threshold_from_dev(positive, score, sources)
        with pytest.raises(
            OptionError, match=r"40 of the test sources are in dev, such as '0\.0', where the threshold"
        ):
            found.apply(score, sources)
        with pytest.raises(OptionError, match=r"1 of the test sources are in dev, such as '0\.7'"):
            found.apply([1.0, 2.0, 3.0], ["other", "0.7", "0.7"])

    def test_what_is_chosen_on_noise_is_chance_elsewhere(self) -> None:
        """Why it is refused: of scores that say nothing, the best threshold beats chance on its own rows."""
        seen, other = [], []
        for seed in range(50):
            found = threshold_from_dev(*noise(seed, 40))
            positive, score, sources = noise(1000 + seed, 40)
            seen.append(found.balanced_accuracy)
            other.append(balanced_accuracy_score(positive, found.apply(score, sources)))
        assert np.mean(seen) > 0.58
        assert np.mean(other) == pytest.approx(0.5, abs=0.03)

    def test_scores_are_checked(self) -> None:
        found = threshold_from_dev([True, False], [1.0, 0.0], ["a", "b"])
        with pytest.raises(OptionError, match="test_score is nan in row 0"):
            found.apply([np.nan], ["c"])
        with pytest.raises(OptionError, match="rows don't match: test_score 1, test_sources 2"):
            found.apply([1.0], ["c", "d"])


@pytest.mark.parametrize(
    ("positive", "score", "sources", "by", "message"),
    [
        ([True, True], [1, 2], "ab", "eer", "dev has 2 positive and 0 other rows; a threshold needs both"),
        ([True, False], [1, 1], "ab", "eer", "every dev score is 1, so no threshold parts them"),
        ([True, False], [1, 2], "a", "eer", "rows don't match: dev_score 2, dev_sources 1"),
        ([True, False], [1, 2], "ab", "accuracy", "by is 'accuracy'; it must be 'balanced accuracy' or 'eer'"),
    ],
)
def test_dev_that_gives_no_threshold(
    positive: list[bool], score: list[float], sources: str, by: str, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        threshold_from_dev(positive, score, list(sources), by)  # type: ignore[arg-type]
