"""Items split into prompt and target: shares, both sides, styles, and that nothing is lost or there twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auricle.audiolm.data.splits import Split, Splitter
from auricle.errors import OptionError


def codes(frames: int) -> Tensor:
    """Each frame is told by its number."""
    return torch.arange(frames)[:, None].expand(-1, 4)


def numbers(part: Tensor) -> list[int]:
    return part[:, 0].tolist() if len(part) else []


def splits(splitter: Splitter, frames: int, count: int = 200) -> list[Split]:
    return [splitter.split(codes(frames), np.random.default_rng((0, number))) for number in range(count)]


@pytest.mark.parametrize(("frames", "heard"), [(500, 200), (5, 2), (3, 1), (2, 1), (1, 0)])
def test_the_prompt_is_its_share_and_the_target_the_rest(frames: int, heard: int) -> None:
    prompt, target, ends = splits(Splitter(), frames, 1)[0]
    assert numbers(prompt.left) == list(range(heard))
    assert numbers(target) == list(range(heard, frames))
    assert (len(prompt.right), len(prompt.style), prompt.gap, ends) == (0, 0, 0, True)


def test_a_range_is_drawn_from_evenly() -> None:
    lengths = [len(one.prompt.left) for one in splits(Splitter((0.1, 0.7)), 1000)]
    assert 100 <= min(lengths) < 130
    assert 670 < max(lengths) <= 700
    assert abs(np.mean(lengths) - 400) < 30


def test_a_gap_lies_anywhere_and_both_sides_are_kept() -> None:
    found = splits(Splitter(infill=1.0), 100)
    for prompt, target, _ in found:
        assert len(target) == 60
        assert numbers(prompt.left) + numbers(target) + numbers(prompt.right) == list(range(100))
        assert prompt.gap == (60 if len(prompt.right) else 0)
    places = [len(one.prompt.left) for one in found]
    assert min(places) == 0
    assert max(places) == 40
    assert abs(np.mean(places) - 20) < 3
    assert {one.ends for one in found if len(one.prompt.left) == 40} == {True}
    assert {one.ends for one in found if len(one.prompt.left) < 40} == {False}


def test_the_style_is_from_the_end_and_in_nothing_else() -> None:
    for prompt, target, ends in splits(Splitter(style=1.0, style_frames=30), 130, 5):
        assert numbers(prompt.style) == list(range(100, 130))
        assert numbers(prompt.left) + numbers(target) == list(range(100))
        assert len(prompt.left) == 40
        assert not ends
    assert all(not len(one.prompt.style) for one in splits(Splitter(style=1.0, style_frames=30), 59, 5))
    assert all(len(one.prompt.style) for one in splits(Splitter(style=1.0, style_frames=30), 60, 5))


def test_a_dropped_prompt_leaves_the_target() -> None:
    with_prompt, without = splits(Splitter(), 50, 1)[0], splits(Splitter(drop=1.0), 50, 1)[0]
    assert without.prompt.frames == 0
    assert torch.equal(with_prompt.target, without.target)


def test_shares_are_met_and_choices_do_not_disturb_each_other() -> None:
    plain, some = splits(Splitter((0.2, 0.6)), 300, 400), splits(Splitter((0.2, 0.6), infill=0.3, drop=0.2), 300, 400)
    infilled = [len(one.prompt.right) > 0 for one in some]
    dropped = [one.prompt.frames == 0 for one in some]
    assert 0.15 < np.mean(dropped) < 0.25
    assert 0.18 < np.mean(infilled) < 0.30  # 0.3 of those with a prompt, less those at an end
    assert [len(one.target) for one in plain] == [len(one.target) for one in some]


def test_the_same_generator_gives_the_same_split() -> None:
    splitter = Splitter((0.1, 0.9), infill=0.5, style=0.5, drop=0.1, style_frames=20)
    for first, second in zip(splits(splitter, 200), splits(splitter, 200), strict=True):
        assert torch.equal(first.target, second.target)
        assert torch.equal(first.prompt.codes(4), second.prompt.codes(4))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt_fraction": (0.5, 0.4)}, "prompt_fraction is 0.5:0.4; it must be between 0 and below 1"),
        ({"prompt_fraction": (0.5, 1.0)}, "prompt_fraction is 0.5:1"),
        ({"prompt_fraction": (-0.1, 0.4)}, "prompt_fraction is -0.1:0.4"),
        ({"infill": 1.1}, "infill is 1.1; it must be a probability"),
        ({"style": float("nan")}, "style is nan; it must be a probability"),
        ({"drop": -1}, "drop is -1; it must be a probability"),
        ({"style_frames": 0}, "style_frames is 0; it must be at least 1"),
    ],
)
def test_values_outside_their_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Splitter(**values)


def test_an_item_that_says_where_its_manner_changes_is_split_there_and_follows_its_end() -> None:
    codes = torch.arange(400)[:, None].expand(-1, 4)
    prompt, target, ends = Splitter(infill=1.0, drop=0.0).split(codes, np.random.default_rng(0), heard=130)
    assert prompt.left[:, 0].tolist() == list(range(130))
    assert prompt.style[:, 0].tolist() == list(range(300, 400))
    assert target[:, 0].tolist() == list(range(130, 300))
    assert not len(prompt.right)
    assert not ends


def test_an_item_too_short_for_a_style_is_split_where_it_says_all_the_same() -> None:
    prompt, target, ends = Splitter().split(torch.zeros(150, 4, dtype=torch.long), np.random.default_rng(0), heard=90)
    assert (len(prompt.left), len(prompt.style), len(target), ends) == (90, 0, 60, True)
