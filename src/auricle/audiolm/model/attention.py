"""Attention by torch's kernel, or written out where that is faster: on a CPU in bfloat16, and for single queries.

Of 500 queries (a mask, 4 rows, 8 heads of 64) torch's kernel takes 2.3 times as long in bfloat16, there and back;
of one query over 1,150 keys 3 times as long. In float32 there is no difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Logits written out at most. More would rather be slow than fill memory: each layer keeps them for the way back.
_MOST = 1 << 27


@dataclass(frozen=True)
class Seen:
    """What queries see, the same for all layers of a pass."""

    mask: Tensor | None  # bool, (rows or 1, 1, tokens or 1, keys), true for what is seen
    causal: bool
    written: bool = False  # whether attention is written out; then `added` stands for both
    added: Tensor | None = None  # to logits: 0 for what is seen, -inf for the rest


def attended(q: Tensor, k: Tensor, v: Tensor, seen: Seen) -> Tensor:
    """`(rows, heads, tokens, head_dim)` queries over `(rows, heads, keys, head_dim)` -> `(rows, tokens, width)`."""
    if q.device.type == "cpu" and q.shape[2] == 1 and not torch.is_grad_enabled():
        added = seen.added if seen.written else _added(seen.mask, torch.float32)
        found = _written_out(q.float(), k.float(), v.float(), added).to(q.dtype)
    elif seen.written and q.shape[:3].numel() * k.shape[2] <= _MOST:
        found = _written_out(q, k, v, seen.added)
    else:
        mask = seen.added if seen.written else seen.mask
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=seen.causal)
    return found.transpose(1, 2).flatten(2)


def seen(x: Tensor, mask: Tensor | None, causal: bool) -> Seen:
    """What the queries of a pass see.

    Args:
        x: `(rows, tokens, width)`, what they are computed from.
        mask: as in `Seen`; None: everything, or where `causal` is set what is before.
    """
    dtype = product_dtype(x)
    if x.device.type != "cpu" or dtype != torch.bfloat16:
        return Seen(mask, causal)
    if causal:
        place = torch.arange(x.shape[1])
        mask = (place <= place[:, None])[None, None]
    return Seen(mask, False, True, _added(mask, dtype))


def product_dtype(x: Tensor) -> torch.dtype:
    """What products with x are computed in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to logits: 0 where there is something to see, -inf elsewhere; None where all is seen."""
    return None if mask is None else torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, -torch.inf)


def _written_out(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    logits = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
    if bias is not None:
        with torch.no_grad():  # what is constant has no gradient: no copy, and nothing to go back through
            logits += bias
    return logits.softmax(-1, dtype=v.dtype) @ v
