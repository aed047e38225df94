"""Qwen2-Audio's settings, read from `config.json`; the names are the checkpoint's. Defaults are the released 7B's."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from auricle.errors import CheckpointError

_Config = TypeVar("_Config")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise CheckpointError(f"config.json: {problem}")


@dataclass(frozen=True)
class AudioConfig:
    """The encoder: Whisper's (large-v3), and an average pool."""

    num_mel_bins: int = 128
    d_model: int = 1280
    encoder_layers: int = 32
    encoder_attention_heads: int = 20
    encoder_ffn_dim: int = 5120
    max_source_positions: int = 1500  # positions after the convolutions, which halve the frames
    activation_function: str = "gelu"
    scale_embedding: bool = False

    def __post_init__(self) -> None:
        _require(
            self.activation_function == "gelu",
            f"activation_function={self.activation_function!r} in audio_config; only 'gelu' is known",
        )
        _require(not self.scale_embedding, "scale_embedding is set in audio_config, which the reference ignores")
        _require(
            self.d_model % self.encoder_attention_heads == 0,
            f"d_model {self.d_model} is not a multiple of encoder_attention_heads {self.encoder_attention_heads}",
        )

    @property
    def max_frames(self) -> int:
        """Mel frames that it hears at most."""
        return 2 * self.max_source_positions


@dataclass(frozen=True)
class TextConfig:
    """The decoder: a Qwen (`model_type` "qwen2")."""

    vocab_size: int = 156_032
    hidden_size: int = 4096
    intermediate_size: int = 11_008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 32
    head_dim: int = 128
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    max_position_embeddings: int = 8192
    tie_word_embeddings: bool = False

    def __post_init__(self) -> None:
        _require(self.hidden_act == "silu", f"hidden_act={self.hidden_act!r}; only 'silu' is known")
        _require(not self.tie_word_embeddings, "tie_word_embeddings is set; only a head of its own is supported")
        _require(
            self.num_attention_heads % self.num_key_value_heads == 0,
            f"num_attention_heads {self.num_attention_heads} is not a multiple of num_key_value_heads "
            f"{self.num_key_value_heads}",
        )


@dataclass(frozen=True)
class Qwen2AudioConfig:
    """A whole checkpoint."""

    text: TextConfig = field(default_factory=TextConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    audio_token_index: int = 151_646

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Qwen2AudioConfig:
        """Reads `config.json` as transformers 5 writes it, and as the released checkpoints have it."""
        return cls(
            text=_text_config(settings.get("text_config") or {}),
            audio=_pick(AudioConfig, settings.get("audio_config") or {}),
            audio_token_index=settings.get("audio_token_index", settings.get("audio_token_id", cls.audio_token_index)),
        )


def _text_config(settings: dict[str, Any]) -> TextConfig:
    _require(
        not settings.get("use_sliding_window"),
        "use_sliding_window is set in text_config: only full attention is supported",
    )
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    _require(kind == "default", f"rope_type={kind!r} in text_config; only 'default' is known")
    settings = {**settings, "rope_theta": rope.get("rope_theta", settings.get("rope_theta"))}
    # Released files name only what differs from these, and leave out what follows from others.
    heads = settings.get("num_attention_heads") or TextConfig.num_attention_heads
    width = settings.get("hidden_size") or TextConfig.hidden_size
    settings.setdefault("head_dim", width // heads)
    settings["num_key_value_heads"] = settings.get("num_key_value_heads") or heads
    return _pick(TextConfig, settings)


def _pick(kind: type[_Config], settings: dict[str, Any]) -> _Config:
    """Builds a config dataclass from the settings it knows."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in settings.items() if name in known and value is not None})
