"""Models that make sound, and codecs, in short: see `models.summary`. No torch."""

from __future__ import annotations

from auricle.audiolm.codecs.encodec_config import EncodecConfig
from auricle.audiolm.model.config import MODEL_TYPE, AudioLMConfig
from auricle.checkpoint import Checkpoint
from auricle.models.summary import Summary


def summarise(checkpoint: Checkpoint) -> Summary:
    """Of an AudioLM."""
    config = AudioLMConfig.from_json(checkpoint.config)
    settings = {
        "model": {
            "pattern": config.pattern,
            "layers": config.num_layers,
            "width": config.d_model,
            "heads": config.nhead,
        },
        "codes": {
            "codec": config.codec,
            "codebooks": config.num_quantizers,
            "entries of each": config.codebook_size,
            "frames a second": f"{config.frame_rate:g}",
            "seconds in one go": f"{config.max_frames / config.frame_rate:g}",
        },
    }
    return Summary(MODEL_TYPE, settings, runs=True)


def summarise_codec(checkpoint: Checkpoint) -> Summary:
    """Of an EnCodec."""
    config = EncodecConfig.from_json(checkpoint.config)
    settings = {
        "codec": {
            "rate": f"{config.sampling_rate} Hz",
            "frames a second": f"{config.sampling_rate / config.frame:g}",
            "codebooks": config.codebooks,
            "entries of each": config.codebook_size,
            "width": config.hidden_size,
        }
    }
    return Summary("encodec", settings, runs=True)
