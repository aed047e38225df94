"""Measuring: every held-out token counts once, beside what guesses make of the same tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.training.evaluate import evaluate, previous
from auricle.audiolm.training.objective import Objective
from auricle.audiolm.training.settings import Data
from auricle.audiolm.training.tokens import Measured, Tokens, read_tokens
from auricle.audiolm.training.workers import Single
from tests.audiolm.training.toy import BOOKS, SIZE

CPU = torch.device("cpu")


class Part(Single):
    """One of several processes that aren't there."""

    def __init__(self, rank: int, count: int) -> None:
        super().__init__(CPU)
        self.rank, self.count = rank, count


@pytest.fixture(scope="module")
def read(tokens: Path) -> Tokens:
    return read_tokens(data(tokens), BOOKS, lambda message: None)


@pytest.fixture(scope="module")
def objective() -> Objective:
    torch.manual_seed(0)
    return Objective(AudioLM(16, 2, 1, codebook_size=SIZE, dropout=0.5), 0, bf16=False)


def data(tokens: Path) -> Data:
    return Data(tokens, max_duration=3.0, filter_min_duration=0.0, codebook_size=SIZE, infill=0.5)


def test_all_tokens_count_once(tokens: Path, read: Tokens, objective: Objective) -> None:
    """By any number of processes, dropout off."""
    measured, baselines = Measured.of(read, "validation", data(tokens)), read.baselines()
    assert len(measured.batches) > 2
    alone = evaluate(objective, measured, baselines, Single(CPU))
    assert alone is not None
    targets = sum(int(batch.target_lens.sum()) for batch, _ in measured.shared(0, 1))
    assert [one.tokens for one in alone.model if one] == [targets] * BOOKS
    assert [one.tokens for one in alone.copy_last if one] == [targets] * BOOKS
    shares = [evaluate(objective, measured, baselines, Part(rank, 4)) for rank in range(4)]
    assert sum(one.model[0].tokens for one in shares if one and one.model[0]) == targets
    assert objective.training, "it is left as it was"
    assert evaluate(objective, measured, baselines, Single(CPU)) == alone


def test_a_stage_is_compared_where_it_is_trained(tokens: Path, read: Tokens, objective: Objective) -> None:
    second = Objective(objective.lm, 2, bf16=False)
    found = evaluate(second, Measured.of(read, "test", data(tokens)), read.baselines(), Single(CPU))
    assert found is not None
    for column in (found.model, found.unigram, found.copy_last):
        assert [one is None for one in column] == [True, False, False, False]
    assert found.loss == pytest.approx(np.mean([one.cross_entropy for one in found.model if one]))


def test_an_interruption(tokens: Path, read: Tokens, objective: Objective) -> None:
    measured = Measured.of(read, "validation", data(tokens))
    assert evaluate(objective, measured, read.baselines(), Single(CPU), lambda: True) is None
    assert objective.training


def test_what_is_before_a_target() -> None:
    """The last frame on its left; not of the style, nor of the right; none without a left side."""
    codes = torch.arange(40).view(10, 4) % SIZE
    prompts = [
        Prompt(style=codes[5:8], left=codes[:3], right=codes[8:9], gap=2),
        Prompt(left=codes[:1]),
        Prompt(style=codes[:2], right=codes[5:6], gap=3),
        Prompt(),
    ]
    targets = [codes[3:5], codes[1:5], codes[2:5], codes[:1]]
    found = previous(Batch.of(prompts, targets))
    nothing = torch.full((4,), -1)
    assert torch.equal(found[0, :2], codes[2:4])
    assert torch.equal(found[1], codes[0:4])
    assert torch.equal(found[2, :3], torch.stack([nothing, codes[2], codes[3]]))
    assert torch.equal(found[3, 0], nothing)


def test_baselines_of_many_items_are_of_some(read: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.audiolm.training.tokens.COUNTED", 7)
    assert read.baselines().items == 7
