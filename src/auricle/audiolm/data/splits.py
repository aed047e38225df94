"""Each item split for itself: a prompt, and the target that is to follow, fill or imitate.

What is drawn for an item depends on the generator that is given alone, and the same numbers are drawn whatever the
settings: to turn one on leaves the others' choices as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from auricle.audiolm.model.prompt import Prompt
from auricle.types.checks import require


class Split(NamedTuple):
    """An item as a model is trained on it."""

    prompt: Prompt
    target: Tensor  # (frames, codebooks), of a frame or more
    ends: bool  # whether the target ends where the item does


class Drawn(NamedTuple):
    """Numbers in [0, 1), of which each choice has its own."""

    style: float
    fraction: float
    infill: float
    place: float
    drop: float


@dataclass(frozen=True)
class Splitter:
    """What of an item is the prompt.

    Raises:
        OptionError: a value outside its range.
    """

    prompt_fraction: tuple[float, float] = (0.4, 0.4)  # of an item, drawn evenly from this range
    infill: float = 0.0  # probability that the target lies within the item, with sound on both sides
    style: float = 0.0  # probability that an excerpt from the end becomes the style
    drop: float = 0.0  # probability that there is no prompt at all, for guidance
    style_frames: int = 100

    def __post_init__(self) -> None:
        low, high = self.prompt_fraction
        require(0 <= low <= high < 1, "prompt_fraction", f"{low:g}:{high:g}", "between 0 and below 1, the lower first")
        for name in ("infill", "style", "drop"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, value, "a probability from 0 to 1")
        require(self.style_frames >= 1, "style_frames", self.style_frames, "at least 1")

    def split(self, codes: Tensor, rng: np.random.Generator, heard: int | None = None) -> Split:
        """`(frames, codebooks)` -> prompt and target.

        An item shorter than two excerpts gives no style. Of one that is filled, the target may come to lie at its
        beginning or its end.

        Args:
            heard: how many frames are the prompt, of an item that goes on in another manner from there: the end of it
                becomes the style, so that a model learns to follow that rather than what it heard; such a prompt is
                never dropped. None draws it.
        """
        drawn = Drawn(*rng.random(len(Drawn._fields)))
        rest, style = codes, codes[:0]
        room = len(codes) - self.style_frames >= (self.style_frames if heard is None else heard + 1)
        if room and (heard is not None or drawn.style < self.style):
            rest, style = codes[: -self.style_frames], codes[-self.style_frames :]
        if heard is not None:
            return Split(Prompt(left=rest[:heard], right=rest[:0], style=style), rest[heard:], not len(style))
        low, high = self.prompt_fraction
        heard = min(int((low + drawn.fraction * (high - low)) * len(rest) + 0.5), len(rest) - 1)
        length = len(rest) - heard
        first = int(drawn.place * (heard + 1)) if drawn.infill < self.infill else heard
        target = rest[first : first + length]
        right = rest[first + length :]
        ends = not len(right) and not len(style)
        prompt = Prompt(left=rest[:first], right=right, style=style, gap=len(target) if len(right) else 0)
        return Split(prompt.dropped() if drawn.drop < self.drop else prompt, target, ends)
