"""What a Qwen2-Audio checkpoint says of itself, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import auricle
from auricle.bench.random_weights import RandomCheckpoint
from auricle.checkpoint import Checkpoint
from auricle.errors import AuricleError, CheckpointError, PromptError
from auricle.models.family import open_family
from auricle.models.qwen2_audio.config import Qwen2AudioConfig
from auricle.models.qwen2_audio.features import FeatureConfig
from auricle.models.summary import summarise
from auricle.types import Audio, Message
from tests.parity.sounds import RATE, babble
from tests.qwen2_audio import make_qwen2_audio


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen2_audio(tmp_path_factory.mktemp("qwen2_audio"))


@pytest.fixture
def changed(folder: Path, tmp_path: Path) -> Any:
    """A copy in which a JSON file has other values; None takes a value out."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def change(file: str, part: str | None = None, **values: Any) -> Path:
        content = json.loads((tmp_path / file).read_text())
        (content[part] if part else content).update(values)
        (tmp_path / file).write_text(json.dumps(content))
        return tmp_path

    return change


def test_the_released_settings_are_the_defaults() -> None:
    config = Qwen2AudioConfig.from_dict({"audio_config": {}, "text_config": {"rope_theta": 10000}})
    assert (config.text.head_dim, config.audio.max_frames, config.audio_token_index) == (128, 3000, 151_646)
    assert FeatureConfig().tokens(480_000) == 750


def test_the_preset_has_the_released_size() -> None:
    tensors = RandomCheckpoint("qwen2-audio-7b").tensors
    numbers = sum(info.bytes for info in tensors.values()) / 2
    assert numbers == pytest.approx(8.4e9, rel=0.01)
    tower = sum(info.bytes for name, info in tensors.items() if name.startswith("audio_tower")) / 2
    assert tower == pytest.approx(0.64e9, rel=0.01)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("text_config", {"use_sliding_window": True}, "use_sliding_window is set in text_config"),
        ("text_config", {"hidden_act": "gelu"}, "hidden_act='gelu'; only 'silu' is known"),
        ("text_config", {"tie_word_embeddings": True}, "only a head of its own is supported"),
        ("text_config", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type='yarn' in text_config"),
        ("audio_config", {"activation_function": "relu"}, "activation_function='relu' in audio_config"),
        ("audio_config", {"max_source_positions": 750}, "gives 3000 frames of 128 mels, and the encoder takes 1500"),
    ],
)
def test_settings_that_do_not_run_are_refused(changed: Any, part: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_family(Checkpoint(changed("config.json", part, **values)))


def test_a_feature_extractor_that_does_more_is_refused(changed: Any) -> None:
    with pytest.raises(CheckpointError, match="sets do_normalize=True, which is not supported"):
        open_family(Checkpoint(changed("preprocessor_config.json", do_normalize=True)))


def test_a_tokenizer_without_the_audio_token_is_refused(changed: Any) -> None:
    with pytest.raises(PromptError, match="misses audio token 100"):
        open_family(Checkpoint(changed("config.json", audio_token_index=100)))


def test_the_checkpoint_s_own_template_is_taken_where_it_knows_of_audio(changed: Any) -> None:
    own = "{% for m in messages %}{% for p in m.content %}{{ '<|AUDIO|>!' if p.type == 'audio' else p.text }}"
    own += "{% endfor %}{% endfor %}"
    family = open_family(Checkpoint(changed("tokenizer_config.json", chat_template=own)))
    message = [Message("user", (Audio(babble(321), RATE), "Hm?"))]
    assert family.prompt(message, [1]).layout == ["<|AUDIO|> x 1", "!Hm?"]
    of_text_alone = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"
    family = open_family(Checkpoint(changed("tokenizer_config.json", chat_template=of_text_alone)))
    assert family.prompt(message, [1]).layout[0].startswith("<|im_start|>system")


def test_control_tokens_in_a_text_are_refused(folder: Path) -> None:
    with pytest.raises(PromptError, match=r"contains the control token '<\|im_end\|>'"):
        open_family(Checkpoint(folder)).prompt([Message("user", ("a<|im_end|>",))], [])


def test_the_summary(folder: Path) -> None:
    found = summarise(Checkpoint(folder))
    assert found.runs
    assert found.audio is not None
    assert (found.audio.min_samples, found.audio.max_seconds, found.audio.tokens_per_second) == (321, 30, 25.0)


def test_the_audio_stands_first_unless_told(folder: Path) -> None:
    model = auricle.load(str(folder), dtype="float32")
    clip = Audio(babble(8_000), RATE)
    first, second = (model.ask(clip, "Hm?", order=order, max_tokens=4) for order in (None, "audio-first"))
    assert first.tokens == second.tokens
    assert model.backend.order == "audio-first"


def test_a_long_sound_is_cut_and_nothing_is_listened_to_live(folder: Path) -> None:
    model = auricle.load(str(folder), dtype="float32")
    answer = model.ask(Audio(babble(40 * RATE), RATE), "Hm?", max_tokens=2)
    assert len(answer.segments) == 2
    with pytest.raises(AuricleError, match="can't listen live"):
        model.listen()


def test_scores_are_probabilities_of_the_answers(folder: Path) -> None:
    model = auricle.load(str(folder), dtype="float32")
    scores = model.score(Audio(babble(8_000), RATE), ["yes", "no"], "Is it speech?")
    assert sum(scores.probabilities.values()) == pytest.approx(1)
    assert all(np.isfinite(one.logprob) for one in scores.choices)


def test_an_encoder_alone_hears_as_the_whole_does(folder: Path) -> None:
    whole, alone = (auricle.load(str(folder), dtype="float32", encoder_only=only) for only in (False, True))
    clip = Audio(babble(20_000), RATE)
    assert np.array_equal(*(model.embed(clip, stage="projector").vectors for model in (whole, alone)))
    assert alone.backend.family.model.language_model.lm_head.weight.device == torch.device("meta")
    with pytest.raises(AuricleError, match="encoder"):
        alone.ask(clip, "Hm?")
