"""Attention by torch's kernel, or written out where that is faster: on a CPU in bfloat16, and for single queries.

Of 500 queries (a mask, 4 rows, 8 heads of 64) torch's kernel takes 2.3 times as long in bfloat16, there and back;
of one query over 1,150 keys 3 times as long. In float32 there is no difference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Logits written out at most. More would rather be slow than fill memory: each layer keeps them for the way back.
_MOST = 1 << 27


def attended(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """`(rows, heads, tokens, head_dim)` queries over `(rows, heads, keys, head_dim)`; mask and causal by `seen`."""
    if q.device.type == "cpu":
        if q.shape[2] == 1 and not torch.is_grad_enabled():
            return _written_out(q.float(), k.float(), v.float(), mask).to(q.dtype)
        if q.dtype == torch.bfloat16 and q.shape[:3].numel() * k.shape[2] <= _MOST:
            return _written_out(q, k, v, mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)


def seen(x: Tensor, mask: Tensor | None, causal: bool) -> tuple[Tensor | None, bool]:
    """A mask, true for what is seen, as `attended` wants it for all layers of a pass over x `(rows, tokens, width)`.

    Where attention is written out that is what is added to its logits, 0 or -inf; elsewhere it stays as it is.
    """
    dtype = product_dtype(x)
    if x.device.type != "cpu" or dtype != torch.bfloat16:
        return mask, causal
    if causal:
        place = torch.arange(x.shape[1])
        mask = place <= place[:, None]
    if mask is None:
        return None, False
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, -torch.inf), False


def product_dtype(x: Tensor) -> torch.dtype:
    """What products with x are computed in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    logits = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    return logits.softmax(-1, dtype=v.dtype) @ v
