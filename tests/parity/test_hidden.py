"""What layers give, against transformers' hidden states of the same weights: encoder, tower, projector, decoder."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.engine import embed
from auricle.engine.embed import hidden_states
from auricle.models.family import Part, open_family, read_one
from auricle.quant.quantize import quantize
from auricle.types import Ask, Audio, Embedding, Extraction, HiddenStates, Message
from tests.parity.pair import Pair, difference
from tests.parity.sounds import RATE, Samples, babble, clicks, noise, tone

BOUND = 1e-4
ALONE = {"encoder": 1e-5, "tower": 1e-5, "projector": 1e-5, "llm": BOUND}  # in a batch of others, from by itself
CLIPS = [babble(33_333), tone(161), babble(33_661), clicks(80_001), noise(8_161)]
QUESTION = "Which is louder?"


def ours(pair: Pair, clips: Sequence[Samples], **options: Any) -> list[Embedding]:
    audios = [Audio(clip, RATE, f"clip {number}") for number, clip in enumerate(clips)]
    with torch.inference_mode():
        return embed.embed(pair.ours, nullcontext, audios, Extraction(prompt=QUESTION, **options))


def encoder_layers(pair: Pair, clip: Samples) -> Tensor:
    """Theirs, by hooks: `(blocks + 1, tokens, width)`."""
    found: list[Tensor] = []
    tower = pair.theirs.model.audio_tower
    hooks = [tower.layers[0].register_forward_pre_hook(lambda _, args: found.append(args[0]))]
    hooks += [layer.register_forward_hook(lambda _, __, out: found.append(out)) for layer in tower.layers]
    pair.reference_encoded([clip])
    for hook in hooks:
        hook.remove()
    return torch.cat([layer[0] if isinstance(layer, tuple) else layer for layer in found])


@cache
def exact(pair: Pair) -> Any:
    """Theirs with the decoder in float64: in float32 rounding alone moves its layers by up to 1.1e-4, ours by 3e-5."""
    model = copy.deepcopy(pair.theirs).double()
    model.model.audio_tower.float()  # it can't run in another
    model.model.embed_audio.float()
    return model


def decoder_layers(pair: Pair, clips: Sequence[Samples], audio_first: bool = False) -> tuple[list[int], Tensor]:
    """Theirs: the prompt's ids, and `(blocks + 1, tokens, hidden)`."""
    ids = pair.prompt(clips, QUESTION, audio_first)
    with torch.inference_mode():
        out = exact(pair)(**pair.reference_inputs(ids, clips), output_hidden_states=True)
    return ids, torch.cat(out.hidden_states)


# --- stages before the decoder


@pytest.mark.parametrize("clip", CLIPS, ids=len)
def test_every_layer_of_the_encoder(pair: Pair, clip: Samples) -> None:
    expected = encoder_layers(pair, clip)
    (found,) = ours(pair, [clip], stage="encoder", layers="all")
    assert found.layers == tuple(range(pair.ours.stages["encoder"].blocks + 1))
    assert difference(found.vectors, expected) <= BOUND
    assert difference(expected[0], expected[-1]) > 0.1  # or a layer taken for another would not show


def test_the_tower_s_output(pair: Pair) -> None:
    inputs = pair.reference_inputs([], CLIPS)
    with torch.inference_mode():
        out = pair.theirs.model.audio_tower(inputs["input_features"], inputs["input_features_mask"])
    expected = out.last_hidden_state[out.attention_mask]
    found = ours(pair, CLIPS, stage="tower")
    assert difference(np.concatenate([one.vectors[0] for one in found]), expected) <= BOUND


def test_the_projector_s_output(pair: Pair) -> None:
    found = ours(pair, CLIPS, stage="projector")
    assert difference(np.concatenate([one.vectors[0] for one in found]), pair.reference_encoded(CLIPS)) <= BOUND


# --- the decoder


@pytest.mark.parametrize("order", ["text-first", "audio-first"])
@pytest.mark.parametrize("tokens", ["audio", "text", "last", "all"])
def test_every_layer_of_the_decoder(pair: Pair, tokens: str, order: str) -> None:
    for clip in (CLIPS[0], CLIPS[1]):
        ids, expected = decoder_layers(pair, [clip], audio_first=order == "audio-first")
        heard = np.array(ids) == pair.ours.placeholder
        chosen = {
            "audio": heard,
            "text": ~heard,
            "all": np.full(len(ids), True),
            "last": np.arange(len(ids)) == len(ids) - 1,
        }
        (found,) = ours(pair, [clip], stage="llm", layers="all", tokens=tokens, order=order)
        assert found.layers == tuple(range(pair.ours.config.text.num_hidden_layers + 1))
        assert difference(found.vectors, expected[:, chosen[tokens]]) <= BOUND


@pytest.mark.parametrize("layers", ["0", "1", "-2", "-1", "3,1", "2:6:2", (5, 0)], ids=str)
@pytest.mark.parametrize("tokens", ["audio", "last"])
def test_some_layers_are_those_of_all(pair: Pair, layers: Any, tokens: str) -> None:
    """Also where the pass ends early, and where the last layers run for one position alone."""
    (found,) = ours(pair, [CLIPS[0]], stage="llm", layers=layers, tokens=tokens)
    (whole,) = ours(pair, [CLIPS[0]], stage="llm", layers="all", tokens=tokens)
    assert difference(found.vectors, whole.vectors[list(found.layers)]) <= BOUND
    assert len(found.layers) == len(found.vectors)


def test_the_last_layer_comes_after_the_final_norm(pair: Pair) -> None:
    """So that the head makes logits of it."""
    ids = pair.prompt([CLIPS[0]], QUESTION)
    (found,) = ours(pair, [CLIPS[0]], stage="llm", tokens="last")
    with torch.inference_mode():
        logits = pair.ours.model.language_model.logits(torch.from_numpy(found.vectors[0]))
    assert difference(logits[0], pair.reference_logits(ids, [CLIPS[0]])[-1]) <= 1e-3


@pytest.mark.parametrize("stage", ["encoder", "tower", "projector", "llm"])
def test_unequal_clips_in_a_batch_give_what_each_gives_alone(pair: Pair, stage: str) -> None:
    together = ours(pair, CLIPS, stage=stage, layers="all")
    for clip, found in zip(CLIPS, together, strict=True):
        (alone,) = ours(pair, [clip], stage=stage, layers="all")
        assert difference(found.vectors, alone.vectors) <= ALONE[stage]
        assert (found.start_s == alone.start_s).all()


# --- hidden_states, and slips that it must not repeat


def states(pair: Pair, clips: Sequence[Samples], layers: Any = "all") -> HiddenStates:
    audios = [Audio(clip, RATE, f"clip {number}") for number, clip in enumerate(clips)]
    return hidden_states(pair.ours, torch.inference_mode, Ask((Message("user", (QUESTION, *audios)),)), layers)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_hidden_states_of_one_forward_pass(pair: Pair, count: int) -> None:
    ids, expected = decoder_layers(pair, CLIPS[:count])
    found = states(pair, CLIPS[:count])
    assert difference(found.values, expected) <= BOUND
    assert len(found.tokens) == len(ids)


@pytest.mark.parametrize("wanted", [1, 5])
def test_several_requests_in_a_pass_of_which_few_positions_are_wanted(pair: Pair, wanted: int) -> None:
    layers = range(pair.ours.config.text.num_hidden_layers + 1)
    prompts = [pair.prompt([clip], QUESTION) for clip in CLIPS[:3]]
    parts = [
        Part(pair.ours.new_cache(observed=True), ids, pair.encoded([clip]), wanted)
        for ids, clip in zip(prompts, CLIPS, strict=False)
    ]
    with torch.inference_mode():
        found = pair.ours.read_layers(parts, layers)
    for rows, clip in zip(found, CLIPS, strict=False):
        assert difference(rows, decoder_layers(pair, [clip])[1][:, -wanted:]) <= BOUND


@pytest.mark.parametrize("scheme", ["int4", "int8"])
def test_a_packed_decoder_gives_what_it_answers_from(pair: Pair, tmp_path: Path, scheme: str) -> None:
    """Its layers are taken from its modules, and its answers from a native program: the two are the same model."""
    quantize(pair.ours.checkpoint, scheme, tmp_path / scheme)
    packed = open_family(Checkpoint(tmp_path / scheme))
    packed.load(torch.device("cpu"), torch.float32)
    ids, audio = pair.prompt(CLIPS[:1], QUESTION), pair.encoded(CLIPS[:1])
    part = Part(packed.new_cache(observed=True), ids, audio, wanted=len(ids))
    with torch.inference_mode():
        (found,) = packed.read_layers([part], (0, pair.ours.config.text.num_hidden_layers))
        logits = packed.model.get_submodule("language_model").logits(found[-1])
        watched = read_one(packed, ids, audio, packed.new_cache(observed=True), wanted=len(ids))
        answered = read_one(packed, ids, audio, packed.new_cache(), wanted=len(ids))
    assert difference(found[0], decoder_layers(pair, CLIPS[:1])[1][0]) < 0.2  # packed tables
    assert difference(logits, watched) <= ALONE["encoder"]
    # The program rounds activations to int8 from other last bits than the modules: alike, not the same.
    assert float((logits - answered).square().mean().sqrt()) < 0.1 * float(answered.std())


def test_the_outer_index_is_the_layer_and_not_the_step_of_a_generation(pair: Pair) -> None:
    """What `generate` gives has a step's tuple outside, and of steps after the first one position each."""
    clips = CLIPS[:1]
    ids = pair.prompt(clips, QUESTION)
    found = states(pair, clips)
    with torch.inference_mode():
        out = pair.theirs.generate(
            **pair.reference_inputs(ids, clips),
            max_new_tokens=3,
            do_sample=False,
            eos_token_id=None,
            output_hidden_states=True,
            return_dict_in_generate=True,
        )
    steps = out.hidden_states
    assert len(steps) == 3
    assert {len(step) for step in steps} == {len(found.layers)}
    assert difference(found.values, torch.cat(steps[0])) <= BOUND
    assert steps[-1][-1].shape[1] == 1  # so "the last layer" by the outer index has one position, of the answer


def test_there_is_a_layer_more_than_blocks(pair: Pair) -> None:
    found = states(pair, CLIPS[:1])
    assert len(found.values) == pair.ours.config.text.num_hidden_layers + 1
    assert found.layers == tuple(range(len(found.values)))


def test_layer_0_is_the_input_and_the_last_is_not(pair: Pair) -> None:
    """The seed's "summary of the sequence" was the embedding of the last token that was fed, which knows nothing of
    what stands before it; of the last layer, the last position does.
    """
    one, other = (states(pair, [clip]) for clip in (babble(30_000), noise(30_000)))
    with torch.inference_mode():
        fed = pair.ours.model.language_model.embed(torch.tensor([[pair.prompt([babble(30_000)], QUESTION)[-1]]]))[0, 0]
    assert difference(one.layer(0)[-1], fed) == 0
    assert difference(one.layer(0)[-1], other.layer(0)[-1]) == 0
    assert difference(one.layer(-1)[-1], other.layer(-1)[-1]) > 0.1


def test_audio_tokens_stand_in_layer_0_as_the_projector_gives_them(pair: Pair) -> None:
    found = states(pair, CLIPS[:3]).of("audio")
    assert difference(found.layer(0), pair.reference_encoded(CLIPS[:3])) <= BOUND
    assert [token.clip for token in found.tokens] == [
        number for number, clip in enumerate(CLIPS[:3]) for _ in range(pair.ours.audio_tokens(len(clip)))
    ]
