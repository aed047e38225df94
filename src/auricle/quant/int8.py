"""int8: symmetric, a float32 scale for each output row. 8 bits a weight.

A weight is `scale * q`, q from -127 to 127. With B blocks of 16 rows and G groups of 32 inputs:

- `weight`, int8 `(B, G, 512)`: byte 64 w + 4 l + b (w from 0 to 7, lane l from 0 to 15, b from 0 to 3) is the q of
  row l of the block and input 4 w + b of the group.
- `scales`, float32 `(B, 16)`: of each lane.

What fills up blocks and groups has q = 0, and rows that are none have scale 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from auricle.layers.packing import GROUP_SIZE
from auricle.quant.packed import LANES, PackedLinear, blocks, filled, groups, require_finite

HIGHEST = 127


class Int8Linear(PackedLinear):
    """See this file's head."""

    bits = 8

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__(in_features, out_features, bias)
        count = blocks(out_features)
        self.register_buffer("weight", torch.empty(count, groups(in_features), LANES * GROUP_SIZE, dtype=torch.int8))
        self.register_buffer("scales", torch.empty(count, LANES))

    @staticmethod
    def pack(weight: Tensor, name: str = "the weight") -> dict[str, Tensor]:
        q, scales = (filled(part, LANES, 0) for part in quantise(weight, name))
        words = filled(q, GROUP_SIZE, 1).view(len(q) // LANES, LANES, -1, 8, 4)  # (B, lane, G, w, b)
        return {
            "weight": words.permute(0, 2, 3, 1, 4).flatten(2).contiguous(),
            "scales": scales.view(-1, LANES),
        }

    @staticmethod
    def unpack(weight: Tensor, scales: Tensor, out_features: int, in_features: int) -> Tensor:
        words = weight.view(*weight.shape[:2], 8, LANES, 4).permute(0, 3, 1, 2, 4)  # (B, lane, G, w, b)
        whole = words.flatten(2).float() * scales[..., None]
        return whole.flatten(0, 1)[:out_features, :in_features]


def quantise(weight: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Numbers to integers and scales.

    Args:
        weight: `(rows, width)`.
        name: of the tensor, for messages.

    Returns:
        `(rows, width)` int8 from -127 to 127, and `(rows,)` float32.

    Raises:
        CheckpointError: a number is not finite.
    """
    weight = weight.float()
    require_finite(weight, name)
    scales = weight.abs().amax(1, keepdim=True) / HIGHEST
    q = torch.where(scales == 0, 0.0, weight / scales).round_().clamp_(-HIGHEST, HIGHEST)
    return q.to(torch.int8), scales[:, 0]


pack, unpack = Int8Linear.pack, Int8Linear.unpack
