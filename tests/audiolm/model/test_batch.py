"""Prompts, and how they and targets become one set of tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.prompt import LEFT, RIGHT, STYLE, STYLE_OFFSET, Prompt, check_codes
from auricle.errors import PromptError
from tests.audiolm.model.small import batch, codes, prompts


def test_positions_are_time() -> None:
    prompt = Prompt(left=codes(3), right=codes(2), style=codes(2), gap=5)
    assert prompt.positions().tolist() == [STYLE_OFFSET, STYLE_OFFSET + 1, 1, 2, 3, 9, 10]
    assert prompt.parts().tolist() == [STYLE, STYLE, LEFT, LEFT, LEFT, RIGHT, RIGHT]
    assert torch.equal(prompt.codes(4), torch.cat([prompt.style, prompt.left, prompt.right]))
    assert prompt.frames == 7


def test_an_empty_prompt() -> None:
    prompt = Prompt()
    assert prompt.codes(4).shape == (0, 4)
    assert prompt.positions().tolist() == prompt.parts().tolist() == []
    assert prompts()[1].dropped().frames == 0


def test_rows_are_padded_on_the_right() -> None:
    made = batch()
    assert made.prompt_lens.tolist() == [6, 12, 1, 9]
    assert made.target_lens.tolist() == [9, 7, 8, 3]
    assert made.left_lens.tolist() == [6, 4, 1, 7]
    assert made.prompt_codes.shape == (4, 12, 4)
    assert made.target_codes.shape == (4, 9, 4)
    assert torch.equal(made.prompt_codes[0, :6], codes(6, 1))
    assert torch.equal(made.target_codes[3, :3], codes(3, 23))
    assert not made.target_codes[3, 3:].any()
    assert len(made) == 4
    assert not made.full_prompts
    assert not made.full_targets
    assert made.ends.tolist() == [True, False, True, True]  # no end where the sound goes on
    assert batch(ends=[False] * 4).ends.tolist() == [False] * 4


def test_full_batches_are_known_as_such() -> None:
    made = Batch.of([Prompt(codes(3)), Prompt(codes(3))], [codes(4), codes(5)])
    assert made.full_prompts
    assert not made.full_targets
    assert made.to("cpu").full_prompts


def test_a_batch_without_prompts() -> None:
    made = Batch.of([Prompt(), Prompt()], [codes(4), codes(5)])
    assert made.prompt_codes.shape == (2, 0, 4)
    assert made.prompt_positions.shape == made.prompt_parts.shape == (2, 0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Prompt(left=codes(3).float()), "float32"),
        (lambda: Prompt(left=codes(3)[0]), r"\(4,\)"),
        (lambda: Prompt(left=codes(3), style=codes(3, books=2)), "2 and 4 codebooks"),
        (lambda: Prompt(right=codes(3)), "gap of 0"),
        (lambda: Prompt(left=codes(3), gap=-1), "gap of -1"),
        (lambda: Prompt(left=codes(3)).codes(2), "codebooks"),
        (lambda: Batch.of([], []), "as many"),
        (lambda: Batch.of([Prompt()], [codes(3), codes(3)]), "as many"),
        (lambda: Batch.of([Prompt()], [codes(0)]), "without frames"),
        (lambda: Batch.of([Prompt(codes(3, books=2))], [codes(3)]), "2 codebooks"),
        (lambda: Batch.of([Prompt(codes(3) + 30)], [codes(3)], size=32), "lie in 0..31"),
        (lambda: Batch.of([Prompt(codes(3))], [codes(3) - 32], size=32), "a code -"),
        (lambda: Batch.of([Prompt(), Prompt()], [codes(3), codes(3, books=2)]), "of 4 and of 2 codebooks"),
        (lambda: check_codes(codes(3).float(), 4, 32, "this"), "this is"),
    ],
)
def test_what_is_wrong_is_said(make: Callable[[], object], said: str) -> None:
    with pytest.raises(PromptError, match=said):
        make()
