"""What the native kernels compute, in float64 and plainly, and how far from it rounding may take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from auricle.quant.packed import PackedLinear

Numbers = NDArray[np.float64]

FAINT = 1e-36  # a group of activations with nothing above it counts as zero
STEP = 2.0**-8  # of bfloat16: twice what rounding may change a number by
TINY = 2e-38  # about the smallest float32 with all its digits


@dataclass(frozen=True)
class Bounded:
    """Exact values, and for each how far from it a result may be."""

    value: Tensor  # float64
    bound: Tensor

    def check(self, given: Tensor) -> None:
        assert given.shape == self.value.shape, f"{tuple(given.shape)}, not {tuple(self.value.shape)}"
        apart = (given.double() - self.value).abs()
        wrong = ~(apart <= self.bound)  # true of what is not a number too
        if bool(wrong.any()):
            at = tuple(wrong.nonzero()[0].tolist())
            found = f"{float(given[at])!r}, not {float(self.value[at])!r} within {float(self.bound[at]):.3g}"
            raise AssertionError(f"{int(wrong.sum())} of {wrong.numel()} are wrong; at {at} {found}")


def rounded(x: Tensor) -> Tensor:
    """`(..., width)` -> what is left of it in 8 bits: float64. The kernels round in float32, ties to even."""
    width = x.shape[-1]
    grouped = F.pad(x.float(), (0, -width % 32)).unflatten(-1, (-1, 32))
    highest = grouped.abs().amax(-1, keepdim=True)
    inverse = torch.tensor(127.0) / highest  # a plain 127 would be multiplied by the reciprocal, which rounds twice
    q = (grouped * torch.where(highest > FAINT, inverse, 0)).round()
    return (q.double() * (highest / 127).double()).flatten(-2)[..., :width]


def linear(layer: PackedLinear, x: Tensor) -> Bounded:
    """Of a packed linear: the products are exact, their sums are in float32."""
    q, weight = rounded(x), layer.dense(torch.float64)
    bias = 0.0 if layer.bias is None else layer.bias.double()
    value, size = q @ weight.T + bias, q.abs() @ weight.abs().T + torch.as_tensor(bias).abs()
    return Bounded(value, 2e-6 * size + (STEP * value.abs() if x.dtype == torch.bfloat16 else 0) + TINY)


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    x = x.double()
    normed = x / (x.square().mean(-1, keepdim=True) + eps).sqrt()
    return normed if weight is None else normed * weight.double()


def gelu(x: Tensor) -> Tensor:
    return F.gelu(x.double(), approximate="tanh")


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """`(rows, heads, dim)` by `(rows, dim / 2)`."""
    first, second = x.double().chunk(2, dim=-1)
    cos, sin = angles.double().cos()[:, None], angles.double().sin()[:, None]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, window: int, scale: float, dtype: torch.dtype) -> Bounded:
    """Causal attention of the last positions.

    Args:
        q: `(queries, heads, dim)`.
        k, v: `(positions, kv_heads, dim)`: all so far.
        window: 0 is none.
        dtype: of the cache, in which the kernels multiply.
    """
    group = q.shape[1] // k.shape[1]
    q, k, v = (part.to(dtype).double() for part in (q, k, v))
    k, v = (part.repeat_interleave(group, dim=1) for part in (k, v))
    logits = torch.einsum("qhd,khd->hqk", q, k) * scale
    queries = torch.arange(len(k) - len(q), len(k))[:, None]
    keys = torch.arange(len(k))[None]
    seen = (keys <= queries) & ((queries - keys < window) if window else True)
    shares = logits.masked_fill(~seen, -torch.inf).softmax(-1)
    value, size = torch.einsum("hqk,khd->qhd", shares, v), torch.einsum("hqk,khd->qhd", shares, v.abs())
    # A logit is a sum in float32, whose error multiplies the share; in bfloat16 the shares are rounded too.
    size_of_logits = torch.einsum("qhd,khd->hqk", q.abs(), k.abs()).amax(-1).T[..., None] * abs(scale)
    error = 2e-6 + 5e-7 * size_of_logits + (STEP if dtype == torch.bfloat16 else 0)
    return Bounded(value, error * size + TINY)
