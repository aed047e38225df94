"""Models of random weights, as their config.json has them: speed doesn't depend on what the weights are."""

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


def _gemma4(text: dict[str, Any], audio: dict[str, Any], begin: int, audio_token: int, end: int) -> dict[str, Any]:
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "vision_config": None,
        "boa_token_id": begin,
        "audio_token_id": audio_token,
        "eoa_token_index": end,
        "text_config": {"model_type": "gemma4_text", "tie_word_embeddings": True, **text},
        "audio_config": {"model_type": "gemma4_audio", **audio},
    }


def _qwen2_audio(text: dict[str, Any], audio: dict[str, Any], audio_token: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen2AudioForConditionalGeneration"],
        "model_type": "qwen2_audio",
        "dtype": "bfloat16",
        "audio_token_index": audio_token,
        "text_config": {"model_type": "qwen2", "tie_word_embeddings": False, **text},
        "audio_config": {"model_type": "qwen2_audio_encoder", **audio},
    }


QWEN_7B: dict[str, Any] = {
    "vocab_size": 156_032,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
}
WHISPER_LARGE = {
    "num_mel_bins": 128,
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
}
PRESETS: dict[str, dict[str, Any]] = {
    "gemma-4-e2b": _gemma4(E2B, {}, 256_000, 258_881, 258_883),
    "qwen2-audio-7b": _qwen2_audio(QWEN_7B, WHISPER_LARGE, 151_646),
    "small": _gemma4(
        SMALL,
        {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "output_proj_dims": 64},
        500,
        501,
        502,
    ),
}


def config(preset: str) -> dict[str, Any]:
    """The config.json of a preset."""
    return PRESETS[preset]
