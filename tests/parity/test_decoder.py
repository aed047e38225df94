"""Logits against transformers: audio in the prompt, past the sliding window, over several turns on one cache."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from auricle.models.family import read_one
from tests.parity.pair import Pair, difference
from tests.parity.sounds import babble, clicks, noise, silence, tone

BOUND = 1e-3
CLIPS = {
    "one": [babble(30_000)],
    "two": [tone(12_345), noise(161)],
    "three": [silence(700), babble(50_001), clicks(9_999)],
}


def text_ids(tokens: int, seed: int = 0) -> list[int]:
    """Random ids of plain text."""
    return torch.randint(4, 290, (tokens,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("audio_first", [False, True], ids=["text first", "audio first"])
@pytest.mark.parametrize("clips", CLIPS)
def test_prompts_with_audio(pair: Pair, clips: str, audio_first: bool) -> None:
    sounds = CLIPS[clips]
    ids = pair.prompt(sounds, audio_first=audio_first)
    assert difference(pair.logits(ids, sounds), pair.reference_logits(ids, sounds)) <= BOUND


def test_the_longest_clip(pair: Pair) -> None:
    """750 audio tokens: many sliding windows, and more than one block of queries in attention."""
    sounds = [babble(480_000)]
    ids = pair.prompt(sounds)
    assert len(ids) > 750
    assert difference(pair.logits(ids, sounds), pair.reference_logits(ids, sounds)) <= BOUND


def test_text_around_the_window(pair: Pair) -> None:
    """Prompts that end just before, at and after the sliding window's edge."""
    window = pair.ours.config.text.sliding_window
    for tokens in (1, 2, window - 1, window, window + 1, 2 * window, 2 * window + 1, 5 * window):
        ids = text_ids(tokens, seed=tokens)
        assert difference(pair.logits(ids), pair.reference_logits(ids)) <= BOUND, tokens


def test_the_logits_say_something(pair: Pair) -> None:
    """Guards the bounds above: numbers of the size of real logits, that depend on the sound."""
    ids = pair.prompt([babble(30_000)])
    one, other = pair.logits(ids, [babble(30_000)]), pair.logits(ids, [noise(30_000)])
    assert float(one.std()) > 1
    assert difference(one[-1], other[-1]) > 0.5


def test_last_only_gives_the_last_of_all_positions(pair: Pair) -> None:
    sounds = CLIPS["two"]
    ids = pair.prompt(sounds)
    audio = pair.encoded(sounds)
    with torch.inference_mode():
        last = read_one(pair.ours, ids, audio, pair.ours.new_cache())
    assert last.shape == (1, pair.ours.config.text.vocab_size)
    assert difference(last[0], pair.logits(ids, sounds)[-1]) <= 1e-4


def in_chunks(pair: Pair, ids: list[int], chunks: list[int], last_only: bool) -> Tensor:
    """Logits of ids read bit by bit on one cache: of all positions, or of every chunk's last."""
    cache, rows, at = pair.ours.new_cache(), [], 0
    with torch.inference_mode():
        for size in chunks:
            rows.append(read_one(pair.ours, ids[at : at + size], None, cache, wanted=1 if last_only else size))
            at += size
    assert at == len(ids) == cache.length
    return torch.cat(rows)


def test_several_turns_on_one_cache(pair: Pair) -> None:
    """A prompt with audio, an answer token by token, a question, an answer: as one sequence in the reference."""
    sounds = CLIPS["one"]
    prompt = pair.prompt(sounds)
    rest = text_ids(100)
    cache, rows, at = pair.ours.new_cache(), [], 0
    with torch.inference_mode():
        first = read_one(pair.ours, prompt, pair.encoded(sounds), cache)
        for size in (*[1] * 30, 20, *[1] * 10, 37, 3):
            rows.append(read_one(pair.ours, rest[at : at + size], None, cache, wanted=size))
            at += size
    expected = pair.reference_logits(prompt + rest, sounds)
    assert difference(first[0], expected[len(prompt) - 1]) <= BOUND
    assert difference(torch.cat(rows), expected[len(prompt) :]) <= BOUND


@settings(max_examples=15, deadline=None, derandomize=True)
@given(chunks=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_any_chunks_on_one_cache(pairs: dict[str, Pair], chunks: list[int]) -> None:
    for pair in pairs.values():
        ids = text_ids(sum(chunks))
        expected = pair.reference_logits(ids)
        assert difference(in_chunks(pair, ids, chunks, last_only=False), expected) <= BOUND
        ends = torch.tensor(chunks).cumsum(0) - 1
        assert difference(in_chunks(pair, ids, chunks, last_only=True), expected[ends]) <= BOUND


def test_without_a_cache(pair: Pair) -> None:
    """The way training runs: no cache, all positions, a batch."""
    ids = torch.tensor([text_ids(50, seed=1), text_ids(50, seed=2)])
    decoder = pair.ours.model.language_model
    with torch.inference_mode():
        x = decoder.embed(ids)
        ours = decoder.logits(decoder(x, decoder.per_layer_inputs(ids, x)))
        expected = pair.theirs(input_ids=ids).logits
    assert difference(ours, expected) <= BOUND
