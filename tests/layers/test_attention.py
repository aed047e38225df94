"""Causal attention against the sum written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from auricle.layers import attention
from auricle.layers.attention import causal_attention, slot_attention


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def written_out(q: Tensor, k: Tensor, v: Tensor, window: int | None, scale: float) -> Tensor:
    out = torch.zeros_like(q)
    offset, group = k.shape[2] - q.shape[2], q.shape[1] // k.shape[1]
    for head in range(q.shape[1]):
        for query in range(q.shape[2]):
            position = query + offset
            oldest = 0 if window is None else max(0, position - window + 1)
            keys, values = (x[:, head // group, oldest : position + 1] for x in (k, v))
            weights = torch.softmax((keys @ q[:, head, query, :, None])[..., 0] * scale, dim=-1)
            out[:, head, query] = (weights[..., None] * values).sum(1)
    return out


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 1, 3, 8, 50])
@pytest.mark.parametrize(("queries", "positions"), [(1, 1), (7, 7), (5, 12), (2, 30)])
def test_against_the_sum(queries: int, positions: int, window: int | None, kv_heads: int) -> None:
    q = random(2, 4, queries, 6, seed=1)
    k, v = random(2, kv_heads, positions, 6, seed=2), random(2, kv_heads, positions, 6, seed=3)
    expected = written_out(q, k, v, window, 0.7)
    assert (causal_attention(q, k, v, window, 0.7) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("window", [None, 5])
def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch, window: int | None) -> None:
    q, k, v = random(1, 2, 23, 4, seed=1), random(1, 1, 40, 4, seed=2), random(1, 1, 40, 4, seed=3)
    whole = causal_attention(q, k, v, window)
    monkeypatch.setattr(attention, "QUERY_BLOCK", 7)
    assert (causal_attention(q, k, v, window) - whole).abs().max() < 1e-6


def test_one_new_position_sees_its_whole_cache() -> None:
    """Its ring is already as short as the window, and may be in another order."""
    q, k, v = random(1, 2, 1, 4, seed=1), random(1, 1, 9, 4, seed=2), random(1, 1, 9, 4, seed=3)
    shuffled = torch.randperm(9, generator=torch.Generator().manual_seed(4))
    ordered = causal_attention(q, k, v, window=9)
    assert (causal_attention(q, k[:, :, shuffled], v[:, :, shuffled], window=9) - ordered).abs().max() < 1e-6


def test_the_scale_is_not_taken_from_the_head_size() -> None:
    q, k, v = random(1, 1, 3, 16, seed=1), random(1, 1, 3, 16, seed=2), random(1, 1, 3, 16, seed=3)
    scaled = causal_attention(q, k, v, None, scale=1 / math.sqrt(16))
    assert (causal_attention(q, k, v, None) - scaled).abs().max() > 0.01


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_slots_in_any_order_and_some_of_them_hidden(kv_heads: int) -> None:
    q = random(1, 4, 1, 16, seed=1)
    k, v = random(1, kv_heads, 30, 16, seed=2), random(1, kv_heads, 30, 16, seed=3)
    seen = torch.randperm(30, generator=torch.Generator().manual_seed(4))[:17]
    bias = torch.full((1, 30), -torch.inf)
    bias[:, seen] = 0
    expected = causal_attention(q, k[:, :, seen], v[:, :, seen], None, scale=0.7)
    assert (slot_attention(q, k, v, bias, scale=0.7) - expected).abs().max() < 1e-6
