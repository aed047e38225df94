"""A Qwen2-Audio checkpoint in short."""

from __future__ import annotations

from auricle.checkpoint import Checkpoint
from auricle.models.qwen2_audio.config import Qwen2AudioConfig
from auricle.models.qwen2_audio.features import FeatureConfig, feature_settings
from auricle.models.summary import AudioLimits, Summary


def summarise(checkpoint: Checkpoint) -> Summary:
    """See `models.summary.summarise`."""
    config = Qwen2AudioConfig.from_dict(checkpoint.config)
    text, audio = config.text, config.audio
    settings = {
        "decoder": {
            "layers": text.num_hidden_layers,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "key-value heads": text.num_key_value_heads,
            "vocabulary": text.vocab_size,
            "context in tokens": text.max_position_embeddings,
        },
        "encoder": {
            "layers": audio.encoder_layers,
            "width": audio.d_model,
            "heads": audio.encoder_attention_heads,
        },
    }
    features = FeatureConfig.from_dict(feature_settings(checkpoint))
    limits = AudioLimits(
        rate=features.sampling_rate,
        min_samples=features.min_samples,
        max_seconds=features.chunk_length,
        tokens_per_second=features.tokens(features.max_samples) / features.chunk_length,
    )
    return Summary("qwen2_audio", settings, limits, runs=True)
