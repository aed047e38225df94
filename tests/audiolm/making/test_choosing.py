"""Of several tries to fill a gap, the one that what follows it fits best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auricle.audiolm.making import infill_audio, infilling
from auricle.audiolm.making.choosing import JUDGED, the_likeliest
from auricle.audiolm.making.defaults import TRIES
from auricle.audiolm.making.generating import Manner, Request, generated
from auricle.audiolm.making.windows import Gap
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.model.sampling import TokenSampling
from auricle.errors import OptionError
from auricle.types import Audio
from tests.audiolm.making.fakes import FRAME, RATE, Echo, loaded, wave
from tests.audiolm.model.small import codes, model

WHOLE = wave(3.0)
GAP = (1.0, 1.5)


def filled(lm: Any = None, gap: tuple[float, float] = GAP, **options: Any) -> tuple[str, ...]:
    return infill_audio(Audio(WHOLE, RATE, "song.wav"), gap, model=loaded(lm), **options).notes


class Guessing(Echo):
    """Right in one row of a batch, the last but one; noise in the others."""

    def generate(self, prompts: Sequence[Prompt], frames: int, sampling: TokenSampling, **options: Any) -> list[Tensor]:
        found = super().generate(prompts, frames, sampling, **options)
        noise = [torch.randint(0, 4096, one.shape, generator=torch.Generator().manual_seed(7)) for one in found]
        return [one if row == len(found) - 2 else noise[row] for row, one in enumerate(found)]


def test_the_one_that_fits_is_kept() -> None:
    made = infill_audio(Audio(WHOLE, RATE, "song.wav"), GAP, tries=4, model=loaded(Guessing()))
    assert np.abs(made.audio.samples - WHOLE).max() < 0.001


def test_tries_are_drawn_from_the_left_and_the_right_chooses() -> None:
    lm = Echo()
    filled(lm)
    assert len(lm.asked) == TRIES
    assert all((len(prompt.left), len(prompt.right), frames) == (200, 0, 100) for prompt, frames, _ in lm.asked)
    assert len(lm.judged) == TRIES
    end = round(GAP[1] * RATE)
    for prompt, target in lm.judged:
        assert len(prompt.left) == 300
        heard = loaded().codec.decode(target.numpy())
        np.testing.assert_allclose(heard, WHOLE[end : end + JUDGED * FRAME], atol=0.001)


def test_what_only_chooses_leaves_its_room_to_the_left() -> None:
    lm = Echo(max_frames=120)
    filled(lm, (1.0, 1.2), tries=2)
    assert [(len(prompt.left), frames) for prompt, frames, _ in lm.asked] == [(70, 40)] * 2
    assert [(len(prompt.left), len(target)) for prompt, target in lm.judged] == [(110, JUDGED)] * 2
    lm = Echo(max_frames=120)
    filled(lm, (1.0, 1.2), tries=1)
    assert [(len(prompt.left), len(prompt.right)) for prompt, _, _ in lm.asked] == [(40, 40)]


def test_one_try_is_shown_both_sides() -> None:
    lm = Echo()
    filled(lm, tries=1)
    ((prompt, _, _),) = lm.asked
    assert (len(prompt.left), len(prompt.right), lm.judged) == (150, 150, [])


def test_without_a_left_the_right_is_what_tries_are_drawn_from() -> None:
    lm = Echo()
    filled(lm, (0.0, 0.5), tries=3)
    assert [(len(prompt.left), len(prompt.right), prompt.gap) for prompt, _, _ in lm.asked] == [(0, 300, 100)] * 3
    assert [len(prompt.left) for prompt, _ in lm.judged] == [100] * 3


def test_of_a_long_gap_the_last_piece_has_tries() -> None:
    lm = Echo(max_frames=100)
    filled(lm, (1.0, 2.0), tries=3)
    assert [frames for _, frames, _ in lm.asked] == [60, 60, 30, *[50] * 3]
    assert len(lm.judged) == 3


REQUEST = Request(
    left=codes(6, 1).numpy(),
    context=6,
    steps=(3,),
    style=codes(0).numpy(),
    right=codes(12, 2).numpy(),
    gap=Gap((3,), 5, 6, 12),
    tries=4,
)


def made(seed: int, rows: int = 1, tries: int = 4, progress: Any = lambda done, whole: None) -> list[np.ndarray]:
    manner = Manner(TokenSampling(seed=seed), progress=progress)
    pieces = list(generated(model(), replace(REQUEST, tries=tries), manner, rows))
    return [np.concatenate(row) for row in zip(*pieces, strict=True)]


def test_a_row_is_what_it_would_be_alone() -> None:
    rows = made(7, rows=3)
    assert len({row.tobytes() for row in rows}) == 3
    for number, row in enumerate(rows):
        np.testing.assert_array_equal(row, made(7 + number)[0])


def test_more_tries_fit_at_least_as_well() -> None:
    """The first tries of many are those of few."""
    lm = model()
    after = torch.from_numpy(REQUEST.right[:JUDGED].copy())
    few, many = (
        [lm.nats([Prompt(left=torch.from_numpy(row[-11:]))], [after])[0] for seed in range(5) for row in [*one(seed)]]
        for one in (
            lambda seed: [np.concatenate([REQUEST.left, made(seed, tries=2)[0]])],
            lambda seed: [np.concatenate([REQUEST.left, made(seed, tries=16)[0]])],
        )
    )
    assert all(other <= one for one, other in zip(few, many, strict=True))
    assert sum(many) < sum(few)


def test_progress_goes_forward_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    made(1, rows=3, progress=lambda *now: told.append(now))
    done = [now for now, _ in told]
    assert done == sorted(done)
    assert told[-1] == (8, 8)
    assert len(set(done)) == 8


def test_one_that_the_model_ended_is_not_kept_if_another_is_whole() -> None:
    prompt = Prompt(left=codes(6, 1), right=codes(12, 2), gap=5)
    tries = [codes(4, 3), codes(5, 4), codes(2, 5)]
    assert the_likeliest(model(), prompt, tries) is tries[1]
    assert len(the_likeliest(model(), prompt, tries[::2])) < 5


def test_alike_or_without_a_judge_there_is_one() -> None:
    greedy = TokenSampling(temperature=0)
    for options, why in (
        ({"sampling": greedy}, "they would be alike at temperature 0"),
        ({"gap": (2.5, 3.0)}, "nothing is after the gap to choose one by"),
    ):
        lm = Echo()
        assert not any("try" in note for note in filled(lm, **options))
        assert any(note == f"one try is made instead of 3: {why}" for note in filled(lm, **options, tries=3))
        assert not any("try" in note for note in filled(lm, **options, tries=1))
        assert len(lm.asked) == 3


@pytest.mark.parametrize("tries", [0, 65, 1.5, True, "3"])
def test_as_many_as_are_made(tries: Any) -> None:
    with pytest.raises(OptionError, match=r"tries is .*; it must be a whole number from 1 to 64"):
        filled(tries=tries)


def test_from_the_left_alone_nothing_chooses() -> None:
    with pytest.raises(OptionError, match="what is after the gap chooses among tries, and from_left_only does not"):
        infilling(Audio(WHOLE, RATE, "x"), GAP, tries=2, from_left_only=True, model=loaded())
