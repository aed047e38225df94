"""Keys and values of what was already read, a layer at a time.

A full layer keeps every position and grows by doubling. A sliding layer keeps a ring of the last `window` positions:
the new one takes the place of the oldest, so its memory stays constant however long the conversation gets.
"""

from __future__ import annotations

import torch
from torch import Tensor


class LayerCache:
    """Keys and values of one layer, each `(batch, kv_heads, positions, head_dim)`; `window` makes it a ring."""

    def __init__(self, window: int | None = None, capacity: int = 256) -> None:
        self.window = window
        self.length = 0  # positions read so far, those that a ring has dropped included
        self._first_capacity = capacity if window is None else window
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds new positions.

        Returns:
            All keys and values that the new positions may look at: what was kept before them, then themselves.
            In order of position, but for a single new position in a full ring, where order doesn't matter: rotary
            positions are already in the keys, and that one position sees them all.
        """
        new = keys.shape[2]
        if self.window is not None and new > 1:
            return self._extend_ring(keys, values, self.window)
        self._reserve(keys, values, self.length + new)
        assert self._keys is not None and self._values is not None
        at = self.length % self._keys.shape[2] if self.window is not None else self.length
        self._keys[:, :, at : at + new] = keys
        self._values[:, :, at : at + new] = values
        self.length += new
        kept = min(self.length, self._keys.shape[2])
        return self._keys[:, :, :kept], self._values[:, :, :kept]

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on; a ring can do so only while it has dropped none."""
        assert length <= self.length
        assert self.window is None or self.length <= self.window or length == self.length
        self.length = length

    def move(self, keys: Tensor, values: Tensor) -> None:
        """Goes on in these tensors: of a ring with its window of slots, of a full layer with at least those in use."""
        if self._keys is not None and self._values is not None:
            kept = min(self.length, self._keys.shape[2])
            keys[:, :, :kept], values[:, :, :kept] = self._keys[:, :, :kept], self._values[:, :, :kept]
        self._keys, self._values = keys, values

    def _extend_ring(self, keys: Tensor, values: Tensor, window: int) -> tuple[Tensor, Tensor]:
        if self.length:
            old_keys, old_values = self._in_order(window)
            keys, values = torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2)
        end = self.length + keys.shape[2] - min(self.length, window)
        kept = min(window, keys.shape[2])
        self._reserve(keys, values, window)
        assert self._keys is not None and self._values is not None
        slots = torch.arange(end - kept, end, device=keys.device) % window
        self._keys[:, :, slots] = keys[:, :, -kept:]
        self._values[:, :, slots] = values[:, :, -kept:]
        self.length = end
        return keys, values

    def _in_order(self, window: int) -> tuple[Tensor, Tensor]:
        assert self._keys is not None and self._values is not None
        kept = min(self.length, window)
        slots = torch.arange(self.length - kept, self.length, device=self._keys.device) % window
        return self._keys[:, :, slots], self._values[:, :, slots]

    def _reserve(self, keys: Tensor, values: Tensor, positions: int) -> None:
        """Makes room; buffers are never freed or shrunk while the request lives."""
        have = 0 if self._keys is None else self._keys.shape[2]
        if positions <= have or (self.window is not None and have == self.window):
            return
        size = self.window or max(self._first_capacity, 2 * have, positions)
        batch, heads, _, dim = keys.shape
        grown_keys, grown_values = keys.new_empty(batch, heads, size, dim), values.new_empty(batch, heads, size, dim)
        self.move(grown_keys, grown_values)


class SlotCache:
    """Keys and values of one layer for the native kernels: position p is in slot p % capacity.

    They are opaque words of 32 bits, zero where nothing was read: `native/attention.inl` says how they lie. With a
    window, the slots hold it and the `rows` positions that are read at a time, and never grow; without one they grow by
    doubling.
    """

    def __init__(self, kv_heads: int, head_dim: int, dtype: torch.dtype, *, window: int | None, rows: int) -> None:
        self._fixed = None if window is None else _sixteens(window + rows - 1)
        self._heads, self._dim = kv_heads, head_dim
        self._numbers = 4 // dtype.itemsize  # of a word
        self.capacity = 0
        self.keys, self.values = self._words(0)

    def reserve(self, positions: int) -> bool:
        """Makes room for so many positions; whether the tensors are new."""
        have = self.capacity
        if have == self._fixed or positions <= have:
            return False
        self.capacity = self._fixed or _sixteens(max(256, 2 * have, positions))
        keys, values = self._words(self.capacity)
        keys[:, : self.keys.shape[1]], values[:, : self.values.shape[1]] = self.keys, self.values
        self.keys, self.values = keys, values
        return True

    def _words(self, slots: int) -> tuple[Tensor, Tensor]:
        """Of keys `(heads, slots / 16, head_dim / numbers, 16)`, of values `(heads, slots / numbers, wide)`."""
        keys = torch.zeros(self._heads, slots // 16, self._dim // self._numbers, 16, dtype=torch.int32)
        values = torch.zeros(self._heads, slots // self._numbers, _sixteens(self._dim), dtype=torch.int32)
        return keys, values


def _sixteens(count: int) -> int:
    """Filled up to a multiple of 16."""
    return -(-count // 16) * 16
