"""What a position sees: the prompt in both directions, the target only what is before it."""

from __future__ import annotations

import torch
from torch import Tensor


def prefix_mask(prompt: int, inputs: int, prompt_lens: Tensor | None, device: torch.device) -> Tensor:
    """For a padded prompt and the inputs behind it: `(rows or 1, 1, tokens, tokens)`, true for what is seen.

    Args:
        prompt: its frames, padding counted.
        prompt_lens: `(rows,)`; None: no prompt is padded.
    """
    place = torch.arange(prompt + inputs, device=device)
    key, query = place[None, :], place[:, None]
    before = (key >= prompt) & (key <= query)
    if prompt_lens is None:
        return (before | (key < prompt))[None, None]
    # Padding sees itself, so that no row of the softmax is empty.
    return ((key < prompt_lens[:, None, None]) | before | (key == query))[:, None]


def key_mask(prompt: int, prompt_lens: Tensor | None, target: int, target_lens: Tensor | None) -> Tensor | None:
    """Which of a padded prompt and a padded target behind it are there: `(rows, 1, 1, tokens)`; None: all of both."""
    if prompt_lens is None and target_lens is None:
        return None
    lens = prompt_lens if prompt_lens is not None else target_lens
    assert lens is not None
    parts = [_present(prompt, prompt_lens, lens), _present(target, target_lens, lens)]
    return torch.cat(parts, dim=1)[:, None, None]


def _present(tokens: int, lens: Tensor | None, like: Tensor) -> Tensor:
    if lens is None:
        return like.new_ones((len(like), tokens), dtype=torch.bool)
    return torch.arange(tokens, device=like.device) < lens[:, None]
