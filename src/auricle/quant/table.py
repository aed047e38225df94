"""Packed embedding tables: looked up by row, and mapped from the file like the dense ones.

- "int8-rows": `weight` int8 `(rows, width)`, q from -127 to 127; `scales` float32 `(rows,)`.
- "int4-rows": groups of 32 along the row, q from -8 to 7, stored as the nibble q + 8. `weight` uint8
  `(rows, width / 2)`: byte 16 g + j holds input 32 g + j in its low nibble and input 32 g + 16 + j in its high one.
  `scales` float16 `(rows, width / 32)`. The width has to be a multiple of 32.

A number is `scale * q`. The integers and scales are those of the linears `int8` and `int4`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from auricle.errors import CheckpointError
from auricle.layers.packing import GROUP_SIZE
from auricle.layers.table import Lookup
from auricle.quant import int4, int8


class PackedTable(Lookup):
    """A table whose rows are packed. A subclass says how: the tensors' shapes, `pack` and `unpack`."""

    bits: ClassVar[int]
    exact: ClassVar[tuple[str, ...]] = ("weight", "scales")
    weight: Tensor
    scales: Tensor

    @staticmethod
    def pack(weight: Tensor, name: str = "the table") -> dict[str, Tensor]:
        """`(rows, width)` -> the tensors `weight` and `scales`; any rows can be packed alone.

        Raises:
            CheckpointError: a number is not finite, or too large for the scheme; the message begins with `name`.
        """
        raise NotImplementedError

    @staticmethod
    def unpack(weight: Tensor, scales: Tensor, rows: int, width: int) -> Tensor:
        """The tensors of `pack`, or some of their rows, -> `(rows, width)`, float32."""
        raise NotImplementedError

    def rows(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        own = ids.flatten().to(self.weight.device)
        found = self.unpack(self.weight[own], self.scales[own], len(own), self.width)
        return found.to(ids.device, dtype).view(*ids.shape, self.width)


class Int8Table(PackedTable):
    """Scheme "int8-rows"."""

    bits = 8

    def __init__(self, rows: int, width: int, scale: float) -> None:
        super().__init__(rows, width, scale)
        self.register_buffer("weight", torch.empty(rows, width, dtype=torch.int8))
        self.register_buffer("scales", torch.empty(rows))

    @staticmethod
    def pack(weight: Tensor, name: str = "the table") -> dict[str, Tensor]:
        q, scales = int8.quantise(weight, name)
        return {"weight": q, "scales": scales}

    @staticmethod
    def unpack(weight: Tensor, scales: Tensor, rows: int, width: int) -> Tensor:
        return weight.float() * scales[:, None]


class Int4Table(PackedTable):
    """Scheme "int4-rows"."""

    bits = 4

    def __init__(self, rows: int, width: int, scale: float) -> None:
        if width % GROUP_SIZE:
            raise CheckpointError(f"a table {width} wide can't be packed as 'int4-rows': it takes multiples of 32")
        super().__init__(rows, width, scale)
        self.register_buffer("weight", torch.empty(rows, width // 2, dtype=torch.uint8))
        self.register_buffer("scales", torch.empty(rows, width // GROUP_SIZE, dtype=torch.float16))

    @staticmethod
    def pack(weight: Tensor, name: str = "the table") -> dict[str, Tensor]:
        q, scales = int4.quantise(weight, name)
        low, high = (q + int4.RAISED).to(torch.uint8).chunk(2, dim=2)
        return {"weight": (low | high << 4).flatten(1), "scales": scales}

    @staticmethod
    def unpack(weight: Tensor, scales: Tensor, rows: int, width: int) -> Tensor:
        packed = weight.view(rows, width // GROUP_SIZE, GROUP_SIZE // 2)
        nibbles = torch.cat([packed & 15, packed >> 4], dim=2)  # (rows, groups, 32)
        return ((nibbles.float() - int4.RAISED) * scales.float()[..., None]).flatten(1)
