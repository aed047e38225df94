"""config.json, as transformers writes it and as released checkpoints have it."""

from __future__ import annotations

from typing import Any

import pytest

from auricle.errors import CheckpointError
from auricle.models.gemma4.config import FULL, SLIDING, AudioConfig, Gemma4Config, TextConfig


def text(**settings: Any) -> TextConfig:
    return Gemma4Config.from_dict({"text_config": settings}).text


def test_the_defaults_are_the_references() -> None:
    """Of what an audio checkpoint's config may leave out."""
    transformers = pytest.importorskip("transformers")
    ours, theirs = AudioConfig(), transformers.Gemma4AudioConfig()
    for name in AudioConfig.__dataclass_fields__:
        expected = getattr(theirs, name)
        assert getattr(ours, name) == (tuple(expected) if isinstance(expected, list) else expected), name
    whole, reference = Gemma4Config.from_dict({}), transformers.Gemma4Config()
    assert whole.audio_token_id == reference.audio_token_id
    assert whole.boa_token_id == reference.boa_token_id
    assert whole.eoa_token_id == reference.eoa_token_index


def test_what_transformers_writes_is_read_back() -> None:
    transformers = pytest.importorskip("transformers")
    settings: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 12,
        "num_kv_shared_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "global_head_dim": 48,
        "sliding_window": 33,
        "final_logit_softcapping": 30.0,
    }
    theirs = transformers.Gemma4Config(text_config=settings, audio_config={"num_hidden_layers": 3})
    ours = Gemma4Config.from_dict(theirs.to_dict())
    assert {name: getattr(ours.text, name) for name in settings} == settings
    assert list(ours.text.layer_types) == theirs.text_config.layer_types == ([SLIDING] * 5 + [FULL]) * 2
    assert ours.audio is not None
    assert ours.audio.num_hidden_layers == 3
    assert (ours.text.rope_sliding.rope_theta, ours.text.rope_full.rope_theta) == (10_000.0, 1_000_000.0)
    assert ours.text.rope_full.partial_rotary_factor == 0.25


def test_the_head_size_of_full_layers_stands_in_one_of_two_places() -> None:
    types = [SLIDING, FULL]
    assert text(num_hidden_layers=2, layer_types=types, global_head_dim=96).global_head_dim == 96
    by_layer = {"1": {"head_dim": 80}, "0": {"head_dim": 16}}
    assert text(num_hidden_layers=2, layer_types=types, per_layer_config=by_layer).global_head_dim == 80
    assert text(num_hidden_layers=2, layer_types=types).global_head_dim == 512


def test_rope_settings_are_read() -> None:
    rope = {
        SLIDING: {"rope_theta": 5.0, "rope_type": "default"},
        FULL: {"rope_theta": 7.0, "rope_type": "proportional", "partial_rotary_factor": 0.5},
    }
    config = text(rope_parameters=rope)
    assert (config.rope_sliding.rope_theta, config.rope_full.rope_theta) == (5.0, 7.0)
    assert config.rope_full.partial_rotary_factor == 0.5


def test_who_shares_with_whom() -> None:
    config = text(
        num_hidden_layers=8,
        num_kv_shared_layers=3,
        layer_types=[SLIDING, SLIDING, FULL, SLIDING, FULL, SLIDING, SLIDING, FULL],
        use_double_wide_mlp=True,
        intermediate_size=10,
    )
    assert config.first_shared_layer == 5
    assert [config.kv_layer(i) for i in range(8)] == [0, 1, 2, 3, 4, 3, 3, 4]
    assert [config.layer_intermediate_size(i) for i in range(8)] == [10] * 5 + [20] * 3


def test_no_audio_tower() -> None:
    assert Gemma4Config.from_dict({"text_config": {}, "audio_config": None}).audio is None
    assert Gemma4Config.from_dict({"text_config": {}}).audio is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"text_config": {"enable_moe_block": True}}, "enable_moe_block=True: this member .* is not supported"),
        ({"text_config": {"attention_k_eq_v": True}}, "attention_k_eq_v=True"),
        ({"text_config": {"attention_bias": True}}, "attention_bias=True"),
        ({"text_config": {"use_bidirectional_attention": "all"}}, "use_bidirectional_attention='all'"),
        ({"text_config": {"hidden_activation": "silu"}}, "hidden_activation='silu'; only 'gelu_pytorch_tanh'"),
        ({"text_config": {"num_hidden_layers": 3, "layer_types": [FULL]}}, "layer_types has 1 entries for 3 layers"),
        ({"text_config": {"num_hidden_layers": 2, "layer_types": ["ring", FULL]}}, "unknown layer types in .*ring"),
        (
            {"text_config": {"num_hidden_layers": 2, "layer_types": [SLIDING, FULL], "num_kv_shared_layers": 1}},
            "layers 1 and up share keys and values of a kind that no earlier layer owns",
        ),
        ({"text_config": {"rope_parameters": {FULL: {"rope_theta": 1.0, "rope_type": "yarn"}}}}, "rope_type='yarn'"),
        ({"audio_config": {"hidden_act": "gelu"}}, "hidden_act='gelu' in audio_config; only 'silu'"),
        ({"audio_config": {"attention_context_right": 4}}, "attention_context_right=4; only a causal encoder"),
        ({"audio_config": {"num_attention_heads": 7}}, "hidden_size 1024 is not a multiple of num_attention_heads 7"),
    ],
)
def test_what_is_not_supported_is_said_before_anything_is_loaded(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: .*{said}"):
        Gemma4Config.from_dict(settings)


def test_bidirectional_blocks_of_images_change_nothing_for_sound() -> None:
    assert text(use_bidirectional_attention="vision").num_hidden_layers == 35
