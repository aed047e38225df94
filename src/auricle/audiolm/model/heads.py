"""Queries, keys and values, turned by their positions and laid out as attention reads them, in one go.

Written as slices, products and a concatenation, this took a tenth of a training step on a CPU, most of it for gradients
that were filled with zeros, added and copied.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from auricle.audiolm.model.attention import product_dtype

Rotary = tuple[Tensor, Tensor]  # cosines and sines, each (rows or 1, tokens, 1, head_dim / 2)

THETA = 10_000.0


def angles(positions: Tensor, head_dim: int, like: Tensor) -> Rotary:
    """Cosines and sines for `laid_out`, computed in float32 and rounded to what the products will be in.

    Args:
        positions: `(rows, tokens)`.
        like: what the products are of.
    """
    steps = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
    turned = (positions[..., None].float() * THETA ** (-steps / head_dim))[:, :, None]
    dtype = product_dtype(like)
    return turned.cos().to(dtype), turned.sin().to(dtype)


def laid_out(x: Tensor, rotary: Rotary | None, turned: int) -> tuple[Tensor, ...]:
    """`(rows, tokens, parts, heads, head_dim)` -> `(rows, heads, tokens, head_dim)` of each part.

    Args:
        rotary: by which pairs (i, i + half) turn; None: nothing turns.
        turned: so many parts do, the first ones.
    """
    if rotary is None:
        return tuple(part.transpose(1, 2) for part in x.unbind(2))
    made: tuple[Tensor, ...] = _LaidOut.apply(x, *rotary, turned)  # type: ignore[no-untyped-call]
    return made


class _LaidOut(torch.autograd.Function):
    """The way back is a turn too, by the opposite angles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, turned: int) -> tuple[Tensor, ...]:
        rows, tokens, parts, heads, head_dim = x.shape
        made = tuple(x.new_empty(rows, heads, tokens, head_dim) for _ in range(parts))
        for number, part in enumerate(made):
            _put(x[:, :, number], part.transpose(1, 2), cos, sin, turned=number < turned)
        ctx.save_for_backward(cos, sin)
        ctx.turned = turned
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        rows, heads, tokens, head_dim = gradients[0].shape
        made = gradients[0].new_empty(rows, tokens, len(gradients), heads, head_dim)
        for number, gradient in enumerate(gradients):
            _put(gradient.transpose(1, 2), made[:, :, number], cos, -sin, turned=number < ctx.turned)
        return made, None, None, None


def _put(x: Tensor, into: Tensor, cos: Tensor, sin: Tensor, *, turned: bool) -> None:
    """Both `(rows, tokens, heads, head_dim)`."""
    if not turned:
        into.copy_(x)
        return
    first, second = x.chunk(2, dim=-1)
    to_first, to_second = into.chunk(2, dim=-1)
    torch.mul(first, cos, out=to_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=to_second).addcmul_(first, sin)
