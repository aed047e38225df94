"""What a position sees: the prompt in both directions, the target only what is before it."""

from __future__ import annotations

import torch
from torch import Tensor


def prefix_mask(prompt_lens: Tensor, tokens: int) -> Tensor:
    """For rows that begin with a prompt, `(rows or 1,)` long: `(rows or 1, 1, tokens, tokens)`, true for what is seen.

    What is behind a row's end sees what is before it, so that no row of the softmax is empty; nothing sees it.
    """
    place = torch.arange(tokens, device=prompt_lens.device)
    return ((place < prompt_lens[:, None, None]) | (place <= place[:, None]))[:, None]


def behind_mask(prompt_lens: Tensor, target: int, tokens: int) -> Tensor:
    """What the first so many targets of such rows see: `(rows or 1, 1, target, tokens)`."""
    place = torch.arange(tokens, device=prompt_lens.device)
    return (place <= (prompt_lens[:, None] + place[:target])[..., None])[:, None]


def key_mask(lens: Tensor, tokens: int) -> Tensor:
    """Which of so many tokens are there: `(rows, 1, 1, tokens)`."""
    return (torch.arange(tokens, device=lens.device) < lens[:, None])[:, None, None]
