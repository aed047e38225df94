"""What bad input gets: one line that says what and what to do, exit status 2, no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.models.family import FAMILIES
from tests.checkpoints import IDS, make_checkpoint
from tests.cli.conftest import Run
from tests.sound.making import RATE, silent_video, tone, wav, written

Refused = Callable[..., str]


def float_wav(samples: np.ndarray) -> bytes:
    return written(samples.astype(np.float32), RATE, "WAV", "FLOAT")


def with_one(value: float) -> np.ndarray:
    samples = tone()
    samples[500] = value
    return samples


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"", "is empty (0 bytes); give a file with sound in it", id="empty"),
        pytest.param(b"Dear diary, " * 100, "is no sound that can be decoded; give wav, mp3", id="text"),
        pytest.param(bytes(range(256)) * 16, "is no sound that can be decoded; give wav, mp3", id="bytes"),
        pytest.param(silent_video(), "has no audio track (it holds mpeg4 video)", id="video without sound"),
        pytest.param(wav(b""), "holds 0 samples", id="0 samples"),
        pytest.param(wav(bytes(2 * 160)), "has 160 samples at 16000 Hz; the model needs at least 161", id="short"),
        pytest.param(float_wav(with_one(np.nan)), "has 1 of 16,000 samples that are NaN or infinite", id="NaN"),
        pytest.param(float_wav(with_one(np.inf)), "has 1 of 16,000 samples that are NaN or infinite", id="infinite"),
        pytest.param(wav(bytes(100), data_size=32000), "is cut off", id="cut off"),
    ],
)
@pytest.mark.parametrize("command", ["ask", "transcribe", "chat"])
def test_sounds_that_cannot_be_heard(
    refused: Refused, e2b: Path, tmp_path: Path, command: str, content: bytes, told: str
) -> None:
    clip = tmp_path / "clip.wav"
    clip.write_bytes(content)
    assert told in refused(command, clip, "--model", e2b, stdin=b"What is said?\n")


@pytest.mark.parametrize("command", ["ask", "transcribe", "chat"])
def test_no_such_file_and_a_directory(refused: Refused, tmp_path: Path, command: str) -> None:
    """Told at once: the model is not even looked for."""
    missing = tmp_path / "missing.wav"
    assert refused(command, missing, "--model", "nowhere") == f"there is no file {missing}; check the path"
    assert f"{tmp_path} is a directory" in refused(command, tmp_path, "--model", "nowhere")


def test_a_missing_second_sound_is_not_taken_for_a_question(refused: Refused, sounds: Path) -> None:
    assert "there is no file clip2.mp3" in refused("ask", sounds / "tone.wav", "clip2.mp3")
    assert "there is no file missing.wav" in refused("ask", "missing.wav", "What?")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--max-seconds", "0.5"], "is 1.00 s long; the limit is 0.5 s"),
        (["--max-bytes", "1000"], "the limit is 1,000 bytes"),
    ],
)
def test_more_than_the_limit(refused: Refused, sounds: Path, option: list[str], told: str) -> None:
    assert told in refused("ask", sounds / "tone.wav", *option)


def test_silence_is_valid(auricle: Run, e2b: Path, tmp_path: Path) -> None:
    (tmp_path / "silence.wav").write_bytes(wav(bytes(2 * RATE)))
    assert auricle("ask", tmp_path / "silence.wav", "--model", e2b, "--max-tokens", 3).status == 0


class TestStdin:
    def test_twice(self, refused: Refused) -> None:
        assert refused("ask", "-", "-", "What?") == "- is given 2 times, but stdin can be read only once"

    def test_empty(self, refused: Refused) -> None:
        assert "stdin is empty (0 bytes)" in refused("ask", "-")

    def test_no_sound(self, refused: Refused) -> None:
        assert "stdin is no sound that can be decoded" in refused("ask", "-", stdin=b"Dear diary")

    def test_of_a_chat(self, refused: Refused) -> None:
        assert "chat reads your questions from stdin" in refused("chat", "-")


class TestModels:
    @pytest.fixture
    def told(self, refused: Refused, sounds: Path) -> Callable[[object], str]:
        return lambda model: refused("ask", sounds / "tone.wav", "What is said?", "--model", model)

    def test_without_audio_tower(self, told: Callable[[object], str], tmp_path: Path) -> None:
        message = told(make_checkpoint(tmp_path / "deaf", audio=False))
        assert "has no audio tower" in message
        assert "use an E2B or E4B checkpoint" in message

    def test_a_folder_that_is_no_checkpoint(self, told: Callable[[object], str], tmp_path: Path) -> None:
        assert told(tmp_path) == f"{tmp_path} is no checkpoint folder: it has no config.json"

    def test_a_file(self, told: Callable[[object], str], e2b: Path) -> None:
        assert "is no checkpoint folder: it is a file" in told(e2b / "config.json")

    def test_truncated_weights(self, told: Callable[[object], str], copied: Path) -> None:
        weights = copied / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        message = told(copied)
        assert "model.safetensors is damaged: its header promises" in message
        assert "fetch it again" in message

    @pytest.mark.parametrize("damage", [b"", b"\xff" * 8, b"<html>not found</html>"])
    def test_damaged_weights(self, told: Callable[[object], str], copied: Path, damage: bytes) -> None:
        (copied / "model.safetensors").write_bytes(damage)
        assert "model.safetensors" in told(copied)

    def test_a_damaged_header(self, told: Callable[[object], str], copied: Path) -> None:
        weights = copied / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[8:40] = b"x" * 32
        weights.write_bytes(content)
        assert "has a damaged safetensors header" in told(copied)

    def test_no_weights(self, told: Callable[[object], str], copied: Path) -> None:
        (copied / "model.safetensors").unlink()
        assert "has no model.safetensors" in told(copied)

    @pytest.mark.parametrize("config", ["{", "[]", "{}", '{"model_type": 7}'])
    def test_a_config_that_is_none(self, told: Callable[[object], str], copied: Path, config: str) -> None:
        (copied / "config.json").write_text(config)
        assert str(copied) in told(copied)

    def test_an_unknown_model_type_names_the_known(self, told: Callable[[object], str], copied: Path) -> None:
        edit(copied / "config.json", model_type="whisper")
        message = told(copied)
        assert "'whisper'" in message
        assert all(known in message for known in FAMILIES)

    def test_a_hub_name_without_network(self, told: Callable[[object], str]) -> None:
        message = told("nobody/has-this-model")
        assert "nobody/has-this-model is not in the cache and the hub can't be reached" in message
        assert "--model tiny" in message

    @pytest.mark.parametrize("name", ["nowhere", "a/b/c", "x/..y", "@main", "other:tiny", ""])
    def test_names_that_are_none(self, told: Callable[[object], str], name: str) -> None:
        assert told(name)

    def test_a_tokenizer_that_misses_the_audio_tokens(self, told: Callable[[object], str], copied: Path) -> None:
        path = copied / "tokenizer.json"
        tokenizer = json.loads(path.read_text())
        audio = IDS["<|audio|>"]
        tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["id"] != audio]
        tokenizer["model"]["vocab"] = {k: v for k, v in tokenizer["model"]["vocab"].items() if v != audio}
        path.write_text(json.dumps(tokenizer))
        assert f"misses audio token {audio}" in told(copied)

    @pytest.mark.parametrize("content", [None, "{", '{"model": 3}'])
    def test_no_tokenizer(self, told: Callable[[object], str], copied: Path, content: str | None) -> None:
        (copied / "tokenizer.json").unlink()
        if content is not None:
            (copied / "tokenizer.json").write_text(content)
        assert "tokenizer.json" in told(copied)

    def test_a_prompt_longer_than_the_context(self, told: Callable[[object], str], copied: Path) -> None:
        settings = json.loads((copied / "config.json").read_text())
        settings["text_config"]["max_position_embeddings"] = 40
        (copied / "config.json").write_text(json.dumps(settings))
        message = told(copied)
        assert "the model's context holds 40" in message
        assert "use less sound" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_cuda_where_there_is_none(refused: Refused, sounds: Path, e2b: Path) -> None:
    message = refused("ask", sounds / "tone.wav", "--model", e2b, "--device", "cuda")
    assert "'cuda' is not available" in message
    assert "--device cpu" in message


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--temperature", "-1"], "temperature is -1.0; it must be a number from 0 up"),
        (["--temperature", "nan"], "temperature is nan; it must be a number from 0 up"),
        (["--top-k", "-2"], "top_k is -2"),
        (["--top-p", "0"], "top_p is 0.0"),
        (["--min-p", "1"], "min_p is 1.0"),
        (["--repetition-penalty", "0"], "repetition_penalty is 0.0"),
        (["--seed", "-1"], "seed is -1"),
        (["--max-tokens", "0"], "max_tokens is 0; it must be at least 1"),
        (["--max-tokens", "many"], "Invalid value for '--max-tokens'"),
        (["--stop", ""], "stop must be"),
        (["--order", "sideways"], "'sideways' is not one of 'text-first', 'audio-first'; see auricle ask --help"),
        (["--max-seconds", "0"], "max_seconds is 0.0"),
        (["--max-bytes", "0"], "max_bytes is 0"),
        (["--threads", "0"], "threads is 0; it must be from 1 to 1024"),
        (["--device", "abacus"], "unknown device 'abacus': known are"),
        (["--dtype", "int3"], "unknown dtype 'int3': known are"),
        (["--modle", "x"], "No such option: --modle (Possible options: --model"),
        (["--model"], "Option '--model' requires an argument"),
    ],
)
def test_options(refused: Refused, sounds: Path, e2b: Path, option: list[str], told: str) -> None:
    model = [] if "--model" in option else ["--model", e2b]
    assert told in refused("ask", sounds / "tone.wav", *model, *option)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["aks", "clip.wav"], "No such command 'aks'. Did you mean 'ask'? see auricle --help"),
        (["ask"], "Missing argument 'AUDIO... [QUESTION]'; see auricle ask --help"),
        (["transcribe"], "Missing argument 'AUDIO...'; see auricle transcribe --help"),
        (["chat"], "Missing argument 'AUDIO...'; see auricle chat --help"),
        (["inspect"], "Missing argument 'MODEL'; see auricle inspect --help"),
        (["models", "pul"], "No such command 'pul'. Did you mean 'pull'? see auricle models --help"),
        (["models", "pull"], "Missing argument 'MODEL'; see auricle models pull --help"),
        (["verify", "tiny"], "Missing option '--audio'; see auricle verify --help"),
        (["--versoin"], "No such option: --versoin"),
    ],
)
def test_usage(refused: Refused, arguments: list[str], told: str) -> None:
    assert told in refused(*arguments)


class TestConstraints:
    """Told before a model is looked for, or, what only its tokenizer tells, before a sound is heard."""

    @pytest.mark.parametrize("command", ["ask", "chat"])
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--choices", "yes,no", "--regex", "yes"], "choices and regex are given; an answer is held to one"),
            (["--choices", ""], "a choice is ''; it must be a string that is not blank"),
            (["--choices", "yes, ,no"], "a choice is ''; it must be a string that is not blank"),
            (["--choices", "yes, no,yes"], "choices has 'yes' 2 times: give each choice once"),
            (["--regex", ""], "regex is ''; it must be a string that is not blank"),
            (["--json-schema", "{"], "json_schema is no JSON (Expecting property name"),
            (["--json-schema", "[]"], "json_schema is '[]'; it must be a JSON object"),
        ],
        ids=" ".join,
    )
    def test_at_once(self, refused: Refused, sounds: Path, command: str, options: list[str], told: str) -> None:
        assert told in refused(command, sounds / "tone.wav", *options, "--model", "nowhere")

    def test_files(self, refused: Refused, sounds: Path, tmp_path: Path) -> None:
        def told(path: Path) -> str:
            return refused("ask", sounds / "tone.wav", "--json-schema", f"@{path}", "--model", "nowhere")

        missing, binary, broken = tmp_path / "missing.json", tmp_path / "binary.json", tmp_path / "broken.json"
        binary.write_bytes(b"\xff\xfe")
        broken.write_text('{"type": \n')
        assert told(missing) == f"there is no file {missing} for json_schema; check the path"
        assert told(tmp_path) == f"{tmp_path} can't be read for json_schema: Is a directory; give a file with one"
        assert told(binary) == f"{binary} is no UTF-8 text, which json_schema needs; give a file with a schema"
        assert "json_schema is no JSON (Expecting value: line 2" in told(broken)

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--regex", "[a-"], "regex can't be held to (unclosed character class): write it without look-around"),
            (["--regex", r"[^\s\S]"], "the regex matches no text that the model could write: change it"),
            (["--json-schema", '{"enum": []}'], "json_schema can't be held to (Unsatisfiable schema: anyOf is empty)"),
        ],
        ids=" ".join,
    )
    def test_grammars(self, refused: Refused, sounds: Path, e2b: Path, options: list[str], told: str) -> None:
        assert told in refused("ask", sounds / "tone.wav", "--model", e2b, *options)

    def test_transcribing_has_none(self, refused: Refused, sounds: Path) -> None:
        assert "No such option: --choices" in refused("transcribe", sounds / "tone.wav", "--choices", "yes,no")


def test_an_empty_question(refused: Refused, sounds: Path) -> None:
    assert refused("ask", sounds / "tone.wav", " ") == "the question is empty: say what to ask about the sound"


def test_a_control_token_in_the_question(refused: Refused, sounds: Path, e2b: Path) -> None:
    message = refused("ask", sounds / "tone.wav", "What is <|audio|>?", "--model", e2b)
    assert "control token '<|audio|>'" in message


def test_a_file_name_cannot_break_the_line(refused: Refused) -> None:
    assert "\x1b" not in refused("ask", "two\nlines\x1b[31m.wav")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
