"""int4: groups of 32 along the input, symmetric, a half-precision scale for each row and group. 4.5 bits a weight.

A weight is `scale * q`, q from -8 to 7, stored as the nibble q + 8. With B blocks of 16 rows and G groups of 32 inputs:

- `weight`, uint8 `(B, G, 256)`: byte 64 v + 4 l + b (v from 0 to 3, lane l from 0 to 15, b from 0 to 3) holds row l of
  the block; in its low nibble input 4 v + b of the group, in its high nibble input 16 + 4 v + b.
- `scales`, float16 `(B, G, 16)`: of each lane.

What fills up blocks and groups has q = 0, and rows that are none have scale 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from auricle.errors import CheckpointError
from auricle.layers import native
from auricle.layers.packing import GROUP_SIZE
from auricle.quant.packed import LANES, PackedLinear, blocks, filled, groups, require_finite

# The scales tried: the group's peak (its number of largest size, with its sign) over each of these. At -8 the peak is
# exact and the other sign's end unused, as in llama.cpp's Q4_0. Beyond -8 the peak is cut off a little, and the rest is
# finer. Then the scale that fits the best one's integers by least squares is tried. On normal weights the relative
# error is 0.0813, against 0.0860 for -8 alone and 0.0971 for 7 alone; 19 steps of 0.1 get no further.
DIVISORS = (-8.75, -8.25, -8.0, -7.75, -7.25, 7.0)
LOWEST, HIGHEST, RAISED = -8, 7, 8


class Int4Linear(PackedLinear):
    """See this file's head."""

    bits = 4

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__(in_features, out_features, bias)
        shape = (blocks(out_features), groups(in_features))
        self.register_buffer("weight", torch.empty(*shape, LANES * GROUP_SIZE // 2, dtype=torch.uint8))
        self.register_buffer("scales", torch.empty(*shape, LANES, dtype=torch.float16))

    @staticmethod
    def pack(weight: Tensor, name: str = "the weight") -> dict[str, Tensor]:
        q, scales = (filled(part, LANES, 0) for part in quantise(weight, name))
        nibbles = q.view(-1, LANES, q.shape[1], 2, 4, 4) + RAISED  # (B, lane, G, half, v, b)
        low, high = nibbles.to(torch.uint8).unbind(3)
        packed = (low | high << 4).permute(0, 2, 3, 1, 4).flatten(2)  # (B, G, (v, lane, b))
        return {
            "weight": packed.contiguous(),
            "scales": scales.view(-1, LANES, q.shape[1]).transpose(1, 2).contiguous(),
        }

    @staticmethod
    def unpack(weight: Tensor, scales: Tensor, out_features: int, in_features: int) -> Tensor:
        packed = weight.view(*weight.shape[:2], 4, LANES, 4).permute(0, 3, 1, 2, 4)  # (B, lane, G, v, b)
        nibbles = torch.stack([packed & 15, packed >> 4], dim=3).flatten(3)  # (B, lane, G, 32)
        whole = (nibbles.float() - RAISED) * scales.transpose(1, 2).float()[..., None]
        return whole.flatten(2).flatten(0, 1)[:out_features, :in_features]


def quantise(weight: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Numbers to integers and scales, the width filled up with zeros.

    Args:
        weight: `(rows, width)`.
        name: of the tensor, for messages.

    Returns:
        `(rows, groups, 32)` int8 from -8 to 7, and `(rows, groups)` float16.

    Raises:
        CheckpointError: a number is not finite, or so large that its scale is not.
    """
    require_finite(weight, name)
    grouped = filled(weight.float(), GROUP_SIZE, 1).unflatten(1, (-1, GROUP_SIZE))
    search = native.pack_groups if native.takes(grouped) else _search
    q, scales = search(grouped, DIVISORS)
    if bool(scales.isnan().any()):
        raise CheckpointError(
            f"{name} has a number of size {float(weight.abs().max()):.3g}, too large for int4, whose scales end at "
            "65504: choose int8"
        )
    return q, scales


def _search(grouped: Tensor, divisors: Sequence[float]) -> tuple[Tensor, Tensor]:
    """What `native.pack_groups` does, by torch's operators: three to seven times slower."""
    peaks = grouped.gather(2, grouped.abs().argmax(2, keepdim=True))
    scales, errors = torch.zeros_like(peaks), torch.full_like(peaks, torch.inf)
    for divisor in divisors:
        _keep_better(scales, errors, grouped, peaks / divisor)
    scales[errors.isinf()] = torch.nan
    q = _integers(grouped, scales)
    _keep_better(scales, errors, grouped, (grouped * q).sum(2, keepdim=True) / q.square().sum(2, keepdim=True))
    return _integers(grouped, scales).to(torch.int8), scales[..., 0].half()


def _keep_better(scales: Tensor, errors: Tensor, grouped: Tensor, candidates: Tensor) -> None:
    """Puts candidates into `scales`, and their squared errors into `errors`, where these are smaller."""
    candidates = candidates.half().float()  # rounded as it will be stored, before its error is measured
    found = (_integers(grouped, candidates) * candidates).sub_(grouped).square_().sum(2, keepdim=True)
    better = found < errors  # not where the candidate is infinite or 0 / 0: that error is not a number
    scales[better], errors[better] = candidates[better], found[better]


def _integers(grouped: Tensor, scales: Tensor) -> Tensor:
    """What stands for the numbers, as float32: `(rows, groups, 32)`."""
    inverse = torch.where(scales == 0, 0.0, 1 / scales)
    return (grouped * inverse).round_().clamp_(LOWEST, HIGHEST)


pack, unpack = Int4Linear.pack, Int4Linear.unpack
