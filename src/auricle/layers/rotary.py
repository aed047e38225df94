"""Rotary position embedding: pairs of dimensions (i, i + half) turn by an angle that grows with the position."""

from __future__ import annotations

import torch
from torch import Tensor


def frequencies(head_dim: int, theta: float, rotated: float = 1.0) -> Tensor:
    """Angles per position: `(head_dim / 2,)`, float32.

    `rotated < 1` is the "proportional" kind: exponents run over the whole head, but only this part of it turns; the
    other frequencies are zero (transformers 5.23, `modeling_rope_utils.py`).
    """
    turning = int(rotated * head_dim // 2)
    exponents = torch.arange(0, 2 * turning, 2, dtype=torch.float32) / head_dim
    return torch.cat([1.0 / theta**exponents, torch.zeros(head_dim // 2 - turning)])


def cos_sin(positions: Tensor, inverse: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """`(tokens,)` positions -> cosines and sines, each `(tokens, head_dim)`; computed in float32, then rounded."""
    angles = positions.float()[:, None] * inverse
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns `(batch, tokens, heads, head_dim)` by `(tokens, head_dim)` cosines and sines."""
    first, second = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]
