"""Keys and values of a batch, in room that is taken once."""

from __future__ import annotations

import torch
from torch import Tensor


class Cache:
    """Room for so many tokens of every layer and row; all rows are as far as each other."""

    def __init__(
        self,
        layers: int,
        rows: int,
        heads: int,
        tokens: int,
        head_dim: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (layers, rows, heads, tokens, head_dim)
        self._keys = torch.empty(shape, dtype=dtype, device=device)
        self._values = torch.empty(shape, dtype=dtype, device=device)
        self.filled = 0

    def extended(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Puts `(rows, heads, new, head_dim)` behind a layer's; gives all of them, in place."""
        first, last = self.filled, self.filled + keys.shape[2]
        held = self._keys[layer, :, :, :last], self._values[layer, :, :, :last]
        held[0][:, :, first:] = keys
        held[1][:, :, first:] = values
        return held

    def of(self, layer: int, row: int, tokens: int) -> tuple[Tensor, Tensor]:
        """The first tokens' keys and values: `(heads, tokens, head_dim)`."""
        return self._keys[layer, row, :, :tokens], self._values[layer, row, :, :tokens]

    def advance(self, tokens: int) -> None:
        """Says that every layer has so many more."""
        self.filled += tokens
