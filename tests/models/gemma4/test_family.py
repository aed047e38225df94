"""A Gemma 4 checkpoint as the engine meets it: prompt, limits, stop tokens, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

import auricle
from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError, PromptError, UnsupportedError
from auricle.models.family import open_family
from auricle.models.gemma4.family import Gemma4Family
from auricle.types import Audio, Message
from tests.checkpoints import IDS, make_checkpoint


def family(folder: Path) -> Gemma4Family:
    opened = open_family(Checkpoint(folder))
    assert isinstance(opened, Gemma4Family)
    return opened


def configure(folder: Path, **settings: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def clip(samples: int = 16_000) -> Audio:
    return Audio(np.zeros(samples, dtype=np.float32), 16_000)


def test_an_unknown_model_type_names_the_known(copied: Path) -> None:
    configure(copied, model_type="llama")
    with pytest.raises(CheckpointError, match=r"is a 'llama' model; model types that run here are .*gemma4"):
        family(copied)


def test_a_model_without_an_audio_tower(tmp_path: Path) -> None:
    opened = family(make_checkpoint(tmp_path, audio=False))
    assert not opened.hears
    assert opened.ear() is None
    assert list(opened.stages) == ["llm"]
    with pytest.raises(UnsupportedError, match=r"has no audio tower .*it can't hear; use an E2B or E4B"):
        opened.check_clip(16_000)


def test_a_model_without_an_audio_tower_answers_text(tmp_path: Path) -> None:
    model = auricle.load(str(make_checkpoint(tmp_path, audio=False)), dtype="float32")
    (*_, last) = model.chat([Message("user", ("What is it?",))], max_tokens=4)
    assert last.answer is not None
    assert len(last.answer.tokens) == 4
    assert last.answer.segments == ()


def test_limits(e2b: Path) -> None:
    opened = family(e2b)
    assert (opened.rate, opened.max_clip_seconds, opened.context) == (16_000, 30.0, 4096)
    assert [opened.audio_tokens(n) for n in (160, 161, 16_000, 480_000)] == [0, 1, 25, 750]


def test_weights_are_not_read_before_they_are_asked_for(e2b: Path) -> None:
    opened = family(e2b)
    assert {p.device.type for p in opened.model.parameters()} == {"meta"}
    assert opened.parameters() == sum(p.numel() for p in opened.model.parameters()) > 100_000


# --- the prompt


def test_the_layout(e2b: Path) -> None:
    """Audio within the user's turn, framed, after the text when it was given so; the turn of the model is open."""
    prompt = family(e2b).prompt([Message("user", ("Who?", clip(), clip(161)))], [25, 1])
    assert prompt.layout == [
        "<bos><|turn>user\nWho?<|audio>",
        "<|audio|> x 25",
        "<audio|><|audio>",
        "<|audio|> x 1",
        "<audio|><turn|>\n<|turn>model\n",
    ]
    assert prompt.ids.count(IDS["<|audio|>"]) == 26
    assert prompt.ids[0] == IDS["<bos>"]
    assert prompt.ids.count(IDS["<bos>"]) == 1


def test_parts_keep_their_order(e2b: Path) -> None:
    layout = family(e2b).prompt([Message("user", (clip(), "Who?"))], [25]).layout
    assert layout == ["<bos><|turn>user\n<|audio>", "<|audio|> x 25", "<audio|>Who?<turn|>\n<|turn>model\n"]


def test_white_space_around_a_text_is_left_out(e2b: Path) -> None:
    """As the released templates do."""
    layout = family(e2b).prompt([Message("user", ("  Who\n is it?\n ", clip()))], [25]).layout
    assert layout[0] == "<bos><|turn>user\nWho\n is it?<|audio>"


def test_several_turns(e2b: Path) -> None:
    messages = [Message("user", ("a", clip())), Message("assistant", ("b",)), Message("user", ("c",))]
    layout = family(e2b).prompt(messages, [25]).layout
    assert layout[-1] == "<audio|><turn|>\n<|turn>model\nb<turn|>\n<|turn>user\nc<turn|>\n<|turn>model\n"


@pytest.mark.parametrize("token", ["<|audio|>", "<turn|>", "<|turn>"])
@pytest.mark.parametrize("role", ["user", "system", "assistant"])
def test_control_tokens_in_a_text_are_refused(e2b: Path, token: str, role: Any) -> None:
    with pytest.raises(PromptError, match="the text contains the control token"):
        family(e2b).prompt([Message(role, (f"ignore {token} this", clip()))], [25])


@pytest.mark.parametrize(
    ("template", "places"),
    [("no audio at all", 0), ("{% for m in messages %}<|audio|><|audio|>{% endfor %}", 2)],
)
def test_a_template_that_drops_or_doubles_audio_is_refused(copied: Path, template: str, places: int) -> None:
    """Elsewhere that was an answer to sound that nobody had heard."""
    (copied / "chat_template.jinja").write_text(template)
    with pytest.raises(PromptError, match=f"made {places} places for audio out of 1 clips"):
        family(copied).prompt([Message("user", ("hm?", clip()))], [25])


# --- the tokenizer


@pytest.mark.parametrize("missing", ["<|audio|>", "<|audio>", "<audio|>"])
def test_a_tokenizer_without_an_audio_token(copied: Path, missing: str) -> None:
    path = copied / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != missing]
    del content["model"]["vocab"][missing]
    path.write_text(json.dumps(content))
    assert Tokenizer.from_file(str(path)).token_to_id(missing) is None
    with pytest.raises(PromptError, match=rf"misses audio token {IDS[missing]} that config\.json names"):
        family(copied)


def test_a_tokenizer_of_another_model(copied: Path) -> None:
    """At the id of the audio token it has a plain piece of text."""
    content = json.loads((copied / "tokenizer.json").read_text())
    text = next(id for id in content["model"]["vocab"].values() if id not in IDS.values())
    configure(copied, audio_token_id=text)
    with pytest.raises(PromptError, match=rf"misses audio token {text} that config\.json names"):
        family(copied)


# --- when an answer ends


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ({"eos_token_id": 1}, {1, 301}),
        ({"eos_token_id": [1, 50]}, {1, 50, 301}),
        ({}, {1, 301}),  # config.json's own
        (None, {1, 301}),
    ],
)
def test_stop_tokens(copied: Path, generation: dict[str, Any] | None, expected: set[int]) -> None:
    path = copied / "generation_config.json"
    if generation is None:
        path.unlink()
    else:
        path.write_text(json.dumps(generation))
    assert family(copied).stop_ids == expected


def test_stop_tokens_of_the_config(copied: Path) -> None:
    (copied / "generation_config.json").unlink()
    text = json.loads((copied / "config.json").read_text())["text_config"]
    configure(copied, text_config=text | {"eos_token_id": [7, 8]})
    assert family(copied).stop_ids == {7, 8, IDS["<turn|>"]}


def test_thinking_is_hidden_where_the_tokenizer_has_tokens_for_it(e2b: Path) -> None:
    assert family(e2b).hidden_span == (IDS["<|channel>"], IDS["<channel|>"])


# --- the feature extractor's settings


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("preprocessor_config.json", {"mel_floor": 0.5}),
        ("processor_config.json", {"feature_extractor": {"mel_floor": 0.5}}),
    ],
)
def test_settings_of_the_feature_extractor(copied: Path, file: str, content: dict[str, Any]) -> None:
    assert family(copied).feature_config.mel_floor == 0.001  # converted checkpoints often have neither
    (copied / file).write_text(json.dumps(content))
    opened = family(copied)
    assert opened.feature_config.mel_floor == 0.5
    assert np.allclose(opened.features(np.zeros(1000, dtype=np.float32)), np.log(0.5))


def test_silence_is_heard(e2b: Path) -> None:
    """Zeros are a sound like any other: tokens, not nothing."""
    opened = family(e2b)
    opened.load(torch.device("cpu"), torch.float32)
    tokens = opened.encode(opened.features(np.zeros(16_000, dtype=np.float32)))
    assert tokens.shape == (25, 64)
    assert tokens.isfinite().all()
    assert tokens.abs().max() > 0.1
