"""Percentiles of latency, split by part."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.errors import OptionError
from auricle.evaluation.statistics import latency


def test_nearest_rank_by_hand() -> None:
    """Of 1 to 200: the 100th, the 190th and the 198th, each of them a time that was measured."""
    times = np.random.default_rng(0).permutation(np.arange(1.0, 201))
    found = latency(times / 10, times, times * 2, load_s=1.5)
    assert (found.model.p50, found.model.p95, found.model.p99, found.model.mean) == (100, 190, 198, 100.5)
    assert (found.preprocessing.p95, found.whole.p95) == (19, 380)
    assert (found.rows, found.load_s, found.note) == (200, 1.5, "")


def test_loading_is_in_no_other_part() -> None:
    assert latency([1], [2], [3], load_s=60).whole.p99 == 3
    assert latency([1], [2], [3]).load_s is None


def test_p99_of_few_says_what_it_is() -> None:
    found = latency([1, 2, 3], [4, 5, 6], [5, 7, 9])
    assert found.whole.p99 == 9
    assert found.note == "p99 of 3 is the slowest of them"


def test_no_rows() -> None:
    found = latency([], [], [], load_s=2)
    assert (found.rows, found.whole.p50, found.whole.mean, found.load_s) == (0, None, None, 2)


@pytest.mark.parametrize(
    ("model_ms", "message"),
    [
        ([1], "rows don't match: preprocess_ms 2, model_ms 1, latency_ms 2"),
        ([1, -1], r"model_ms is -1\.0; it must be at least 0 in every row"),
        ([1, None], "model_ms is nan in row 1"),
    ],
)
def test_what_is_no_time(model_ms: list[float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        latency([1, 2], model_ms, [1, 2])
