"""Prompts of unequal length without padding between a prompt and its target.

A batch is padded twice, its prompts and its targets. Where prompts are a part of their item that is drawn, both are
far from equal while their sums are alike: packed, a batch of 12 s items that begin with 1 to 7 s of prompt has two
thirds of the tokens, and half of the attention.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Packing:
    """Where each row's tokens go.

    Args:
        prompt_lens, target_lens: `(rows,)`.
        prompt, target: how many of each a row has with its padding.
        longest: no row's prompt and target have more together.
    """

    def __init__(self, prompt_lens: Tensor, prompt: int, target_lens: Tensor, target: int, longest: int) -> None:
        rows = torch.arange(len(prompt_lens), device=prompt_lens.device)[:, None]
        place, heard = torch.arange(longest, device=rows.device), prompt_lens[:, None]
        source = torch.where(place < heard, place, place - heard + prompt).clamp(max=prompt + target - 1)
        behind = (heard + torch.arange(target, device=rows.device)).clamp(max=longest - 1)
        self.lens, self.longest = prompt_lens + target_lens, longest
        self._into, self._back = source + rows * (prompt + target), behind + rows * longest

    def packed(self, x: Tensor) -> Tensor:
        """`(rows, prompt + target, ...)` -> `(rows, longest, ...)`."""
        return _taken(x, self._into)

    def targets(self, x: Tensor) -> Tensor:
        """`(rows, longest, ...)` -> `(rows, target, ...)`."""
        return _taken(x, self._back)


def _taken(x: Tensor, places: Tensor) -> Tensor:
    return x.flatten(0, 1).index_select(0, places.flatten()).view(*places.shape, *x.shape[2:])
