"""A Gemma 4 checkpoint in short."""

from __future__ import annotations

from auricle.checkpoint import Checkpoint
from auricle.models.gemma4.config import SLIDING, Gemma4Config
from auricle.models.gemma4.features import FeatureConfig, feature_settings
from auricle.models.summary import AudioLimits, Summary


def summarise(checkpoint: Checkpoint) -> Summary:
    """See `models.summary.summarise`."""
    config = Gemma4Config.from_dict(checkpoint.config)
    text, audio = config.text, config.audio
    settings = {
        "decoder": {
            "layers": text.num_hidden_layers,
            "layers that share keys and values": text.num_kv_shared_layers,
            "sliding layers": text.layer_types.count(SLIDING),
            "sliding window": text.sliding_window,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "key-value heads": text.num_key_value_heads,
            "vocabulary": text.vocab_size,
            "context in tokens": text.max_position_embeddings,
        }
    }
    if audio is None:
        return Summary("gemma4", settings, runs=True)
    settings["encoder"] = {
        "layers": audio.num_hidden_layers,
        "width": audio.hidden_size,
        "heads": audio.num_attention_heads,
        "tokens attended to": audio.past_context,
    }
    features = FeatureConfig.from_dict(feature_settings(checkpoint))
    tokens = features.tokens(features.max_samples)
    limits = AudioLimits(
        rate=features.sampling_rate,
        min_samples=features.min_samples,
        max_seconds=features.max_seconds,
        tokens_per_second=tokens - features.tokens(features.max_samples - features.sampling_rate),
    )
    return Summary("gemma4", settings, limits, runs=True)
