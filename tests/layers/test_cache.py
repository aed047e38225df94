"""The ring against a cache that keeps everything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from auricle.layers.cache import LayerCache


def positions(start: int, count: int) -> tuple[Tensor, Tensor]:
    """Keys `(2, 3, count, 4)` that hold their position, and values that hold its negative."""
    keys = torch.arange(start, start + count, dtype=torch.float32)[None, None, :, None].expand(2, 3, count, 4)
    return keys, -keys


def held(keys: Tensor, values: Tensor) -> list[int]:
    """Which positions a cache gave, in the order given; all heads and the values agree."""
    assert torch.equal(keys, -values)
    assert torch.equal(keys, keys[:1, :1, :, :1].expand_as(keys))
    return keys[0, 0, :, 0].int().tolist()


@settings(max_examples=200, deadline=None)
@given(chunks=st.lists(st.integers(1, 23), min_size=1, max_size=12), window=st.integers(1, 17))
def test_a_ring_holds_what_the_new_positions_may_see(chunks: list[int], window: int) -> None:
    cache, length = LayerCache(window), 0
    for new in chunks:
        seen = held(*cache.extend(*positions(length, new)))
        length += new
        assert cache.length == length
        if new == 1:  # order doesn't matter, and it holds no more than the one position may see
            assert sorted(seen) == list(range(max(0, length - window), length))
        else:  # what was kept before, then all that is new, in order
            assert seen == list(range(max(0, length - new - window), length))


@settings(max_examples=100, deadline=None)
@given(chunks=st.lists(st.integers(1, 40), min_size=1, max_size=12), capacity=st.integers(1, 64))
def test_a_full_cache_holds_everything(chunks: list[int], capacity: int) -> None:
    cache, length = LayerCache(capacity=capacity), 0
    for new in chunks:
        seen = held(*cache.extend(*positions(length, new)))
        length += new
        assert seen == list(range(length))


def test_a_ring_does_not_grow() -> None:
    cache = LayerCache(8)
    for start in range(0, 1000, 100):
        cache.extend(*positions(start, 100))
        assert cache._keys is not None
        assert cache._keys.shape[2] == 8


def test_a_full_cache_grows_by_doubling() -> None:
    """So that a long answer copies what it holds a few times, not at every token."""
    cache, sizes = LayerCache(capacity=4), set()
    for at in range(100):
        cache.extend(*positions(at, 1))
        assert cache._keys is not None
        sizes.add(cache._keys.shape[2])
    assert sizes == {4, 8, 16, 32, 64, 128}


@pytest.mark.parametrize("window", [None, 10])
def test_truncate_forgets_the_end(window: int | None) -> None:
    cache = LayerCache(window)
    cache.extend(*positions(0, 9))
    cache.truncate(4)
    assert held(*cache.extend(*positions(4, 2))) == [0, 1, 2, 3, 4, 5]


def test_a_ring_that_has_dropped_positions_can_not_go_back() -> None:
    cache = LayerCache(4)
    cache.extend(*positions(0, 6))
    with pytest.raises(AssertionError):
        cache.truncate(3)


def test_what_was_given_may_be_overwritten_later_but_not_before_the_next_call() -> None:
    cache = LayerCache(4)
    cache.extend(*positions(0, 4))
    assert sorted(held(*cache.extend(*positions(4, 1)))) == [1, 2, 3, 4]
    assert sorted(held(*cache.extend(*positions(5, 1)))) == [2, 3, 4, 5]


@pytest.mark.parametrize(("window", "slots"), [(None, 300), (8, 8)])
@pytest.mark.parametrize("length", [3, 20])
def test_moving_changes_nothing(window: int | None, slots: int, length: int) -> None:
    cache, stayed = LayerCache(window), LayerCache(window)
    for each in (cache, stayed):
        each.extend(*positions(0, length))
    keys, values = torch.zeros(2, 3, slots, 4), torch.zeros(2, 3, slots, 4)
    cache.move(keys, values)
    for count in (1, 1, 5, 1):
        new = positions(cache.length, count)
        assert held(*cache.extend(*new)) == held(*stayed.extend(*new))
    assert cache._keys is keys
    assert cache._values is values
