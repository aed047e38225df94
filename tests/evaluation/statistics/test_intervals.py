"""Wilson's interval and the cells of a table."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from auricle.errors import OptionError
from auricle.evaluation.statistics import cells, wilson


class TestWilson:
    def test_a_case_by_hand(self) -> None:
        """8 of 10, z = 1.96: middle (0.8 + 0.19207) / 1.38415, reach 0.22654 (Wilson 1927 as in Brown et al. 2001)."""
        low, high = wilson(8, 10)
        assert low == pytest.approx(0.4901625, abs=1e-6)
        assert high == pytest.approx(0.9433178, abs=1e-6)

    @pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
    def test_as_statsmodels(self, confidence: float) -> None:
        right, total = (grid.ravel().astype(float) for grid in np.meshgrid(np.arange(31), [30, 31, 500]))
        expected = proportion_confint(right, total, alpha=1 - confidence, method="wilson")
        np.testing.assert_allclose(wilson(right, total, confidence), expected, atol=1e-12)

    def test_it_has_a_width_at_none_and_at_all(self) -> None:
        assert wilson(0, 20) == (0.0, pytest.approx(0.1611, abs=1e-4))
        assert wilson(20, 20) == (pytest.approx(0.8389, abs=1e-4), 1.0)

    def test_its_ends_there_are_0_and_1_exactly(self) -> None:
        """Rounding would leave some at -1e-17 or at 1 + 2e-16, which no share is."""
        total = np.arange(1.0, 500)
        assert (wilson(0 * total, total)[0] == 0).all()
        assert (wilson(total, total)[1] == 1).all()

    def test_no_trial_tells_nothing(self) -> None:
        assert wilson(0, 0) == (0.0, 1.0)

    def test_confidence_is_a_share(self) -> None:
        with pytest.raises(OptionError, match=r"confidence is 95; it must be between 0 and 1, such as 0\.95"):
            wilson(8, 10, 95)


class TestCells:
    def test_a_table_by_hand(self) -> None:
        found = cells([(20, None), (20, None), (40, 0.0), (20, None)], [True, False, True, True], ["a", "a", "a", "b"])
        assert [(one.condition, one.right, one.total, one.sources) for one in found] == [
            ((20, None), 2, 3, 2),
            ((40, 0.0), 1, 1, 1),
        ]
        assert found[0].share == 2 / 3
        assert (found[0].low, found[0].high) == wilson(2, 3)

    def test_columns_are_one_length(self) -> None:
        with pytest.raises(OptionError, match="rows don't match: conditions 2, right 2, sources 1; each column needs"):
            cells([20, 40], [True, False], ["a"])

    @pytest.mark.parametrize(
        ("right", "message"),
        [
            ([1, 0.5], r"right is 0\.5 in row 1; it must be true or false"),
            ([None, 1], r"right is nan in row 0 \(1 such rows\): leave those rows out"),
        ],
    )
    def test_answers_are_right_or_not(self, right: list[object], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            cells([20, 40], right, ["a", "b"])
