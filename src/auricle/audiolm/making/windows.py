"""How much a model hears and makes at a time. It was trained on so many frames, and does not do well beyond them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from auricle.errors import OptionError

HEARD = 0.4  # of what the model was trained on: as the prompts of its training, unless they were told otherwise
HEARD_AFTER = 0.2  # of the same, behind a gap that is filled piece by piece


@dataclass(frozen=True)
class Window:
    """What is heard before each piece, and how long a piece is; None is what the model was trained for."""

    context: float | None = None  # seconds
    step: float | None = None  # seconds

    def __post_init__(self) -> None:
        for name in ("context", "step"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise OptionError(f"{name} is {value}; it must be a number of seconds above 0")

    def frames(self, longest: int, frame_rate: float) -> Frames:
        """In frames of a model that was trained on up to `longest` of them.

        Raises:
            OptionError: together they are more than that, or one is less than a frame.
        """
        for name in ("context", "step"):
            value = getattr(self, name)
            if value is not None and value * frame_rate >= longest:
                raise OptionError(
                    f"{name} is {value:.9g} s; this model takes {longest / frame_rate:g} s in one go, context and step "
                    "together: make it shorter"
                )
        asked, step_asked = _frames("context", self.context, frame_rate), _frames("step", self.step, frame_rate)
        context = asked or _share(longest, self.step, frame_rate)
        step = step_asked or longest - context
        if step < 1 or context + step > longest:
            raise OptionError(
                f"context and step are {context / frame_rate:g} and {max(step, 0) / frame_rate:g} s; this model takes "
                f"{longest / frame_rate:g} s in one go, of which a step needs some: make them shorter"
            )
        return Frames(context, step, longest, beside=asked or longest, together=step_asked or longest)


@dataclass(frozen=True)
class Frames:
    """A `Window`, counted."""

    context: int
    step: int
    longest: int  # that the model takes in one go
    beside: int  # heard at most on a side of a gap: all that there is room for, unless the context was chosen
    together: int  # filled at most with both sides in view: the same of the step

    def steps(self, frames: int) -> list[int]:
        """Pieces that so many frames are made in."""
        return [min(self.step, frames - start) for start in range(0, frames, self.step)]

    def gap(self, gap: int, left: int, right: int) -> Gap:
        """How a gap is filled that has so many frames before and after it.

        A gap that fits with some of both is filled in one go. Of a longer one, the first part is made from what is
        before it alone, and the last with both.
        """
        left, right = min(left, self.beside), min(right, self.beside)
        least_right = min(right, int(HEARD_AFTER * self.longest))
        if gap > min(self.together, self.longest - min(left, self.context) - least_right):
            together = min(self.together, self.longest - self.context - least_right)
            return Gap(tuple(self.steps(gap - together)), together, self.context, least_right)
        room = self.longest - gap
        heard_after = min(right, max(room - left, room // 2))
        return Gap((), gap, min(left, room - heard_after), heard_after)


@dataclass(frozen=True)
class Gap:
    """How a gap is filled, in frames."""

    alone: tuple[int, ...]  # pieces made from the left alone, first
    together: int  # then this many with both sides
    left: int  # heard before these, of what was made alone too
    right: int  # heard after them


def _frames(name: str, seconds: float | None, frame_rate: float) -> int | None:
    if seconds is None:
        return None
    frames = round(seconds * frame_rate)
    if frames < 1:
        raise OptionError(f"{name} is {seconds:g} s; it must be at least a frame of the codec, {1 / frame_rate:g} s")
    return frames


def _share(longest: int, step: float | None, frame_rate: float) -> int:
    """The context where none is asked for: what a long step leaves, if that is less than usual."""
    usual = max(1, int(HEARD * longest))
    return usual if step is None else max(1, min(usual, longest - round(step * frame_rate)))
