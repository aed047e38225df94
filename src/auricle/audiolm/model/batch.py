"""Prompts and targets of unequal length as one set of tensors, padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from auricle.audiolm.model.prompt import Prompt, check_codes
from auricle.errors import PromptError


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of a training step. Integers are int64; what is past a row's length is 0 and never looked at."""

    prompt_codes: Tensor  # (rows, prompt frames, codebooks): style, left, right
    prompt_positions: Tensor  # (rows, prompt frames)
    prompt_parts: Tensor  # (rows, prompt frames): STYLE, LEFT or RIGHT
    prompt_lens: Tensor  # (rows,)
    target_codes: Tensor  # (rows, target frames, codebooks)
    target_lens: Tensor  # (rows,): 1 or more
    left_lens: Tensor  # (rows,): the target follows that position
    ends: Tensor  # (rows,) bool: whether the sound ends with the target; read where the model predicts ends
    longest: int  # no row's prompt and target have more frames together
    full_prompts: bool = False  # no prompt is padded: passes can do without a mask
    full_targets: bool = False

    @classmethod
    def of(
        cls,
        prompts: Sequence[Prompt],
        targets: Sequence[Tensor],
        ends: Sequence[bool] | None = None,
        *,
        size: int | None = None,
    ) -> Batch:
        """
        Args:
            targets: `(frames, codebooks)` integers, a row each.
            ends: whether a row's sound ends with its target; None: where nothing is on its right.
            size: entries of a codebook, to have all codes looked at.

        Raises:
            PromptError: no rows, not as many of each, an empty target, or codes that don't belong together.
        """
        if not targets or len(prompts) != len(targets):
            raise PromptError(f"a batch has {len(prompts)} prompts and {len(targets)} targets; it has as many of each")
        if any(target.ndim != 2 or not len(target) for target in targets):
            raise PromptError(
                "a batch has a target without frames; a target is (frames, codebooks), of a frame or more"
            )
        codebooks = targets[0].shape[1]
        other = next((target.shape[1] for target in targets if target.shape[1] != codebooks), None)
        if other is not None:
            raise PromptError(f"a batch has targets of {codebooks} and of {other} codebooks")
        codes = [prompt.codes(codebooks) for prompt in prompts]
        if size is not None:
            for row in (*codes, *targets):
                check_codes(row, codebooks, size, "an item")
        if ends is None:
            ends = [not len(prompt.right) for prompt in prompts]
        prompt_lens = torch.tensor([len(row) for row in codes])
        target_lens = torch.tensor([len(row) for row in targets])
        return cls(
            prompt_codes=pad_sequence(codes, batch_first=True),
            prompt_positions=pad_sequence([prompt.positions() for prompt in prompts], batch_first=True),
            prompt_parts=pad_sequence([prompt.parts() for prompt in prompts], batch_first=True),
            prompt_lens=prompt_lens,
            target_codes=pad_sequence([row.long().cpu() for row in targets], batch_first=True),
            target_lens=target_lens,
            left_lens=torch.tensor([len(prompt.left) for prompt in prompts]),
            ends=torch.tensor(list(ends), dtype=torch.bool),
            longest=int((prompt_lens + target_lens).max()),
            full_prompts=bool((prompt_lens == prompt_lens[0]).all()),
            full_targets=bool((target_lens == target_lens[0]).all()),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def __len__(self) -> int:
        """Rows."""
        return len(self.target_lens)

    @property
    def prompt_frames(self) -> int:
        return self.prompt_codes.shape[1]

    @property
    def target_frames(self) -> int:
        return self.target_codes.shape[1]
