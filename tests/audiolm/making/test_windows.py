"""How much is heard and made at a time."""

from __future__ import annotations

import math

import pytest

from auricle.audiolm.making.windows import Frames, Gap, Window
from auricle.errors import OptionError


def test_as_the_model_was_trained() -> None:
    frames = Window().frames(750, 50.0)
    assert (frames.context, frames.step) == (300, 450)
    assert frames.steps(1000) == [450, 450, 100]
    assert frames.steps(450) == [450]
    assert (frames.beside, frames.together) == (750, 750)


@pytest.mark.parametrize(
    ("window", "context", "step"),
    [
        (Window(context=4.0), 200, 550),
        (Window(step=2.0), 300, 100),
        (Window(step=12.0), 150, 600),
        (Window(1.0, 3.0), 50, 150),
    ],
)
def test_as_asked(window: Window, context: int, step: int) -> None:
    frames = window.frames(750, 50.0)
    assert (frames.context, frames.step) == (context, step)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["context", "step"])
def test_no_number_of_seconds(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"{name} is {value}; it must be a number of seconds above 0"):
        Window(**{name: value})


@pytest.mark.parametrize(
    "window", [Window(15.0), Window(10.0, 6.0), Window(step=15.0), Window(1e308), Window(step=1e308)]
)
def test_more_than_the_model_takes(window: Window) -> None:
    with pytest.raises(OptionError, match="takes 15 s in one go"):
        window.frames(750, 50.0)


def test_less_than_a_frame() -> None:
    with pytest.raises(OptionError, match=r"step is 0\.005 s; it must be at least a frame of the codec, 0\.02 s"):
        Window(step=0.005).frames(750, 50.0)


class TestGap:
    frames = Frames(300, 450, 750, beside=750, together=750)

    def test_one_go_shares_the_room(self) -> None:
        assert self.frames.gap(75, 10_000, 10_000) == Gap((), 75, 338, 337)
        assert self.frames.gap(75, 100, 10_000) == Gap((), 75, 100, 575)
        assert self.frames.gap(75, 10_000, 100) == Gap((), 75, 575, 100)
        assert self.frames.gap(75, 20, 30) == Gap((), 75, 20, 30)

    def test_one_side(self) -> None:
        assert self.frames.gap(75, 0, 10_000) == Gap((), 75, 0, 675)
        assert self.frames.gap(75, 10_000, 0) == Gap((), 75, 675, 0)

    def test_a_long_one_ends_with_both_sides_in_view(self) -> None:
        plan = self.frames.gap(1000, 10_000, 10_000)
        assert plan == Gap((450, 250), 300, 300, 150)

    @pytest.mark.parametrize("gap", [1, 50, 299, 300, 301, 700, 2000])
    @pytest.mark.parametrize(("left", "right"), [(0, 50), (50, 0), (1000, 1000), (1000, 3), (2, 1000)])
    def test_never_more_than_the_model_takes(self, gap: int, left: int, right: int) -> None:
        plan = self.frames.gap(gap, left, right)
        assert sum(plan.alone) + plan.together == gap
        assert plan.together > 0
        assert plan.left + plan.together + plan.right <= 750
        assert all(self.frames.context + step <= 750 for step in plan.alone)
        assert plan.left <= left + sum(plan.alone)
        assert plan.right <= right

    def test_as_asked(self) -> None:
        """A context that was chosen holds on either side, and a step for what is filled in one go."""
        frames = Window(context=1.0, step=2.0).frames(750, 50.0)
        assert frames.gap(75, 10_000, 10_000) == Gap((), 75, 50, 50)
        assert frames.gap(250, 10_000, 10_000) == Gap((100, 50), 100, 50, 50)

    def test_what_was_made_alone_is_heard(self) -> None:
        assert self.frames.gap(1000, 2, 10_000) == Gap((450, 250), 300, 300, 150)
