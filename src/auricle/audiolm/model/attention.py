"""Attention by torch's kernel, or written out where that is faster: on a CPU in bfloat16, and for single queries.

Of 500 queries (a mask, 4 rows, 8 heads of 64) torch's kernel takes 2.3 times as long in bfloat16, there and back;
of one query over 1,150 keys 3 times as long. In float32 there is no difference.

Written out, queries go in blocks, each over the keys that it sees some of: of a causal mask a third is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 192  # queries, at most
# Logits written out at most. More would rather be slow than fill memory: each layer keeps them for the way back.
_MOST = 1 << 27


@dataclass(frozen=True)
class Seen:
    """What queries see, the same for all layers of a pass. Without blocks it is for torch's kernel."""

    mask: Tensor | None  # bool, (rows or 1, 1, tokens or 1, keys), true for what is seen
    causal: bool
    blocks: tuple[tuple[int, int, Tensor | None], ...] = ()  # queries, keys from the first on, and 0 or -inf for each


def attended(q: Tensor, k: Tensor, v: Tensor, seen: Seen) -> Tensor:
    """`(rows, heads, tokens, head_dim)` queries over `(rows, heads, keys, head_dim)` -> `(rows, tokens, width)`."""
    if q.device.type == "cpu" and q.shape[2] == 1 and not torch.is_grad_enabled():
        bias = seen.blocks[0][2] if seen.blocks else _added(seen.mask, torch.float32)
        return _joined([_written_out(q.float(), k.float(), v.float(), bias).to(q.dtype)])
    if not seen.blocks:
        return _joined([F.scaled_dot_product_attention(q, k, v, attn_mask=seen.mask, is_causal=seen.causal)])
    fits = q.shape[:2].numel() * sum(queries * keys for queries, keys, _ in seen.blocks) <= _MOST
    written = _written_out if fits else F.scaled_dot_product_attention
    parts = zip(q.split([queries for queries, _, _ in seen.blocks], dim=2), seen.blocks, strict=True)
    return _joined([written(part, k[:, :, :keys], v[:, :, :keys], bias) for part, (_, keys, bias) in parts])


def seen(x: Tensor, mask: Tensor | None, causal: bool, tokens: int, keys: int) -> Seen:
    """What so many queries see of so many keys.

    Args:
        x: what they are computed from: its device and its type count.
        mask: as in `Seen`; None: everything, or where `causal` is set what is before.
    """
    dtype = product_dtype(x)
    if x.device.type != "cpu" or dtype != torch.bfloat16:
        return Seen(mask, causal)
    if causal:
        place = torch.arange(tokens)
        mask = (place <= place[:, None])[None, None]
    if mask is None or mask.shape[2] == 1:
        return Seen(mask, False, ((tokens, keys, _added(mask, dtype)),))
    parts = mask.tensor_split(-(-tokens // BLOCK), dim=2)
    ends = [int(part.any((0, 1, 2)).nonzero().max()) + 1 for part in parts]
    blocks = ((part.shape[2], end, _added(part[..., :end], dtype)) for part, end in zip(parts, ends, strict=True))
    return Seen(mask, False, tuple(blocks))


def product_dtype(x: Tensor) -> torch.dtype:
    """What products with x are computed in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to logits: 0 where there is something to see, -inf elsewhere; None where all is seen."""
    return None if mask is None else torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, -torch.inf)


def _joined(parts: list[Tensor]) -> Tensor:
    """Blocks `(rows, heads, tokens, head_dim)` -> `(rows, tokens, heads * head_dim)`."""
    turned = [part.transpose(1, 2) for part in parts]
    return (turned[0] if len(turned) == 1 else torch.cat(turned, dim=1)).flatten(2)


def _written_out(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    logits = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
    if bias is not None:
        with torch.no_grad():  # what is constant has no gradient: no copy, and nothing to go back through
            logits += bias
    return logits.softmax(-1, dtype=v.dtype) @ v
