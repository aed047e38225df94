"""Gemma 4 models of random weights, as their config.json has them: speed doesn't depend on what the weights are."""

from __future__ import annotations

from typing import Any

PATTERN = [*["sliding_attention"] * 4, "full_attention"]

E2B: dict[str, Any] = {
    "vocab_size": 262_144,
    "vocab_size_per_layer_input": 262_144,
    "hidden_size": 1536,
    "hidden_size_per_layer_input": 256,
    "intermediate_size": 6144,
    "use_double_wide_mlp": True,
    "num_hidden_layers": 35,
    "num_kv_shared_layers": 20,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "global_head_dim": 512,
    "layer_types": PATTERN * 7,
    "sliding_window": 512,
    "final_logit_softcapping": 30.0,
    "max_position_embeddings": 131_072,
}
# The same shape of model, small enough to try a measurement in seconds. Its figures mean nothing.
SMALL: dict[str, Any] = {
    **E2B,
    "vocab_size": 512,
    "vocab_size_per_layer_input": 512,
    "hidden_size": 64,
    "hidden_size_per_layer_input": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 15,
    "num_kv_shared_layers": 5,
    "head_dim": 16,
    "global_head_dim": 32,
    "layer_types": PATTERN * 3,
}
PRESETS: dict[str, dict[str, Any]] = {
    "gemma-4-e2b": {
        "text_config": E2B,
        "audio_config": {},
        "boa_token_id": 256_000,
        "audio_token_id": 258_881,
        "eoa_token_index": 258_883,
    },
    "small": {
        "text_config": SMALL,
        "audio_config": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "output_proj_dims": 64},
        "boa_token_id": 500,
        "audio_token_id": 501,
        "eoa_token_index": 502,
    },
}


def config(preset: str) -> dict[str, Any]:
    """The config.json of a preset."""
    sizes = PRESETS[preset]
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "vision_config": None,
        **sizes,
        "text_config": {"model_type": "gemma4_text", "tie_word_embeddings": True, **sizes["text_config"]},
        "audio_config": {"model_type": "gemma4_audio", **sizes["audio_config"]},
    }
