"""What a model may be built from, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from auricle.audiolm.model.config import AudioLMConfig
from auricle.audiolm.model.lm import AudioLM
from auricle.errors import CheckpointError, OptionError


def test_defaults_are_the_seeds_with_bos() -> None:
    config = AudioLMConfig()
    assert (config.d_model, config.nhead, config.num_layers, config.num_quantizers) == (1024, 16, 12, 4)
    assert config.prepend_bos
    assert config.codebook_size == 2048  # VALL-E's code had 1024, and its codec 2048
    assert config.frame_rate == 50.0  # one of VALL-E's scripts said 75
    assert not config.predict_end


def test_the_seeds_constructor_call() -> None:
    fields: dict[str, Any] = {"norm_first": True, "add_prenet": False, "num_quantizers": 4, "nar_scale_factor": 1.0}
    model = AudioLM(d_model=16, nhead=2, num_layers=1, prepend_bos=False, codebook_size=8, **fields)
    assert model.config == AudioLMConfig(16, 2, 1, codebook_size=8, prepend_bos=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("d_model", 0),
        ("d_model", 30),  # no multiple of 4 heads
        ("d_model", 12),  # heads of 3
        ("d_model", 32.0),
        ("nhead", 0),
        ("num_layers", 0),
        ("num_quantizers", 0),
        ("codebook_size", 1),
        ("nar_layers", 0),
        ("nar_scale_factor", 0.0),
        ("nar_scale_factor", float("nan")),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("frame_rate", 0.0),
        ("prepend_bos", 1),
        ("pattern", "parallel"),
        ("positions", "alibi"),
        ("codec", 3),
    ],
)
def test_a_field_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(OptionError, match=field):
        AudioLMConfig(**{"d_model": 32, "nhead": 4, "num_layers": 2, field: value})  # type: ignore[arg-type]


def test_a_nar_half_that_is_too_small_is_named() -> None:
    with pytest.raises(OptionError, match="nar_scale_factor"):
        AudioLMConfig(32, 4, 2, nar_scale_factor=0.1)
    with pytest.raises(OptionError, match="nar_scale_factor leaves 0 layers"):
        AudioLMConfig(32, 4, 1, nar_scale_factor=0.5)
    assert AudioLMConfig(32, 4, 1, nar_scale_factor=0.5, nar_layers=1).nar_depth == 1
    AudioLMConfig(32, 4, 1, nar_scale_factor=0.1, pattern="delay")  # which has none


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(OptionError, match="num_heads"):
        AudioLM(32, 4, 2, num_heads=3)


def test_json_there_and_back() -> None:
    config = AudioLMConfig(32, 4, 2, pattern="delay", codec="here/codec", nar_layers=3)
    assert config.json()["model_type"] == "auricle_audiolm"
    assert AudioLMConfig.from_json(config.json()) == config


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "gemma4"}, "gemma4"),
        ({"heads": 3}, "heads"),
        ({"nhead": 3}, "d_model"),
        ({"d_model": "wide"}, "d_model"),
    ],
)
def test_a_strange_json_is_a_checkpoint_error(change: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        AudioLMConfig.from_json({**AudioLMConfig(32, 4, 2).json(), **change})
