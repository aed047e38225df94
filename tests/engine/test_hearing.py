"""Short clips of many requests, heard in one batch: the same tokens, and nobody else's trouble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from auricle.api import Model, load
from auricle.errors import SoundError
from auricle.types import Audio, Scores
from tests.engine.scripted import noise


@pytest.fixture
def model(e2b: Path) -> Model:
    return load(str(e2b))


def clips(count: int) -> list[Audio]:
    return [noise(3_000 + 1_700 * number, number) for number in range(count)]


def counted(model: Model, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[int]]:
    """How many clips each batch has, and which frames are encoded whole and alone, from now on."""
    family: Any = model.backend.family  # type: ignore[attr-defined]
    batches, alone, hear_layers, encode = [], [], family.hear_layers, family.encode
    monkeypatch.setattr(
        family, "hear_layers", lambda mel, *rest: (batches.append(len(mel)), hear_layers(mel, *rest))[1]
    )
    monkeypatch.setattr(family, "encode", lambda mel: (alone.append(len(mel)), encode(mel))[1])
    return batches, alone


def test_scores_are_as_alone_and_each_clip_is_heard_once(
    model: Model, e2b: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, encoded = counted(model, monkeypatch)
    asks = [(clip, question) for clip in clips(20) for question in ("One?", "Two?")]
    found = list(model.score_many(asks, ["yes", "no"]))
    assert sum(batches) + len(encoded) == 20
    assert max(batches) == 16
    quiet = load(str(e2b), cache_mb=0)
    for ask, scores in zip(asks, found, strict=True):
        assert isinstance(scores, Scores)
        wanted = quiet.score(ask[0], ["yes", "no"], ask[1])
        assert scores.probabilities == pytest.approx(wanted.probabilities, abs=1e-5)
    assert [scores.reused_clips for scores in found if isinstance(scores, Scores)] == [0, 1] * 20
    assert all(one.timings.encoder_s > 0 for one in found[::2] if isinstance(one, Scores))
    assert (model.cache.clips, model.cache.clip_hits, model.cache.clip_misses) == (20, 20, 20)


def test_without_a_cache_too(e2b: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(str(e2b), cache_mb=0)
    batches, encoded = counted(model, monkeypatch)
    list(model.score_many([(clip, f"{number}?") for clip in clips(3) for number in range(2)], ["yes"]))
    assert (batches, encoded) == ([3], [])


def test_what_is_known_is_not_heard_again(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    known = clips(3)
    list(model.score_many([(clip, "One?") for clip in known], ["yes"]))
    batches, encoded = counted(model, monkeypatch)
    list(model.score_many([(clip, "Two?") for clip in known], ["yes"]))
    assert (batches, encoded) == ([], [])


def test_long_clips_are_heard_in_their_turn(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, _ = counted(model, monkeypatch)
    list(model.score_many([(noise(16_000 * 6, number), "What?") for number in range(2)], ["yes"]))
    assert (batches, model.cache.clip_misses) == ([], 2)


def test_a_batch_that_fails_is_heard_one_by_one(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room for a batch")

    monkeypatch.setattr(model.backend.family, "hear_layers", out_of_memory)  # type: ignore[attr-defined]
    found = list(model.score_many([(clip, "What?") for clip in clips(3)], ["yes"]))
    assert [type(one) for one in found] == [Scores] * 3
    assert model.cache.clip_misses == 3


def test_an_error_stands_in_its_place(model: Model) -> None:
    first, second = clips(2)
    found = list(model.score_many([(first, "What?"), (b"no sound", "What?"), (second, "What?")], ["yes"]))
    assert [type(one) for one in found] == [Scores, SoundError, Scores]
