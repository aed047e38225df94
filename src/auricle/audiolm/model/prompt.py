"""What a target is generated from: the frames on its left, those on its right, and an excerpt in whose manner it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from auricle.errors import PromptError

STYLE, LEFT, RIGHT = 0, 1, 2  # ids of the parts, in the order in which they stand
STYLE_OFFSET = 4096  # where the style's frames count from: farther than any window of sound reaches

_NONE = torch.empty(0, 0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Prompt:
    """Codes around a target; each `(frames, codebooks)`, integers. Any part may be empty, all of them too.

    Raises:
        PromptError: a part is no such array, the parts differ in codebooks, or right comes without a gap.
    """

    left: Tensor = _NONE  # what is just before the target
    right: Tensor = _NONE  # what is just after it
    style: Tensor = _NONE  # followed in manner, not continued
    gap: int = 0  # frames between left and right

    def __post_init__(self) -> None:
        widths = set()
        for name in ("style", "left", "right"):
            part = getattr(self, name)
            if part.ndim != 2 or part.is_floating_point() or part.is_complex() or part.dtype == torch.bool:
                raise PromptError(
                    f"the prompt's {name} is {tuple(part.shape)} of {part.dtype}; "
                    "codes are whole numbers, (frames, codebooks)"
                )
            if len(part):
                widths.add(part.shape[1])
        if len(widths) > 1:
            raise PromptError(f"the parts of a prompt have {' and '.join(map(str, sorted(widths)))} codebooks each")
        if self.gap < 0 or (len(self.right) and self.gap < 1):
            raise PromptError(f"a prompt with a right side has a gap of {self.gap} frames; it has 1 or more")

    @property
    def frames(self) -> int:
        return len(self.style) + len(self.left) + len(self.right)

    def codes(self, codebooks: int) -> Tensor:
        """Style, left and right after each other: `(frames, codebooks)` int64, on the CPU."""
        parts = [part for part in (self.style, self.left, self.right) if len(part)]
        wrong = [part.shape[1] for part in parts if part.shape[1] != codebooks]
        if wrong:
            raise PromptError(f"a prompt has codes of {wrong[0]} codebooks; the model's have {codebooks}")
        return (
            torch.cat([part.long().cpu() for part in parts]) if parts else torch.empty(0, codebooks, dtype=torch.int64)
        )

    def positions(self) -> Tensor:
        """When each of these frames is, `(frames,)`: left begins at 1, the target follows it, right follows the gap."""
        style = torch.arange(len(self.style)) + STYLE_OFFSET
        left = torch.arange(len(self.left)) + 1
        right = torch.arange(len(self.right)) + len(self.left) + self.gap + 1
        return torch.cat([style, left, right])

    def parts(self) -> Tensor:
        """Which part each of these frames is of, `(frames,)`."""
        lengths = torch.tensor([len(self.style), len(self.left), len(self.right)])
        return torch.arange(3).repeat_interleave(lengths)

    def dropped(self, what: str = "prompt") -> Prompt:
        """What guidance compares with: nothing at all, or the same without its style."""
        return replace(self, style=_NONE) if what == "style" else Prompt()


def check_codes(codes: Tensor, codebooks: int, size: int, what: str) -> None:
    """
    Raises:
        PromptError: these are no `(frames, codebooks)` codes below size.
    """
    if codes.ndim != 2 or codes.is_floating_point() or codes.dtype == torch.bool:
        raise PromptError(
            f"{what} is {tuple(codes.shape)} of {codes.dtype}; codes are whole numbers, (frames, codebooks)"
        )
    if codes.shape[1] != codebooks:
        raise PromptError(f"{what} has codes of {codes.shape[1]} codebooks; the model's have {codebooks}")
    if codes.numel():
        low, high = (int(value) for value in codes.aminmax())
        if low < 0 or high >= size:
            raise PromptError(f"{what} has a code {low if low < 0 else high}; the model's lie in 0..{size - 1}")
