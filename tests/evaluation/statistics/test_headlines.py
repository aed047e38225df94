"""The figures at the top of a report: the same as those without intervals, for either policy."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.errors import OptionError
from auricle.evaluation.statistics import Unknown, bootstrap_by_source, confusion, detection, headline

LABELS = ("speech", "nonspeech")


def answers(seed: int = 0, rows: int = 300) -> tuple[list[str], list[str | None], list[int]]:
    rng = np.random.default_rng(seed)
    true = rng.choice(LABELS, rows).tolist()
    said = [None if rng.random() < 0.1 else one if rng.random() < 0.8 else str(rng.choice(LABELS)) for one in true]
    return true, said, (np.arange(rows) // 6).tolist()


@pytest.mark.parametrize("unknown", ["wrong", "dropped"])
def test_values_are_those_of_the_plain_figures(unknown: Unknown) -> None:
    true, said, sources = answers()
    found = headline(true, said, LABELS, sources, unknown)
    plain = confusion(true, said, LABELS, unknown)
    assert found.accuracy.value == plain.accuracy
    assert found.balanced_accuracy.value == plain.balanced_accuracy
    assert found.macro_f1.value == plain.macro_f1
    kept = [i for i, one in enumerate(said) if one or unknown == "wrong"]
    signals = detection([true[i] == "speech" for i in kept], [said[i] == "speech" for i in kept])
    assert found.d_prime is not None
    assert found.criterion is not None
    assert found.d_prime.value == pytest.approx(signals.d_prime)
    assert found.criterion.value == pytest.approx(signals.criterion)
    for one in (found.accuracy, found.balanced_accuracy, found.macro_f1, found.d_prime, found.criterion):
        assert one.low < one.value < one.high
        assert one.sources == 50


def test_intervals_are_those_of_whole_rows_drawn() -> None:
    true, said, sources = answers()
    code = {"speech": 0, "nonspeech": 1, None: 2}
    back = [*LABELS, None]

    def figure(a: np.ndarray, b: np.ndarray) -> float | None:
        return confusion([LABELS[i] for i in a], [back[i] for i in b], LABELS).macro_f1

    columns = ([code[one] for one in true], [code[one] for one in said])
    expected = bootstrap_by_source(figure, columns, sources, strata=true, resamples=200)
    found = headline(true, said, LABELS, sources, resamples=200).macro_f1
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_three_labels_have_no_d_prime() -> None:
    rng = np.random.default_rng(0)
    labels = ["a", "b", "c"]
    found = headline(rng.choice(labels, 90).tolist(), rng.choice(labels, 90).tolist(), labels, range(90))
    assert (found.d_prime, found.criterion) == (None, None)
    assert found.balanced_accuracy.low is not None


def test_d_prime_of_perfect_answers_has_no_interval() -> None:
    """Only the correction keeps it finite, and that moves with how many clips of each class a draw has."""
    true, _, sources = answers()
    found = headline(true, list(true), LABELS, sources)
    assert found.d_prime is not None
    assert found.d_prime.value > 4
    assert (found.d_prime.low, found.d_prime.high) == (None, None)
    assert found.d_prime.note == "both rates are 0 or 1, so no interval can be had"
    assert found.accuracy.note.startswith("every draw of sources gives the same value")


def test_d_prime_of_a_rate_at_its_end_says_that_it_is_too_narrow() -> None:
    true, said, sources = answers()
    said = ["speech" if a == "speech" else b for a, b in zip(true, said, strict=True)]
    found = headline(true, said, LABELS, sources)
    assert found.d_prime is not None
    assert found.d_prime.low is not None
    assert found.d_prime.note == "one of the two rates is 0 or 1, so the interval is too narrow"


def test_no_answers_have_no_figures() -> None:
    found = headline([], [], LABELS, [])
    assert found.accuracy.value is None
    assert found.d_prime is not None
    assert found.d_prime.value is None


def test_columns_are_one_length() -> None:
    with pytest.raises(OptionError, match="rows don't match: true 1, sources 2"):
        headline(["speech"], ["speech"], LABELS, ["a", "b"])
    with pytest.raises(OptionError, match="unknown is 'no'; it must be 'wrong' or 'dropped'"):
        headline(["speech"], ["speech"], LABELS, ["a"], "no")  # type: ignore[arg-type]
