"""Parts of some work that a thread makes ahead: their order, how far ahead, errors, and stopping early."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from auricle.jobs.ahead import AHEAD, made_ahead


def test_all_in_order() -> None:
    assert list(made_ahead(lambda item: item * item, range(20))) == [item * item for item in range(20)]
    assert list(made_ahead(str, [])) == []


def test_no_more_is_taken_than_so_far_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(20):
            taken.append(item)
            yield item

    parts = made_ahead(str, items())
    for number in range(5):
        assert next(parts) == str(number)
        assert len(taken) == number + AHEAD


def test_an_error_comes_up_at_its_turn() -> None:
    parts = made_ahead(lambda item: 1 // item, [1, 1, 0, 1])
    assert [next(parts), next(parts)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(parts)


def test_who_stops_early_leaves_nothing_running() -> None:
    parts = made_ahead(str, range(1000))
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
