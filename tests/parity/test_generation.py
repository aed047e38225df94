"""Greedy answers of the whole engine against transformers' `generate`, token for token."""

from __future__ import annotations

from pathlib import Path

import pytest

from auricle.types import Answer, Audio, Message, Sampling
from tests.checkpoints import make_checkpoint
from tests.engine.scripted import stream
from tests.parity.pair import Pair, load_pair
from tests.parity.sounds import RATE, Samples, babble, clicks, noise, tone

TOKENS = 64
CLIPS = {
    "one": [babble(30_000)],
    "two": [tone(12_345), noise(161)],
    "three": [noise(700), babble(50_001), clicks(9_999)],
}


@pytest.fixture
def endless(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A random model stops anywhere: without stop tokens there are 64 steps to compare."""
    monkeypatch.setattr(pair.ours, "stop_ids", frozenset())
    return pair


def answer(pair: Pair, clips: list[Samples], text: str, audio_first: bool = False, tokens: int = TOKENS) -> Answer:
    sounds = [Audio(clip, RATE) for clip in clips]
    message = Message("user", (*sounds, text) if audio_first else (text, *sounds))
    *_, last = stream(pair.ours, [message], Sampling(max_tokens=tokens))
    assert last.answer is not None
    return last.answer


@pytest.mark.parametrize("audio_first", [False, True], ids=["text first", "audio first"])
@pytest.mark.parametrize("clips", CLIPS)
def test_the_same_64_tokens(endless: Pair, clips: str, audio_first: bool) -> None:
    sounds = CLIPS[clips]
    ours = answer(endless, sounds, "Which is louder?", audio_first)
    ids = endless.prompt(sounds, "Which is louder?", audio_first)
    assert ours.prompt_tokens == len(ids)
    assert list(ours.tokens) == endless.reference_greedy(ids, sounds, TOKENS)
    assert len(set(ours.tokens)) > 10  # not one token for ever, which any two programs would agree on


def test_the_same_tokens_from_a_prompt_shorter_than_the_window(endless: Pair) -> None:
    """Decoding fills the ring, then turns it over several times."""
    message = Message("user", ("",))
    ids = endless.ours.prompt([message], []).ids
    assert len(ids) < endless.ours.config.text.sliding_window
    *_, last = stream(endless.ours, [message], Sampling(max_tokens=100))
    assert last.answer is not None
    assert list(last.answer.tokens) == endless.reference_greedy(ids, [], 100)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["e2b", "e4b"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_tokens_of_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, seed: int
) -> None:
    pair = load_pair(make_checkpoint(tmp_path, family=family, seed=seed))
    monkeypatch.setattr(pair.ours, "stop_ids", frozenset())
    sounds = CLIPS["three"]
    ids = pair.prompt(sounds, "Which is louder?")
    assert list(answer(pair, sounds, "Which is louder?").tokens) == pair.reference_greedy(ids, sounds, TOKENS)


def test_the_answer_ends_where_the_reference_ends(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token that the model does write as the stop token."""
    sounds = CLIPS["two"]
    ids = pair.prompt(sounds, "hm?")
    endless = pair.reference_greedy(ids, sounds, 30)
    stop = next(token for i, token in enumerate(endless) if i >= 8 and token not in endless[:i])
    monkeypatch.setattr(pair.ours, "stop_ids", frozenset({stop}))
    ours = answer(pair, sounds, "hm?")
    assert ours.finish_reason == "stop"
    assert list(ours.tokens) == pair.reference_greedy(ids, sounds, TOKENS, stop)
    assert len(ours.tokens) == endless.index(stop) + 1
