"""Vectors of sounds through the library's front door: times, chunks, tokens, layers, errors, memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import auricle
from auricle.api import Model
from auricle.engine.layers import layers_of
from auricle.errors import InputError, OptionError, PromptError, SoundError, UnsupportedError
from auricle.types import Audio, Extraction, StageShape
from tests.checkpoints import make_checkpoint
from tests.engine.scripted import noise, together

RATE = 16_000
STEP = 0.04
BLOCKS = {"encoder": 2, "llm": 8}  # of the e2b checkpoint


@pytest.fixture(scope="module")
def model(e2b: Path) -> Model:
    return auricle.load(str(e2b), device="cpu")


@pytest.fixture(scope="module")
def unchunked(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same weights in a model that takes clips of two minutes."""
    folder = make_checkpoint(tmp_path_factory.mktemp("unchunked"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"max_seconds": 120.0}))
    return auricle.load(str(folder), device="cpu")


def refused(kind: type[InputError], model: Model, audio: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        model.embed(audio, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- times


@pytest.mark.parametrize("stage", ["encoder", "tower", "projector", "llm"])
@pytest.mark.parametrize("samples", [161, 800, 801, 16_000, 100_003])
def test_vector_k_covers_its_40_ms(model: Model, stage: Any, samples: int) -> None:
    found = model.embed(noise(samples), stage=stage)
    count = model.backend.family.audio_tokens(samples)  # type: ignore[attr-defined]
    width = model.stages[stage].width
    assert found.vectors.shape == (1, count, width)
    np.testing.assert_allclose(found.start_s, np.arange(count) * STEP, atol=1e-9)
    np.testing.assert_allclose(found.end_s, np.arange(1, count + 1) * STEP, atol=1e-9)  # also past the sound's end
    assert found.kinds == ("audio",) * count
    assert (found.chunks, found.source, found.seconds) == (1, "noise 0", samples / RATE)


def test_a_piece_of_a_longer_sound_has_the_times_of_its_source(model: Model) -> None:
    piece = Audio(noise(16_000).samples, RATE, "piece", start_s=12.5)
    for options in ({}, {"pooling": "window=0.2"}, {"pooling": "mean"}, {"stage": "llm", "tokens": "last"}):
        found, at_0 = model.embed(piece, **options), model.embed(noise(16_000), **options)
        np.testing.assert_allclose(found.start_s, at_0.start_s + 12.5)
        np.testing.assert_allclose(found.end_s, at_0.end_s + 12.5)
        assert np.array_equal(found.vectors, at_0.vectors)


@pytest.mark.parametrize("at_s", [3.2, 24.9, 27.3, 27.48, 29.9, 41.0, 52.6, 69.0])
def test_an_event_in_a_long_sound_is_found_at_its_true_time(model: Model, at_s: float) -> None:
    """Also beside the seams, at 27.48 and 52.48 s."""
    without = noise(70 * RATE).samples
    event = slice(round(at_s * RATE), round((at_s + 0.2) * RATE))
    samples = without.copy()
    samples[event] += np.sin(np.arange(event.stop - event.start) * 2 * np.pi * 700 / RATE).astype(np.float32) * 0.8
    found, calm = (model.embed(Audio(sound, RATE, "long"), layers="0,-1") for sound in (samples, without))
    assert found.chunks == 3
    for layer, looks_back_s in ((0, 0.0), (1, 1.3)):
        heard = np.abs(found.vectors[layer] - calm.vectors[layer]).max(axis=1) > 0.01
        assert at_s - 2 * STEP < found.start_s[heard].min() <= at_s  # a token sees a frame of the next one
        assert at_s + 0.2 <= found.end_s[heard].max() < at_s + 0.2 + looks_back_s + 2 * STEP


@pytest.mark.parametrize("stage", ["encoder", "projector", "llm"])
@pytest.mark.parametrize("overlap", [0, 1.0, 5.0, 5.01, 29.0])
def test_joined_times_are_regular_and_each_there_once(model: Model, stage: Any, overlap: float) -> None:
    audio = noise(40 * RATE + 1234)
    found = model.embed(audio, stage=stage, overlap=overlap)
    assert found.chunks > 1
    count = model.backend.family.audio_tokens(len(audio.samples))  # type: ignore[attr-defined]
    np.testing.assert_allclose(found.start_s, np.arange(count) * STEP, atol=1e-8)
    np.testing.assert_allclose(found.end_s[:-1], found.start_s[1:], atol=1e-12)
    assert len(found.kinds) == found.vectors.shape[1] == count


@pytest.mark.parametrize("stage", ["encoder", "tower", "projector"])
def test_joined_vectors_are_those_of_the_whole_sound(model: Model, unchunked: Model, stage: Any) -> None:
    """This encoder looks back about 1.3 s, and 2.5 s are dropped at a seam."""
    audio = noise(70 * RATE)
    found, whole = (one.embed(audio, stage=stage, layers="all") for one in (model, unchunked))
    assert (found.chunks, whole.chunks) == (3, 1)
    assert found.vectors.shape == whole.vectors.shape
    assert np.abs(found.vectors - whole.vectors).max() < 1e-4
    abutting = model.embed(audio, stage=stage, layers="all", overlap=0)
    assert np.abs(abutting.vectors - whole.vectors).max() > 0.1  # without an overlap a seam shows


def test_a_long_sound_s_prompts_each_give_a_last_vector(model: Model) -> None:
    found = model.embed(noise(70 * RATE), stage="llm", tokens="last")
    assert found.vectors.shape[1] == found.chunks == 3
    assert list(zip(found.start_s, found.end_s, strict=True)) == [(0, 30), (25, 55), (50, 70)]
    assert found.kinds == ("text",) * 3


# --- pooling and tokens


@pytest.mark.parametrize("stage", ["encoder", "llm"])
def test_pooling_is_numpy_s(model: Model, stage: Any) -> None:
    audio = noise(40 * RATE)
    every = model.embed(audio, stage=stage, layers="all").vectors
    for pooling, expected in (("mean", every.mean(1)), ("max", every.max(1)), ("last", every[:, -1])):
        found = model.embed(audio, stage=stage, layers="all", pooling=pooling)
        np.testing.assert_allclose(found.vectors[:, 0], expected, atol=1e-5)
        assert (found.start_s[0], found.end_s[0]) == (0, 40)
    windows = model.embed(audio, stage=stage, layers="all", pooling="window=1.5")
    starts = np.arange(every.shape[1]) * 4 // 150
    expected = np.stack([every[:, starts == number].mean(1) for number in range(27)], axis=1)
    np.testing.assert_allclose(windows.vectors, expected, atol=1e-5)
    assert (windows.start_s[-1], windows.end_s[-1]) == (39, 40)


def test_tokens_of_the_decoder(model: Model) -> None:
    audio = noise(20_000)
    every, heard, text, last = (model.embed(audio, stage="llm", tokens=t) for t in ("all", "audio", "text", "last"))
    kinds = np.array(every.kinds)
    assert set(kinds) == {"audio", "text"}
    np.testing.assert_allclose(every.vectors[:, kinds == "audio"], heard.vectors, atol=1e-5)
    np.testing.assert_allclose(every.vectors[:, kinds == "text"], text.vectors, atol=1e-5)
    np.testing.assert_allclose(every.vectors[:, -1:], last.vectors, atol=1e-5)
    np.testing.assert_allclose(every.start_s[kinds == "audio"], heard.start_s)
    assert np.isnan(every.start_s[kinds == "text"]).all()
    assert np.isnan(text.end_s).all()
    assert (last.start_s[0], last.end_s[0]) == (0, 1.25)  # it has heard all of the clip
    assert (text.kinds, last.kinds) == (("text",) * len(text.kinds), ("text",))


def test_the_prompt_and_its_order_matter_to_the_decoder_alone(model: Model) -> None:
    audio = noise(20_000)
    one, other = (model.embed(audio, stage="llm", prompt=prompt) for prompt in ("Who speaks?", "Which is louder?"))
    assert np.abs(one.vectors - other.vectors).max() > 0.1
    before = model.embed(audio, stage="llm", prompt="Who speaks?", order="audio-first")
    assert np.abs(one.vectors - before.vectors).max() > 0.1


# --- layers


SHAPE = StageShape(blocks=10, width=4, step_s=STEP)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("-1", (10,)),
        (-1, (10,)),
        (0, (0,)),
        ("0,4,-1", (0, 4, 10)),
        (" 4 , 0 ", (4, 0)),
        ((3, -2), (3, 9)),
        ("2:8:3", (2, 5)),
        (":3", (0, 1, 2)),
        ("-3:", (8, 9, 10)),
        ("::5", (0, 5, 10)),
        ("::-5", (10, 5, 0)),
        ("0,8:,3", (0, 8, 9, 10, 3)),
        ("all", tuple(range(11))),
        ("8:24:4", (8,)),  # a slice may go past the end, as Python's do
    ],
)
def test_layers_that_are_asked_for(layers: Any, expected: tuple[int, ...]) -> None:
    assert layers_of(layers, "llm", SHAPE) == expected


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("11", "there is no layer 11: stage 'llm' has layers 0 to 10 (-1 is the last)"),
        ("-12", "there is no layer -12: stage 'llm' has layers 0 to 10"),
        ((0, 99), "there is no layer 99"),
        ("20:", "layers '20:' are none: stage 'llm' has layers 0 to 10"),
        ((), "layers () are none"),
        ("0,-11", "layer 0 is asked for twice"),
        ("all,3", "layer 3 is asked for twice"),
        *((wrong, "it must be a number, a list such as 0,4,-1") for wrong in ("", "x", "1.5", "0:5:0", "1,,2", "1-3")),
        *((wrong, "it must be a number, a list such as 0,4,-1") for wrong in (1.5, True, None, ("x",), {"a": 1})),
    ],
    ids=str,
)
def test_layers_that_are_not_there(layers: Any, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        layers_of(layers, "llm", SHAPE)
    assert said in str(caught.value)


def test_a_stage_of_one_output_has_one_layer() -> None:
    single = StageShape(blocks=0, width=4, step_s=STEP)
    assert (
        layers_of("-1", "tower", single) == layers_of("all", "tower", single) == layers_of(0, "tower", single) == (0,)
    )
    with pytest.raises(OptionError, match="there is no layer 1: stage 'tower' has one output, 0"):
        layers_of("1", "tower", single)


def test_the_stages_of_a_model(model: Model) -> None:
    assert model.stages == {
        "encoder": StageShape(2, 32, STEP),
        "tower": StageShape(0, 24, STEP),
        "projector": StageShape(0, 64, STEP),
        "llm": StageShape(8, 64, STEP),
    }


# --- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stage": "head"}, "stage is 'head'; it must be 'encoder', 'tower', 'projector' or 'llm'"),
        ({"layers": "3"}, "there is no layer 3: stage 'encoder' has layers 0 to 2 (-1 is the last)"),
        ({"stage": "llm", "layers": "9"}, "there is no layer 9: stage 'llm' has layers 0 to 8"),
        ({"pooling": "window"}, "pooling is 'window'; it must be none, mean, max, last or window=SECONDS"),
        ({"pooling": "window=x"}, "pooling is 'window=x'"),
        ({"pooling": "window=-1"}, "pooling is 'window=-1'"),
        ({"pooling": "window=inf"}, "pooling is 'window=inf'"),
        ({"pooling": "median"}, "pooling is 'median'"),
        ({"pooling": None}, "pooling is None"),
        ({"pooling": "window=0.03"}, "a window must be at least that"),
        ({"tokens": "text"}, "tokens is 'text', and stage 'encoder' has audio alone: use stage 'llm'"),
        ({"tokens": "last", "stage": "projector"}, "stage 'projector' has audio alone"),
        ({"tokens": "sound"}, "tokens is 'sound'; it must be 'audio', 'text', 'last' or 'all'"),
        ({"stage": "llm", "tokens": "all", "pooling": "window=1"}, "which is of sound alone: use tokens 'audio'"),
        ({"order": "sideways"}, "order is 'sideways'"),
        ({"dtype": "bfloat16"}, "dtype is 'bfloat16'; it must be 'float32' or 'float16'"),
        ({"prompt": " "}, "prompt is ' '"),
        ({"overlap": -1}, "overlap is -1"),
        ({"overlap": float("nan")}, "overlap is nan"),
        ({"overlap": 30}, "overlap is 30 s; it must be less than a clip, which has 30 s"),
    ],
    ids=str,
)
def test_options_outside_their_range(model: Model, options: dict[str, Any], said: str) -> None:
    assert said in refused(OptionError, model, noise(16_000), **options)


@pytest.mark.parametrize("tokens", ["text", "all"])
def test_a_long_sound_has_no_one_prompt(model: Model, tokens: Any) -> None:
    text = refused(OptionError, model, noise(31 * RATE), stage="llm", tokens=tokens)
    assert "noise 0 is 31.0 s long and becomes 2 clips" in text
    assert "use tokens 'audio' or 'last'" in text


def test_a_sound_that_is_too_short_is_named(model: Model) -> None:
    text = refused(SoundError, model, noise(160, seed=7))
    assert text.startswith("noise 7: the sound has 160 samples")
    with pytest.raises(SoundError, match="noise 7: the sound has 160 samples"):
        model.read(noise(160, seed=7))


def test_what_was_read_is_embedded(model: Model) -> None:
    read = model.read(Audio(noise(44_100).samples, 44_100, "fast"))
    assert read.rate == RATE
    assert np.array_equal(model.embed(read).vectors, model.embed(Audio(noise(44_100).samples, 44_100, "fast")).vectors)


def test_a_prompt_that_does_not_fit(tmp_path: Path) -> None:
    short = auricle.load(str(make_checkpoint(tmp_path, max_position_embeddings=100)), device="cpu")
    assert "context holds 100" in refused(PromptError, short, noise(4 * RATE), stage="llm")
    assert short.embed(noise(4 * RATE)).vectors.shape[1] == 100  # the encoder doesn't mind


# --- the numbers


def test_float16(model: Model) -> None:
    exact, rounded = (model.embed(noise(16_000), dtype=dtype).vectors for dtype in ("float32", "float16"))
    assert (exact.dtype, rounded.dtype) == (np.float32, np.float16)
    assert np.array_equal(exact.astype(np.float16), rounded)


def test_numbers_past_float16_are_an_error_and_not_infinite(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    family = model.backend.family  # type: ignore[attr-defined]
    hear = type(family).hear_layers
    monkeypatch.setattr(family, "hear_layers", lambda *args: [1e6 * one for one in hear(family, *args)])
    text = refused(OptionError, model, noise(16_000), dtype="float16")
    assert "noise 0: a vector of 'encoder' reaches " in text
    assert "float16 ends at 65504: use float32" in text
    assert np.isfinite(model.embed(noise(16_000)).vectors).all()
    monkeypatch.setattr(family, "hear_layers", lambda *args: [one / 0.0 for one in hear(family, *args)])
    assert "not finite" in refused(OptionError, model, noise(16_000))


def test_the_same_list_gives_the_same_bits(model: Model) -> None:
    audios = [noise(20_000 + 1717 * number % 50_000, seed=number) for number in range(40)]
    for options in ({"layers": "all"}, {"stage": "llm", "pooling": "mean"}):
        first, second = (model.embed_many(audios, **options) for _ in range(2))
        assert all(np.array_equal(a.vectors, b.vectors) for a, b in zip(first, second, strict=True))
        for audio, together_ in zip(audios, first, strict=True):
            np.testing.assert_allclose(together_.vectors, model.embed(audio, **options).vectors, atol=1e-4)


def test_many_come_in_the_order_given(model: Model) -> None:
    audios = [noise(samples, seed=samples) for samples in (90_000, 500_000, 161, 40_000)]
    found = model.embed_many(audios)
    assert [one.source for one in found] == [audio.source for audio in audios]
    assert [one.chunks for one in found] == [1, 2, 1, 1]
    assert model.embed_many([]) == []


# --- memory


def watched(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, tuple[int, ...]]]:
    """Of each batch that is heard from now on: clips, mel frames with padding, layers."""
    family, seen = model.backend.family, []  # type: ignore[attr-defined]
    hear = type(family).hear_layers

    def hearing(features: Sequence[NDArray[np.float32]], stage: str, layers: Sequence[int]) -> list[Tensor]:
        seen.append((len(features), len(features) * max(map(len, features)), tuple(layers)))
        return hear(family, features, stage, layers)

    monkeypatch.setattr(family, "hear_layers", hearing)
    return seen


def test_batches_are_bounded_and_of_like_length(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(model, monkeypatch)
    audios = [noise(RATE * (1 + number % 2 * 20), seed=number) for number in range(50)]
    model.embed_many([*audios, noise(200 * RATE)])
    assert max(clips for clips, _, _ in seen) == 16
    assert max(frames for _, frames, _ in seen) <= 120 * 100
    assert seen[0][:2] == (16, 16 * 99)  # of one second each: 99 frames, and no padding
    assert sum(clips for clips, _, _ in seen) == 50 + 8


def test_many_layers_make_smaller_batches(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.engine.embed.BATCH_BYTES", 4 * 9 * 64 * 25 * 40.0)  # 40 s of all nine layers
    seen = watched(model, monkeypatch)
    model.embed_many([noise(15 * RATE, seed=number) for number in range(4)], stage="llm", layers="all")
    assert [clips for clips, _, _ in seen] == [2, 2]
    seen.clear()
    model.embed_many([noise(15 * RATE, seed=number) for number in range(4)], stage="llm")
    assert [clips for clips, _, _ in seen] == [4]


def test_only_what_is_asked_for_is_kept(model: Model) -> None:
    """Of a sound of 200 s: no view into what a batch gave, in which the other layers and the overlaps would stay."""
    found = model.embed(noise(200 * RATE), layers=(1,))
    held: Any = found.vectors
    while getattr(held, "base", None) is not None:
        held = held.base
    assert held.nbytes == found.vectors.nbytes == 4 * 5000 * 32


@pytest.mark.parametrize("stage", ["encoder", "llm"])
def test_a_pass_ends_with_the_last_layer_that_is_asked_for(model: Model, stage: Any) -> None:
    family = model.backend.family  # type: ignore[attr-defined]
    blocks = family.model.audio_tower.layers if stage == "encoder" else family.model.language_model.layers
    ran: list[int] = []
    hooks = [block.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, block in enumerate(blocks)]
    try:
        model.embed(noise(16_000), stage=stage, layers="1")
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == [0]


# --- beside other requests


def test_embedding_beside_answers_changes_neither(model: Model) -> None:
    """Work on the model that is no request's takes its turns with theirs."""
    audio, long = noise(20_000), noise(60 * RATE, seed=1)
    alone = model.ask(audio, "hm?", max_tokens=40).text, model.embed(long, stage="llm").vectors
    answered, found, states = together(
        lambda: [model.ask(audio, "hm?", max_tokens=40).text for _ in range(3)],
        lambda: [model.embed(long, stage="llm").vectors for _ in range(2)],
        lambda: model.hidden_states(audio).values,
    )
    assert answered == [alone[0]] * 3
    assert all(np.array_equal(vectors, alone[1]) for vectors in found)
    assert np.array_equal(states, model.hidden_states(audio).values)


# --- hidden_states


def test_every_position_is_labelled(model: Model) -> None:
    clips = [Audio(noise(9_000).samples, RATE, "one"), Audio(noise(20_000).samples, RATE, "two", start_s=5.0)]
    found = model.hidden_states(clips, "Which is louder?", layers="0,-1")
    assert found.layers == (0, 8)
    assert found.values.shape == (2, len(found.tokens), 64)
    counts = [segment.tokens for segment in found.segments]
    first, second = found.of("audio", clip=0), found.of("audio", clip=1)
    assert [len(first.tokens), len(second.tokens)] == counts == [14, 31]
    np.testing.assert_allclose([token.start_s for token in first.tokens], np.arange(14) * STEP)
    np.testing.assert_allclose([token.end_s for token in second.tokens], 5.0 + np.arange(1, 32) * STEP)
    text = "".join(token.text for token in found.of("text").tokens)
    assert text == "<bos><|turn>user\nWhich is louder?<|audio><audio|><|audio><audio|><turn|>\n<|turn>model\n"
    assert all(np.isnan(token.start_s) and token.clip is None for token in found.of("text").tokens)
    assert np.array_equal(found.layer(8), found.values[1])
    assert np.array_equal(found.of("audio", clip=1).values, found.values[:, [t.clip == 1 for t in found.tokens]])


def test_a_long_sound_is_cut_at_pauses_as_for_a_question(model: Model) -> None:
    found = model.hidden_states(noise(40 * RATE), layers=-1)
    asked = model.ask(noise(40 * RATE), max_tokens=1)
    assert found.segments == asked.segments
    assert len(found.segments) == 2
    assert "was cut at pauses into 2 clips" in found.notes[0]
    assert found.of("audio", clip=1).tokens[0].start_s == pytest.approx(found.segments[1].start_s)


def test_hidden_states_that_are_not_there(model: Model) -> None:
    with pytest.raises(OptionError, match="there is no layer 9: stage 'llm' has layers 0 to 8"):
        model.hidden_states(noise(16_000), layers=9)
    found = model.hidden_states(noise(16_000), layers="1,2")
    with pytest.raises(OptionError, match="layer 3 is not among those taken: 1, 2"):
        found.layer(3)
    with pytest.raises(OptionError, match="no token is of kind 'audio' and clip 4"):
        found.of("audio", clip=4)


def test_they_are_what_embed_gives(model: Model) -> None:
    states = model.hidden_states(noise(16_000), "hm?")
    found = model.embed(noise(16_000), stage="llm", layers="all", tokens="all", prompt="hm?")
    np.testing.assert_allclose(found.vectors, states.values, atol=1e-5)


# --- a model without its language model


def test_a_model_that_only_hears(e2b: Path, model: Model) -> None:
    hears = auricle.load(str(e2b), device="cpu", encoder_only=True)
    audio = noise(40 * RATE)
    assert list(hears.stages) == ["encoder", "tower", "projector"]
    for stage in ("encoder", "tower", "projector"):
        assert np.array_equal(hears.embed(audio, stage=stage).vectors, model.embed(audio, stage=stage).vectors)
    calls = {
        "answer": lambda: hears.ask(audio),
        "score": lambda: hears.score(audio, ["yes", "no"]),
        "listen": hears.listen,
        "give hidden states": lambda: hears.hidden_states(audio),
        "embed from stage 'llm'": lambda: hears.embed(audio, stage="llm"),
    }
    for what, call in calls.items():
        with pytest.raises(OptionError) as caught:
            call()
        assert str(caught.value) == (
            f"this model was loaded with encoder_only and can't {what}: load it whole, without that"
        )
    with pytest.raises(OptionError, match="can't answer"):
        hears.transcribe(audio)


def test_another_backend_has_no_such_models() -> None:
    with pytest.raises(UnsupportedError, match="encoder_only is of the native backend"):
        auricle.load("transformers:any/thing", encoder_only=True)


# --- where numbers come from


def test_provenance(e2b: Path, model: Model) -> None:
    found = model.provenance()
    assert found["model"] == str(e2b)
    assert found["revision"] == model.revision
    assert (model.revision or "").startswith("sha256:")
    assert (found["backend"], found["device"], found["dtype"]) == ("native", "cpu", "float32")
    assert found["auricle"] == auricle.__version__


def test_an_extraction_can_be_kept() -> None:
    assert Extraction() == Extraction(stage="encoder", layers="-1", tokens="audio", pooling="none")
    assert hash(Extraction(layers=(1, 2))) == hash(Extraction(layers=(1, 2)))


def test_half_precision_models_give_float32_vectors(e2b: Path) -> None:
    half = auricle.load(str(e2b), device="cpu", dtype="bfloat16")
    found = half.embed(noise(16_000))
    assert found.vectors.dtype == np.float32
    assert half.provenance()["dtype"] == "bfloat16"
    assert torch.from_numpy(found.vectors).bfloat16().float().numpy().tolist() == found.vectors.tolist()
