"""d' and the criterion: by hand, on simulated listeners, and at the ends of the scale."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from auricle.errors import OptionError
from auricle.evaluation.statistics import detection


def answers(signals: int, hits: int, others: int, false_alarms: int) -> tuple[list[bool], list[bool]]:
    said = [i < hits for i in range(signals)] + [i < false_alarms for i in range(others)]
    return [True] * signals + [False] * others, said


def test_a_case_by_hand() -> None:
    """20 of 25 hits and 10 of 25 false alarms: z(20.5 / 26) and z(10.5 / 26)."""
    found = detection(*answers(25, 20, 25, 10))
    hit, alarm = NormalDist().inv_cdf(20.5 / 26), NormalDist().inv_cdf(10.5 / 26)
    assert found.d_prime == pytest.approx(hit - alarm)
    assert found.d_prime == pytest.approx(1.0444, abs=1e-3)
    assert found.criterion == pytest.approx(-(hit + alarm) / 2)
    assert (found.hit_rate, found.false_alarm_rate) == (0.8, 0.4)
    assert "log-linear" in found.correction


def test_a_listener_of_known_sensitivity() -> None:
    """Evidence is normal, 1.5 apart, and "yes" from 0.9 on: c is 0.9 - 1.5 / 2."""
    rng = np.random.default_rng(0)
    positive = np.arange(200_000) % 2 == 0
    evidence = rng.normal(size=len(positive)) + 1.5 * positive
    found = detection(positive, evidence > 0.9)
    assert found.d_prime == pytest.approx(1.5, abs=0.02)
    assert found.criterion == pytest.approx(0.15, abs=0.01)


def test_preference_moves_the_criterion_and_accuracy_but_not_d_prime() -> None:
    rng = np.random.default_rng(1)
    positive = np.arange(200_000) % 2 == 0
    evidence = rng.normal(size=len(positive)) + positive
    strict, lax = detection(positive, evidence > 1.5), detection(positive, evidence > -0.5)
    assert strict.d_prime == pytest.approx(lax.d_prime, abs=0.03)
    assert strict.criterion > 0.9 > -0.9 > lax.criterion


def test_perfect_answers_have_a_finite_d_prime_that_grows_with_their_number() -> None:
    few, many = detection(*answers(10, 10, 10, 0)), detection(*answers(1000, 1000, 1000, 0))
    assert few.d_prime == pytest.approx(2 * NormalDist().inv_cdf(10.5 / 11))
    assert few.d_prime < many.d_prime < 7
    assert few.criterion == pytest.approx(0)


def test_saying_yes_to_everything_is_hearing_nothing() -> None:
    found = detection(*answers(50, 50, 50, 50))
    assert found.d_prime == pytest.approx(0)
    assert found.criterion < -2


def test_the_correction_is_made_in_every_case() -> None:
    """Made at 0 and 1 only, 19 of 20 would be nearly as good as 20 of 20, or better."""
    found = [detection(*answers(20, hits, 20, 5)).d_prime for hits in range(21)]
    steps = np.diff(found)
    assert (steps > 0).all()
    assert steps[-1] > steps[-2]


def test_one_class_alone_has_none() -> None:
    found = detection([True, True], [True, False])
    assert (found.d_prime, found.criterion, found.false_alarm_rate, found.hit_rate) == (None, None, None, 0.5)


def test_columns_are_flags_of_one_length() -> None:
    with pytest.raises(OptionError, match="rows don't match: positive 2, said 1"):
        detection([True, False], [True])
    with pytest.raises(OptionError, match="said is 2 in row 1; it must be true or false"):
        detection([1, 0], [1, 2])
