"""A whole request on a checkpoint, through the library."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.api import Model, load
from auricle.errors import CheckpointError, DeviceError, HubError, OptionError, PromptError, SoundError
from auricle.types import Answer, Audio, Message
from tests.checkpoints import IDS, make_checkpoint


@pytest.fixture(scope="module")
def model(e2b: Path) -> Model:
    return load(str(e2b))


def sound(seconds: float = 1.0, level: float = 0.1) -> Audio:
    random = np.random.default_rng(1)
    return Audio((random.standard_normal(round(seconds * 16_000)) * level).astype(np.float32), 16_000, "noise.wav")


def test_the_same_question_gets_the_same_answer(model: Model) -> None:
    first = model.ask(sound(), "What?", max_tokens=20)
    assert model.ask(sound(), "What?", max_tokens=20).tokens == first.tokens
    assert first.segments[0].tokens == 25


def test_the_sound_and_the_question_and_their_order_all_count(model: Model) -> None:
    def tokens(answer: Answer) -> tuple[int, ...]:
        return answer.tokens

    base = tokens(model.ask(sound(), "What?", max_tokens=20))
    assert tokens(model.ask(sound(level=0.01), "What?", max_tokens=20)) != base
    assert tokens(model.ask(sound(), "Who?", max_tokens=20)) != base
    assert tokens(model.ask(sound(), "What?", max_tokens=20, order="audio-first")) != base
    assert tokens(model.ask([sound(), sound()], "What?", max_tokens=20)) != base


def test_zero_audio_is_another_answer_that_owes_nothing_to_the_sound(model: Model) -> None:
    heard = model.ask(sound(), "What?", max_tokens=20)
    zeroed = model.ask(sound(), "What?", max_tokens=20, zero_audio=True)
    assert zeroed.tokens != heard.tokens
    assert zeroed.tokens == model.ask(sound(level=0.5), "What?", max_tokens=20, zero_audio=True).tokens
    assert zeroed.prompt_tokens == heard.prompt_tokens


def test_a_seed_fixes_what_is_sampled(model: Model) -> None:
    def sampled(seed: int) -> tuple[int, ...]:
        return model.ask(sound(), "What?", max_tokens=20, temperature=1.5, seed=seed).tokens

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_a_long_sound_is_cut_into_clips_and_the_answer_says_so(model: Model) -> None:
    answer = model.ask(sound(65.0), "What?", max_tokens=2)
    assert len(answer.segments) >= 3
    assert answer.segments[0].start_s == 0.0
    assert answer.segments[-1].end_s == pytest.approx(65.0)
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in zip(answer.segments, answer.segments[1:], strict=False))
    assert any("noise.wav is 65.0 s long and was cut at pauses into" in note for note in answer.notes)


def test_a_conversation(model: Model) -> None:
    *_, first = model.chat([Message("user", ("What?", sound()))], max_tokens=5)
    assert first.answer is not None
    turns = [Message("user", ("What?", sound())), Message("assistant", ("Noise.",)), Message("user", ("Loud?",))]
    *_, second = model.chat(turns, max_tokens=5)
    assert second.answer is not None
    assert second.answer.prompt_tokens > first.answer.prompt_tokens
    with pytest.raises(OptionError, match="the last message must be the user's"):
        model.chat(turns[:2])


def test_what_does_not_fit_the_context_is_refused_with_both_numbers(tmp_path: Path) -> None:
    short = load(str(make_checkpoint(tmp_path, max_position_embeddings=100)))
    assert short.ask(sound(), "What?", max_tokens=1).prompt_tokens < 100
    with pytest.raises(PromptError, match=r"the prompt has 1[0-9][0-9] tokens and the model's context holds 100"):
        short.ask(sound(4.0), "What?")


def test_the_end_of_the_context_ends_the_answer(tmp_path: Path) -> None:
    short = load(str(make_checkpoint(tmp_path, max_position_embeddings=100)))
    short.backend.family.stop_ids = frozenset()  # type: ignore[attr-defined]
    answer = short.ask(sound(), "What?", max_tokens=200)
    assert answer.prompt_tokens + len(answer.tokens) == 100
    assert answer.notes == (f"the answer was cut after {len(answer.tokens)} tokens (the model's context is full)",)


def test_a_control_token_in_the_question_is_refused(model: Model) -> None:
    with pytest.raises(PromptError, match=r"control token '<\|audio\|>'"):
        model.ask(sound(), "What is <|audio|>?")


def test_too_short_a_sound_is_refused(model: Model) -> None:
    with pytest.raises(SoundError, match="161"):
        model.ask(Audio(np.zeros(160, dtype=np.float32), 16_000))


def test_a_trace_has_all_that_happened(model: Model) -> None:
    answer = model.ask([sound(), sound(0.5)], "What?", max_tokens=5, trace=True)
    trace = answer.trace
    assert trace is not None
    assert len(trace["prompt_ids"]) == answer.prompt_tokens
    assert trace["prompt_ids"].count(IDS["<|audio|>"]) == 25 + 13
    assert "<|audio|> x 25" in trace["layout"]
    assert [f["name"] for f in trace["features"]] == [
        "clip 1 mel",
        "clip 1 audio tokens",
        "clip 2 mel",
        "clip 2 audio tokens",
    ]
    assert trace["features"][0]["shape"] == (99, 128)
    names = [a["name"] for a in trace["activations"]]
    encoder, decoder = 2, 8  # layers
    assert names[:encoder] == [f"audio_tower.layers.{i}" for i in range(encoder)]
    assert names[2 * encoder :] == [f"language_model.layers.{i}" for i in range(decoder)]
    assert [s["id"] for s in trace["sampled"]] == list(answer.tokens)
    assert all(s["logprob"] <= 0 for s in trace["sampled"])
    for entry in trace["features"] + trace["activations"]:
        assert entry["min"] <= entry["mean"] <= entry["max"]
        assert entry["std"] > 0


def test_a_trace_changes_nothing_and_leaves_nothing_behind(model: Model) -> None:
    traced = model.ask(sound(), "What?", max_tokens=5, trace=True)
    plain = model.ask(sound(), "What?", max_tokens=5)
    assert traced.tokens == plain.tokens
    assert plain.trace is None
    family = model.backend.family  # type: ignore[attr-defined]
    assert not any(module._forward_hooks for module in family.model.modules())


def test_timings(model: Model) -> None:
    timings = asdict(model.ask(sound(1.3), "What?", max_tokens=5).timings)
    assert all(value > 0 for value in timings.values()), timings
    assert timings["mel_s"] + timings["encoder_s"] + timings["prefill_s"] <= timings["ttft_s"] <= timings["total_s"]
    assert model.backend.load_s > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_dtype_answers(e2b: Path, dtype: str) -> None:
    loaded = load(str(e2b), dtype=dtype)
    assert loaded.backend.family.dtype == getattr(torch, dtype)  # type: ignore[attr-defined]
    assert len(loaded.ask(sound(), "What?", max_tokens=5).tokens) == 5


def test_a_small_model_runs_in_float32_by_itself(model: Model) -> None:
    assert model.backend.family.dtype == torch.float32  # type: ignore[attr-defined]


def test_bad_settings_are_told_before_the_weights_are_read(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (copied / "model.safetensors").unlink()
    with pytest.raises(DeviceError, match="device 'cuda' is not available"):
        load(str(copied), device="cuda")
    with pytest.raises(OptionError, match="unknown dtype 'int4'"):
        load(str(copied), dtype="int4")
    with pytest.raises(OptionError, match="threads is 0"):
        load(str(copied), threads=0)
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        load(str(copied))


def test_an_unknown_backend_names_the_known() -> None:
    with pytest.raises(HubError, match="unknown backend 'onnx' in 'onnx:tiny': known is native"):
        load("onnx:tiny")
