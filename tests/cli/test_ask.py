"""`auricle ask`: what goes to stdout, what to stderr, and what is in the JSON."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import auricle as library
from auricle.types import DEFAULT_QUESTION
from tests.cli.conftest import Run

QUESTION = "What does the speaker say?"


@pytest.fixture
def ask(auricle: Run, e2b: Path, sounds: Path) -> Run:
    """`auricle ask` on the tone with the random model, and at most 8 tokens."""
    return lambda *arguments, **rest: auricle(
        "ask", sounds / "tone.wav", *arguments, "--model", e2b, "--max-tokens", 8, **rest
    )


def test_the_answer_is_the_librarys_and_alone_on_stdout(ask: Run, e2b: Path, sounds: Path) -> None:
    expected = library.load(str(e2b)).ask(str(sounds / "tone.wav"), QUESTION, max_tokens=8)
    done = ask(QUESTION)
    assert (done.status, done.out) == (0, expected.text + "\n")
    assert done.err == "".join(f"note: {note}\n" for note in expected.notes)


def test_without_a_question_the_default_is_asked(ask: Run) -> None:
    assert ask().out == ask(DEFAULT_QUESTION).out != ask(QUESTION).out


def test_stdin_is_a_sound(ask: Run, auricle: Run, e2b: Path, sounds: Path) -> None:
    from_pipe = auricle(
        "ask", "-", QUESTION, "--model", e2b, "--max-tokens", 8, "--json", stdin=(sounds / "tone.wav").read_bytes()
    )
    assert from_pipe.json["answer"] == ask(QUESTION, "--json").json["answer"]
    assert from_pipe.json["segments"][0]["source"] == "stdin"


def test_json(ask: Run, e2b: Path, sounds: Path) -> None:
    done = ask(QUESTION, "--json")
    assert (done.status, done.err) == (0, "")
    record = done.json
    assert set(record) == {
        *("model", "answer", "finish_reason", "notes", "tokens", "prompt_tokens", "reused_tokens", "segments"),
        "timings",
    }
    assert record["model"] == str(e2b)
    assert record["answer"] == ask(QUESTION).out.removesuffix("\n")
    assert record["finish_reason"] in ("stop", "length")
    assert record["segments"] == [{"source": str(sounds / "tone.wav"), "start_s": 0.0, "end_s": 1.0, "tokens": 25}]
    assert record["prompt_tokens"] > 25
    assert 0 < len(record["tokens"]) <= 8
    names = [
        "load_s",
        "queued_s",
        "mel_s",
        "encoder_s",
        "prefill_s",
        "ttft_s",
        "decode_s",
        "decode_tokens_per_s",
        "total_s",
    ]
    assert list(record["timings"]) == names
    assert record["timings"]["total_s"] >= record["timings"]["ttft_s"] > 0


def test_several_sounds_keep_their_order(auricle: Run, e2b: Path, sounds: Path) -> None:
    done = auricle(
        "ask", sounds / "noise.wav", sounds / "tone.wav", "Which?", "--model", e2b, "--max-tokens", 1, "--json"
    )
    assert [Path(segment["source"]).name for segment in done.json["segments"]] == ["noise.wav", "tone.wav"]


def test_long_sound_is_cut_and_a_note_says_so(auricle: Run, e2b: Path, sounds: Path) -> None:
    command = ["ask", sounds / "long.wav", QUESTION, "--model", e2b, "--max-tokens", 2]
    done = auricle(*command)
    assert "long.wav is 36.0 s long and was cut at pauses into 2 clips of at most 30 s" in done.err
    record = auricle(*command, "--json").json
    assert any("cut at pauses" in note for note in record["notes"])
    first, second = record["segments"]
    assert first["start_s"] == 0
    assert 20 < first["end_s"] == second["start_s"] < 21
    assert second["end_s"] == 36


def test_an_answer_that_was_cut_is_noted(ask: Run) -> None:
    done = ask("--max-tokens", "3")  # the later option counts: 8
    assert "the answer was cut after 8 tokens (max_tokens)" in done.err


def test_order(ask: Run) -> None:
    layouts = {
        order: ask(QUESTION, "--order", order, "--trace", "--json").json["trace"]["layout"]
        for order in ("text-first", "audio-first")
    }
    assert QUESTION in layouts["text-first"][0]
    assert QUESTION in layouts["audio-first"][-1]


def test_sampling_flags_reach_the_sampler(ask: Run) -> None:
    greedy = ask("--json").json["tokens"]
    warm = ["--temperature", "5", "--json"]
    assert ask(*warm, "--seed", "1").json["tokens"] == ask(*warm, "--seed", "1").json["tokens"] != greedy
    assert ask(*warm, "--seed", "1").json["tokens"] != ask(*warm, "--seed", "2").json["tokens"]
    for narrow in (["--top-k", "1"], ["--top-p", "0.0001"], ["--min-p", "0.9999"]):
        assert ask(*warm, *narrow).json["tokens"] == greedy
    assert ask("--repetition-penalty", "50", "--json").json["tokens"] != greedy


def test_stop_may_be_repeated(ask: Run) -> None:
    text = ask("--json").json["answer"]
    done = ask("--json", "--stop", "not in it", "--stop", text[2])
    assert done.json["answer"] == text[: text.index(text[2])].strip()
    assert done.json["finish_reason"] == "stop"


class TestConstraint:
    def test_choices(self, ask: Run) -> None:
        assert ask(QUESTION, "--choices", "yes, no").out in ("yes\n", "no\n")
        assert ask("--choices", r"a\, b", "--json").json["answer"] == "a, b"

    def test_regex(self, ask: Run) -> None:
        record = ask("--regex", "[0-9]{2}", "--json").json
        assert re.fullmatch("[0-9]{2}", record["answer"])
        assert (record["finish_reason"], record["notes"]) == ("stop", [])

    def test_json_schema_as_it_is_or_in_a_file(self, ask: Run, tmp_path: Path) -> None:
        schema = '{"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2}'
        (tmp_path / "pair.json").write_text(schema)
        for given in (schema, f"@{tmp_path / 'pair.json'}"):
            assert re.fullmatch(r"\[[12], [12]\]\n", ask("--json-schema", given).out)

    def test_an_answer_that_was_cut_says_that_it_does_not_fit(self, ask: Run) -> None:
        done = ask("--choices", "a choice that takes many tokens")
        assert "note: the answer was cut after 8 tokens (max_tokens); it does not fulfil the constraint" in done.err


def test_timings_are_shown_on_a_terminal_or_when_asked_for(ask: Run) -> None:
    assert "first token after" not in ask().err
    line = ask("--timings").err.splitlines()[-1]
    for stage in ("loading", "mel", "encoder", "prefill", "first token after", "decode", "tokens/s", "total"):
        assert stage in line
    assert "first token after" not in ask("--no-timings").err


class TestZeroAudio:
    def test_both_answers_are_printed(self, ask: Run) -> None:
        heard = ask(QUESTION).out
        done = ask(QUESTION, "--zero-audio")
        assert done.out.startswith(f"with the sound:\n{heard}\nwith zeroed audio:\n")
        assert "does not change" not in done.err

    def test_json_has_both(self, ask: Run) -> None:
        record = ask(QUESTION, "--zero-audio", "--json").json
        assert record["answer"] == ask(QUESTION, "--json").json["answer"]
        assert record["zero_audio"]["answer"] != record["answer"]
        assert record["zero_audio"]["answer_changed"] is True

    def test_an_answer_that_owes_nothing_to_the_sound_is_told(self, auricle: Run, copied: Path, sounds: Path) -> None:
        weights = load_file(copied / "model.safetensors")
        projection = "model.embed_audio.embedding_projection.weight"
        weights[projection] = torch.zeros_like(weights[projection])
        save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
        command = ["ask", sounds / "tone.wav", "--model", copied, "--max-tokens", 3, "--zero-audio"]
        done = auricle(*command)
        assert done.status == 0
        assert "the answer does not change when the audio is zeroed: it does not depend on the sound" in done.err
        assert auricle(*command, "--json").json["zero_audio"]["answer_changed"] is False


class TestTrace:
    def test_tables_go_to_stderr(self, ask: Run) -> None:
        done = ask(QUESTION, "--trace")
        assert done.out == ask(QUESTION).out
        for title in ("prompt layout", "prompt token ids", "features", "activations", "sampled tokens"):
            assert f"# {title}\n" in done.err
        assert "<|audio|> x 25" in done.err
        assert "clip 1 mel" in done.err
        assert "audio_tower.layers.0" in done.err
        assert "language_model.layers.0" in done.err
        assert "\x1b" not in done.err  # no terminal: plain columns

    def test_json(self, ask: Run) -> None:
        done = ask("--trace", "--json")
        assert done.err == ""
        record, trace = done.json, done.json["trace"]
        assert len(trace["prompt_ids"]) == record["prompt_tokens"]
        assert [token["id"] for token in trace["sampled"]] == record["tokens"]
        assert set(trace["sampled"][0]) == {"id", "text", "logit", "logprob"}
        assert {"name", "shape", "min", "max", "mean", "std"} == set(trace["activations"][0])
        assert set(trace["features"][0]) == set(trace["activations"][0])
