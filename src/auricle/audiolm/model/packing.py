"""Prompts of unequal length without padding between a prompt and its target.

A batch is padded twice, its prompts and its targets. Where prompts are a part of their item that is drawn, both are
far from equal while their sums are alike: packed, a batch of 12 s items that begin with 1 to 10 s of prompt has two
thirds of the tokens, and a training step takes a bit more than half the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from auricle.audiolm.model.batch import Batch


class Packing:
    """Where each row's tokens go, so that its target follows its prompt directly.

    Args:
        batch: of which there are prompts.
        target: tokens of a target with its padding; each row's has as many more (or fewer) than its frames as the
            longest one's.
    """

    def __init__(self, batch: Batch, target: int) -> None:
        prompt, more = batch.prompt_frames, target - batch.target_frames
        self.longest = prompt + target
        self.lens = batch.prompt_lens + batch.target_lens + more
        self.prompt_lens = batch.prompt_lens[:1]  # (rows,), or (1,) where all are alike
        self._prompt, self._into = prompt, None
        if batch.full_prompts:
            return
        self.longest, self.prompt_lens = batch.longest + more, batch.prompt_lens
        rows = torch.arange(len(batch), device=self.lens.device)[:, None]
        place, heard = torch.arange(self.longest, device=rows.device), batch.prompt_lens[:, None]
        source = torch.where(place < heard, place, place - heard + prompt).clamp(max=prompt + target - 1)
        behind = (heard + torch.arange(target, device=rows.device)).clamp(max=self.longest - 1)
        self._into, self._back = source + rows * (prompt + target), behind + rows * self.longest

    def packed(self, x: Tensor) -> Tensor:
        """`(rows, prompt + target, ...)` -> `(rows, longest, ...)`."""
        return x if self._into is None else _taken(x, self._into)

    def targets(self, x: Tensor) -> Tensor:
        """`(rows, longest, ...)` -> `(rows, target, ...)`."""
        return x[:, self._prompt :] if self._into is None else _taken(x, self._back)


def _taken(x: Tensor, places: Tensor) -> Tensor:
    return x.flatten(0, 1).index_select(0, places.flatten()).view(*places.shape, *x.shape[2:])
