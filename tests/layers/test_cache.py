"""What caches give, against a list of all positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from auricle.layers import cache as cache_module
from auricle.layers.cache import LayerCache, SlotCache

SLACK = 20


def positions(start: int, count: int) -> tuple[Tensor, Tensor]:
    """Keys `(2, 3, count, 4)` that hold their position, and values that hold its negative."""
    keys = torch.arange(start, start + count, dtype=torch.float32)[None, None, :, None].expand(2, 3, count, 4)
    return keys, -keys


def held(keys: Tensor, values: Tensor) -> list[int]:
    """Which positions a cache gave, in the order given; all heads and the values agree."""
    assert torch.equal(keys, -values)
    assert torch.equal(keys, keys[:1, :1, :, :1].expand_as(keys))
    return keys[0, 0, :, 0].int().tolist()


@pytest.fixture(autouse=True)
def little_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SLACK", SLACK)


Turns = st.lists(st.one_of(st.integers(1, 30), st.tuples(st.sampled_from(["fork", "truncate"]), st.floats(0, 1))))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=Turns, window=st.one_of(st.none(), st.integers(1, 17)), capacity=st.integers(1, 64))
def test_it_holds_what_the_new_positions_may_see(turns: list[Any], window: int | None, capacity: int) -> None:
    """Whatever was read, taken back and forked before."""
    cache, length, others = LayerCache(window, capacity), 0, []
    for turn in turns:
        if isinstance(turn, int):
            seen = held(*cache.extend(*positions(length, turn)))
            oldest = 0 if window is None else max(0, length - window + 1)
            assert seen == list(range(oldest, length + turn))  # of the first new position, then all new ones
            length += turn
        else:
            length = round(cache.shortest + turn[1] * (length - cache.shortest))
            if turn[0] == "fork":
                others.append((cache, cache.length))
                cache = cache.fork(length)
            else:
                cache.truncate(length)
        assert cache.length == length
        assert window is None or cache.kept <= 2 * (window - 1 + SLACK)
    for other, before in others:  # a fork has changed nothing
        oldest = 0 if window is None else max(0, before - window + 1)
        assert held(*other.extend(*positions(before, 2))) == list(range(oldest, before + 2))


@pytest.mark.parametrize("count", [1, 7, 100])
def test_so_much_can_always_be_taken_back(count: int) -> None:
    cache = LayerCache(8)
    while cache.length < 500:
        cache.extend(*positions(cache.length, count))
        assert cache.shortest <= max(0, cache.length - SLACK)


@settings(max_examples=100, deadline=None)
@given(chunks=st.lists(st.integers(1, 40), min_size=1, max_size=12), capacity=st.integers(1, 64))
def test_a_full_cache_holds_everything(chunks: list[int], capacity: int) -> None:
    cache, length = LayerCache(capacity=capacity), 0
    for new in chunks:
        seen = held(*cache.extend(*positions(length, new)))
        length += new
        assert seen == list(range(length))


def test_a_sliding_cache_does_not_grow() -> None:
    cache = LayerCache(8)
    for start in range(0, 10_000, 100):
        cache.extend(*positions(start, 100))
    for start in range(10_000, 10_200):
        cache.extend(*positions(start, 1))
        assert cache.nbytes <= 2 * 2 * (7 + SLACK) * 2 * 3 * 4 * 4


def test_a_full_cache_grows_by_doubling() -> None:
    """So that a long answer copies what it holds a few times, not at every token."""
    cache, sizes = LayerCache(capacity=4), set()
    for at in range(100):
        cache.extend(*positions(at, 1))
        assert cache._keys is not None
        sizes.add(cache._keys.shape[2])
    assert sizes == {4, 8, 16, 32, 64, 128}


def test_what_was_dropped_does_not_come_back() -> None:
    cache = LayerCache(4)
    for start in range(0, 2000, 50):
        cache.extend(*positions(start, 50))
    with pytest.raises(AssertionError):
        cache.truncate(cache.shortest - 1)
    with pytest.raises(AssertionError):
        cache.fork(cache.shortest - 1)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=st.lists(st.one_of(st.integers(1, SLACK), st.floats(0, 1)), max_size=30), window=st.integers(1, 17))
def test_slots_say_how_far_back_they_go(turns: list[Any], window: int) -> None:
    """What `SlotCache.shortest` promises, by a list of which position each slot holds."""
    cache = SlotCache(1, 16, torch.float32, window=window)
    slots: dict[int, int] = {}
    length = reached = 0
    for turn in turns:
        if isinstance(turn, int):
            cache.reserve(length + turn)
            slots |= {position % cache.capacity: position for position in range(length, length + turn)}
            length += turn
            reached = max(reached, length)
        else:
            length = round(cache.shortest(reached) + turn * (length - cache.shortest(reached)))
        for position in range(max(0, length - window + 1), length):
            assert slots[position % cache.capacity] == position


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("count", "dim"), [(0, 16), (1, 2), (16, 16), (37, 24)])
def test_slots_that_are_filled_lie_as_the_kernels_read_them(dtype: torch.dtype, count: int, dim: int) -> None:
    """By the description in `native/attention.inl`."""
    cache = SlotCache(3, dim, dtype, window=None)
    cache.reserve(count + 1)
    keys, values = torch.randn(2, 3, count, dim, generator=torch.Generator().manual_seed(count)).to(dtype)
    cache.fill(keys, values)
    numbers = 4 // dtype.itemsize
    held_keys, held_values = cache.keys.unsqueeze(-1).view(dtype), cache.values.unsqueeze(-1).view(dtype)
    for slot in range(count):
        for d in range(dim):
            in_keys = held_keys[:, slot // 16, d // numbers, slot % 16, d % numbers]
            assert torch.equal(in_keys, keys[:, slot, d])
            assert torch.equal(held_values[:, slot // numbers, d, slot % numbers], values[:, slot, d])
    words = 3 * (count * dim // numbers), 3 * (-(-count // numbers) * dim)
    assert (int(cache.keys.count_nonzero()), int(cache.values.count_nonzero())) == words  # and nothing elsewhere
