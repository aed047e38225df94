"""Causal attention with fewer key-value heads than query heads, full or within a sliding window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

QUERY_BLOCK = 64  # positions at a time: bounds the memory of a long prefill, and skips most of what the mask hides


def causal_attention(q: Tensor, k: Tensor, v: Tensor, window: int | None, scale: float = 1.0) -> Tensor:
    """Attends from the last positions to everything before them.

    Args:
        q: `(batch, heads, queries, head_dim)`: the last `queries` of the positions in k.
        k, v: `(batch, kv_heads, positions, head_dim)`, positions >= queries.
        window: a query sees itself and the `window - 1` positions before it; None is all of them.

    Returns:
        `(batch, heads, queries, head_dim)`.
    """
    queries, positions = q.shape[2], k.shape[2]
    if queries == 1:  # one new position: its cache holds just what it may see
        return _grouped(q, k, v, None, scale)
    blocks = []
    for start in range(0, queries, QUERY_BLOCK):
        block = q[:, :, start : start + QUERY_BLOCK]
        first = positions - queries + start  # the position of the block's first query
        last = first + block.shape[2]
        oldest = 0 if window is None else max(0, first - window + 1)
        query = torch.arange(first, last, device=q.device)[:, None]
        key = torch.arange(oldest, last, device=q.device)[None, :]
        mask = key <= query
        if window is not None:
            mask &= query - key < window
        blocks.append(_grouped(block, k[:, :, oldest:last], v[:, :, oldest:last], mask, scale))
    return torch.cat(blocks, dim=2) if len(blocks) > 1 else blocks[0]


def slot_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float = 1.0) -> Tensor:
    """Attends from one position to the slots that it sees, in tensors whose shapes don't say which these are.

    Args:
        q: `(batch, heads, 1, head_dim)`.
        k, v: `(batch, kv_heads, slots, head_dim)`, finite also where nothing was written.
        bias: `(1, slots)`, of q's dtype: 0, or -inf for a slot that is not seen.

    Returns:
        `(batch, heads, 1, head_dim)`.
    """
    folded = q.unflatten(1, (k.shape[1], -1)).squeeze(3)  # see `_grouped`
    return F.scaled_dot_product_attention(folded, k, v, attn_mask=bias, scale=scale).flatten(1, 2)[:, :, None]


def _grouped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Each key-value head serves `heads / kv_heads` query heads.

    These become so many more queries of that one head: its keys and values are then read once, not once for each of
    them, which makes a decode step's attention 20 times faster on a CPU.
    """
    batch, heads, queries, dim = q.shape
    kv_heads = k.shape[1]
    group = heads // kv_heads
    folded = q.reshape(batch, kv_heads, group * queries, dim)
    if mask is not None:
        mask = mask.repeat(group, 1)
    if mask is None or q.device.type != "cpu":
        out = F.scaled_dot_product_attention(folded, k, v, attn_mask=mask, scale=scale)
    else:
        # Plainly, since torch's kernel for the CPU takes twice as long. Logits in float32, as that kernel has them.
        logits = (folded.float() * scale) @ k.float().transpose(-1, -2)
        out = logits.masked_fill(~mask, -torch.inf).softmax(-1).to(v.dtype) @ v
    return out.view(batch, heads, queries, dim)
