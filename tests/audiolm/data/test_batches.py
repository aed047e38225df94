"""Batches: nothing lost, nothing twice, never too long, little padding, the same again, and as many on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from auricle.audiolm.data.batches import Buckets, filtered
from auricle.errors import OptionError


@dataclass(frozen=True)
class Lasting:
    seconds: float


def lasting(*seconds: float) -> list[Lasting]:
    return [Lasting(one) for one in seconds]


def unequal(count: int, low: float = 2.0, high: float = 15.0) -> list[Lasting]:
    return lasting(*np.random.default_rng(0).uniform(low, high, count).tolist())


def padded(items: Sequence[Lasting], batch: Sequence[int]) -> float:
    return len(batch) * max(items[number].seconds for number in batch)


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [7, 8, 20, 201, 1000])
def test_every_item_is_in_one_batch_of_one_rank(count: int, world: int) -> None:
    items = unequal(count)
    for epoch in range(3):
        ranks = [Buckets(items, 60, 1, rank=rank, world=world).batches(epoch) for rank in range(world)]
        assert len({len(batches) for batches in ranks}) == 1
        assert sorted(number for batches in ranks for batch in batches for number in batch) == list(range(count))
        assert all(batch and padded(items, batch) <= 60 for batches in ranks for batch in batches)


def test_batches_are_full_and_hardly_padded() -> None:
    items = unequal(4000)
    batches = Buckets(items, 150).batches(0)
    taken = sum(padded(items, batch) for batch in batches)
    assert taken / sum(one.seconds for one in items) < 1.04
    assert taken / (150 * len(batches)) > 0.9
    unsorted = Buckets(items, 150, buckets=1).batches(0)
    assert sum(padded(items, batch) for batch in unsorted) > 1.4 * taken


def test_ranks_have_batches_of_like_length_at_the_same_place() -> None:
    items = unequal(2000)
    ranks = [Buckets(items, 100, rank=rank, world=2).batches(0) for rank in (0, 1)]
    apart = [
        abs(max(items[n].seconds for n in first) - max(items[n].seconds for n in second))
        for first, second in zip(*ranks, strict=True)
    ]
    assert np.mean(apart) < 0.7  # unrelated batches are 4 s apart


def test_an_epoch_is_the_same_again_and_another_is_another() -> None:
    items = unequal(300)
    again = Buckets(items, 100, 5)
    first = Buckets(items, 100, 5).batches(0)
    assert again.batches(3) != first  # another epoch before makes no difference
    assert again.batches(0) == first
    assert Buckets(items, 100, 6).batches(0) != first
    assert len({frozenset(batch) for epoch in range(5) for batch in again.batches(epoch)}) > 3 * len(first)


def test_neither_lengths_nor_order_follow_the_manifest() -> None:
    items = unequal(500)
    lengths = [max(items[n].seconds for n in batch) for batch in Buckets(items, 60).batches(0)]
    assert abs(np.corrcoef(lengths, range(len(lengths)))[0, 1]) < 0.3


def test_items_of_one_length_are_batched_at_random() -> None:
    items = lasting(*[5.0] * 40)
    batches = Buckets(items, 50).batches(0)
    assert [len(batch) for batch in batches] == [10] * 4
    assert sorted(batches[0]) != list(range(min(batches[0]), min(batches[0]) + 10))


@pytest.mark.parametrize(
    ("seconds", "values", "message"),
    [
        ((1.0, 20.0), {}, "max_duration is 10 s, and the longest item has 20: raise it, or .* filter_max_duration"),
        ((), {}, "there are no items"),
        ((1.0,), {"world": 2}, "1 items can't be shared by 2 processes"),
        ((1.0,), {"max_seconds": 0}, "max_duration is 0; it must be a number of seconds above 0"),
        ((1.0,), {"max_seconds": float("nan")}, "max_duration is nan"),
        ((1.0,), {"seed": -1}, "seed is -1; it must be at least 0"),
        ((1.0,), {"buckets": 0}, "buckets is 0; it must be at least 1"),
        ((1.0,), {"rank": 2, "world": 2}, "rank is 2; it must be from 0 to 1"),
    ],
)
def test_values_outside_their_range(seconds: tuple[float, ...], values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Buckets(lasting(*seconds), **{"max_seconds": 10, **values})


def test_items_that_fill_a_batch_each_and_cannot_be_shared() -> None:
    items = lasting(*[10.0] * 5)
    with pytest.raises(OptionError, match="5 batches of an item each, which 2 processes can't share evenly: raise it"):
        Buckets(items, 15, world=2)
    assert len(Buckets(items, 15).batches(0)) == 5
    assert [len(Buckets(items[:4], 15, rank=rank, world=2).batches(0)) for rank in (0, 1)] == [2, 2]
    assert [len(Buckets(items, 20, rank=rank, world=2).batches(0)) for rank in (0, 1)] == [2, 2]


def test_what_is_filtered_out_is_told() -> None:
    items = lasting(1.0, 5.0, 7.0, 15.0, 16.0)
    kept, said = filtered(items, 5.0, 15.0)
    assert [one.seconds for one in kept] == [5.0, 7.0, 15.0]
    assert said == "2 of 5 items are left out: 1 shorter than 5 s, 1 longer than 15 s"
    assert filtered(items) == (items, None)
    with pytest.raises(OptionError, match="filter_max_duration is 4; it must be at least filter_min_duration, 5"):
        filtered(items, 5, 4)
    with pytest.raises(OptionError, match="filter_min_duration is -1"):
        filtered(items, -1)
