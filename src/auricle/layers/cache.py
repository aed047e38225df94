"""Keys and values of what was already read, a layer at a time.

A full layer keeps every position and grows by doubling. A sliding layer keeps the last `window` positions and `SLACK`
more: its memory stays constant however long the conversation gets, and yet what was read last can be taken back, so
that another question can go on from where the two differ (`engine/prefixes.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

SLACK = 512  # positions that can be taken back from a sliding layer that has dropped some


class LayerCache:
    """Keys and values of one layer, each `(batch, kv_heads, positions, head_dim)`; `window` makes it sliding."""

    def __init__(self, window: int | None = None, capacity: int = 256) -> None:
        self.window = window
        self.length = 0  # positions read so far, those that were dropped included
        self.kept = 0  # of these, the last so many are here
        self._capacity = capacity  # at first
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds new positions.

        Returns:
            In order of position, the keys and values of what the first of the new positions may look at, and of all
            new ones. They may be overwritten by the next call.
        """
        new, length = keys.shape[2], self.length + keys.shape[2]
        seen = new + (self.kept if self.window is None else min(self.kept, self.window - 1))
        if self.window is not None and self.kept + new > 2 * self._most(length):
            if self.kept:
                old_keys, old_values = self.recent(self._most(self.kept))
                keys, values = torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2)
            self.replace(keys, values, length)
            return keys[:, :, -seen:], values[:, :, -seen:]
        self._reserve(keys, values)
        assert self._keys is not None and self._values is not None
        self._keys[:, :, self.kept : self.kept + new] = keys
        self._values[:, :, self.kept : self.kept + new] = values
        self.kept, self.length = self.kept + new, length
        return self.recent(seen)

    @property
    def shortest(self) -> int:
        """The least length that `truncate` can bring back."""
        if self.window is None or self.kept == self.length:
            return 0
        return min(self.length, self.length - self.kept + self.window - 1)

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on."""
        assert self.shortest <= length <= self.length
        self.kept -= self.length - length
        self.length = length

    def recent(self, count: int) -> tuple[Tensor, Tensor]:
        """The last positions' keys and values, in order."""
        assert self._keys is not None and self._values is not None and count <= self.kept
        return self._keys[:, :, self.kept - count : self.kept], self._values[:, :, self.kept - count : self.kept]

    def replace(self, keys: Tensor, values: Tensor, length: int) -> None:
        """Holds these from now on: of the last positions before `length`, in order. A copy of as many as are kept."""
        kept = self._most(keys.shape[2])
        self._keys, self._values = keys[:, :, -kept:].clone(), values[:, :, -kept:].clone()
        self.kept, self.length = kept, length

    def fork(self, length: int) -> LayerCache:
        """One that goes on by itself from a length that this one could be truncated to."""
        assert self.shortest <= length <= self.length
        copy, kept = LayerCache(self.window, self._capacity), self.kept - (self.length - length)
        if kept:
            assert self._keys is not None and self._values is not None
            keys, values = self._keys[:, :, :kept], self._values[:, :, :kept]
            copy._reserve(keys, values, more=self._capacity)  # it will go on
            copy.extend(keys, values)
        copy.length = length
        return copy

    @property
    def nbytes(self) -> int:
        return 0 if self._keys is None or self._values is None else self._keys.nbytes + self._values.nbytes

    def _most(self, positions: int) -> int:
        """How many of so many positions stay."""
        return positions if self.window is None else min(positions, self.window - 1 + SLACK)

    def _reserve(self, keys: Tensor, values: Tensor, more: int = 0) -> None:
        """Makes room for these and some more behind those kept.

        Of a sliding layer no more than twice what it keeps, so that these move to the front once in so many positions.
        """
        have = 0 if self._keys is None else self._keys.shape[2]
        needed = self.kept + keys.shape[2] + more
        if needed <= have:
            return
        size = max(self._capacity, 2 * have, needed)
        size = size if self.window is None else min(size, 2 * (self.window - 1 + SLACK))
        batch, heads, _, dim = keys.shape
        grown_keys, grown_values = keys.new_empty(batch, heads, size, dim), values.new_empty(batch, heads, size, dim)
        if self.kept:
            grown_keys[:, :, : self.kept], grown_values[:, :, : self.kept] = self.recent(self.kept)
        self._keys, self._values = grown_keys, grown_values


class SlotCache:
    """Keys and values of one layer for the native kernels: position p is in slot p % capacity.

    They are opaque words of 32 bits, zero where nothing was read: `native/attention.inl` says how they lie. With a
    window, the slots hold it and the `SLACK` positions that are read at a time or taken back, and never grow; without
    one they grow by doubling.
    """

    def __init__(self, kv_heads: int, head_dim: int, dtype: torch.dtype, *, window: int | None) -> None:
        self._window = window
        self._fixed = None if window is None else _sixteens(window - 1 + SLACK)
        self._heads, self._dim, self._dtype = kv_heads, head_dim, dtype
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

    def fill(self, keys: Tensor, values: Tensor) -> None:
        """Writes the first positions, `(kv_heads, positions, head_dim)`: of a cache without a window, that has room."""
        assert self._window is None and keys.shape[1] <= self.capacity
        if not keys.shape[1]:
            return
        slots, numbers, wide = _sixteens(keys.shape[1]), self._numbers, self.values.shape[2]
        padded = keys.new_zeros(self._heads, slots, self._dim)
        padded[:, : keys.shape[1]] = keys
        words = padded.view(self._heads, slots // 16, 16, self._dim // numbers, numbers).transpose(2, 3)
        self.keys[:, : slots // 16] = _as_words(words)
        padded = values.new_zeros(self._heads, slots, wide)
        padded[:, : values.shape[1], : self._dim] = values
        words = padded.view(self._heads, slots // numbers, numbers, wide).transpose(2, 3)
        self.values[:, : slots // numbers] = _as_words(words)

    def shortest(self, reached: int) -> int:
        """The least length to go back to, when the positions before `reached` have been written."""
        if self._window is None or reached <= self.capacity:
            return 0
        return min(reached, reached - self.capacity + self._window - 1)

    def fork(self) -> SlotCache:
        """One that goes on from here by itself."""
        copy = SlotCache(self._heads, self._dim, self._dtype, window=self._window)
        copy.capacity, copy.keys, copy.values = self.capacity, self.keys.clone(), self.values.clone()
        return copy

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    @property
    def place(self) -> tuple[int, int, int]:
        """Where a program finds it: the addresses of keys and values, and how many slots. `reserve` may move it."""
        return self.keys.data_ptr(), self.values.data_ptr(), self.capacity

    def _words(self, slots: int) -> tuple[Tensor, Tensor]:
        """Of keys `(heads, slots / 16, head_dim / numbers, 16)`, of values `(heads, slots / numbers, wide)`."""
        keys = torch.zeros(self._heads, slots // 16, self._dim // self._numbers, 16, dtype=torch.int32)
        values = torch.zeros(self._heads, slots // self._numbers, _sixteens(self._dim), dtype=torch.int32)
        return keys, values


def _as_words(numbers: Tensor) -> Tensor:
    """`(..., numbers of a word)` -> `(...)`."""
    return numbers.contiguous().view(torch.int32).squeeze(-1)


def _sixteens(count: int) -> int:
    """Filled up to a multiple of 16."""
    return -(-count // 16) * 16
