"""Gemma 4's settings, read from `config.json`; the names are the checkpoint's.

Everything that differs between E2B, E4B and the built-in `tiny` stands here; the code reads it and assumes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from auricle.errors import CheckpointError

SLIDING = "sliding_attention"
FULL = "full_attention"

_Config = TypeVar("_Config")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise CheckpointError(f"config.json: {problem}")


@dataclass(frozen=True)
class AudioConfig:
    """The conformer encoder."""

    hidden_size: int = 1024
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    hidden_act: str = "silu"
    subsampling_conv_channels: tuple[int, int] = (128, 32)
    conv_kernel_size: int = 5
    residual_weight: float = 0.5  # of each feed-forward half-step
    attention_chunk_size: int = 12
    attention_context_left: int = 13  # a query sees itself and the `attention_context_left - 2` tokens before it
    attention_context_right: int = 0
    attention_logit_cap: float = 50.0
    attention_invalid_logits_value: float = -1.0e9
    use_clipped_linears: bool = True  # linears clip to ranges stored in the checkpoint
    rms_norm_eps: float = 1e-6
    gradient_clipping: float = 1e10
    output_proj_dims: int = 1536

    def __post_init__(self) -> None:
        _require(self.hidden_act == "silu", f"hidden_act={self.hidden_act!r} in audio_config; only 'silu' is known")
        _require(
            self.attention_context_right == 0,
            f"attention_context_right={self.attention_context_right}; only a causal encoder (0) is supported",
        )
        _require(
            self.hidden_size % self.num_attention_heads == 0,
            f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}",
        )

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def past_context(self) -> int:
        """How many tokens before a chunk its keys reach back (of which the mask lets a query see one fewer)."""
        return self.attention_context_left - 1


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding of one kind of layer."""

    rope_theta: float
    rope_type: str = "default"  # "default", or "proportional": only a part of the head rotates
    partial_rotary_factor: float = 1.0

    @property
    def rotated(self) -> float:
        """The part of the head that rotates."""
        return self.partial_rotary_factor if self.rope_type == "proportional" else 1.0

    def __post_init__(self) -> None:
        _require(
            self.rope_type in ("default", "proportional"),
            f"rope_type={self.rope_type!r}; known are 'default' and 'proportional'",
        )


@dataclass(frozen=True)
class TextConfig:
    """The decoder."""

    vocab_size: int = 262_144
    vocab_size_per_layer_input: int = 262_144
    hidden_size: int = 1536
    hidden_size_per_layer_input: int = 256
    intermediate_size: int = 6144
    use_double_wide_mlp: bool = False  # the MLP of layers that share keys and values is twice as wide
    num_hidden_layers: int = 35
    num_kv_shared_layers: int = 0  # the last layers own no keys and values
    num_attention_heads: int = 8
    num_key_value_heads: int = 1
    head_dim: int = 256  # of sliding layers
    global_head_dim: int = 512  # of full layers
    layer_types: tuple[str, ...] = ()
    sliding_window: int = 512  # a query sees itself and the `sliding_window - 1` tokens before it
    rope_sliding: RopeConfig = RopeConfig(rope_theta=10_000.0)
    rope_full: RopeConfig = RopeConfig(rope_theta=1_000_000.0, rope_type="proportional", partial_rotary_factor=0.25)
    hidden_activation: str = "gelu_pytorch_tanh"
    rms_norm_eps: float = 1e-6
    final_logit_softcapping: float | None = None
    max_position_embeddings: int = 131_072
    pad_token_id: int = 0
    bos_token_id: int = 2

    def __post_init__(self) -> None:
        _require(
            self.hidden_activation == "gelu_pytorch_tanh",
            f"hidden_activation={self.hidden_activation!r}; only 'gelu_pytorch_tanh' is known",
        )
        _require(
            len(self.layer_types) == self.num_hidden_layers,
            f"layer_types has {len(self.layer_types)} entries for {self.num_hidden_layers} layers",
        )
        _require(set(self.layer_types) <= {SLIDING, FULL}, f"unknown layer types in {sorted(set(self.layer_types))}")
        owned = set(self.layer_types[: self.first_shared_layer])
        _require(
            set(self.layer_types) == owned,
            f"layers {self.first_shared_layer} and up share keys and values of a kind that no earlier layer owns",
        )

    @property
    def first_shared_layer(self) -> int:
        """The index of the first layer that reads another's keys and values; the layer count when none does."""
        return self.num_hidden_layers - self.num_kv_shared_layers

    def layer_head_dim(self, layer: int) -> int:
        return self.head_dim if self.layer_types[layer] == SLIDING else self.global_head_dim

    def layer_intermediate_size(self, layer: int) -> int:
        double = self.use_double_wide_mlp and layer >= self.first_shared_layer
        return self.intermediate_size * (2 if double else 1)

    def kv_layer(self, layer: int) -> int:
        """The layer whose keys and values `layer` reads: itself, or the last owner of its kind."""
        if layer < self.first_shared_layer:
            return layer
        owners = [i for i in range(self.first_shared_layer) if self.layer_types[i] == self.layer_types[layer]]
        return owners[-1]


@dataclass(frozen=True)
class Gemma4Config:
    """A whole checkpoint: decoder, encoder (None in a text-only one) and the ids that frame audio in a prompt."""

    text: TextConfig
    audio: AudioConfig | None = field(default_factory=AudioConfig)
    audio_token_id: int = 258_881
    boa_token_id: int = 256_000
    eoa_token_id: int = 258_883

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Gemma4Config:
        """Reads `config.json` as transformers 5 writes it, and as the released checkpoints have it."""
        audio = settings.get("audio_config")
        return cls(
            text=_text_config(settings.get("text_config") or {}),
            audio=_pick(AudioConfig, audio) if audio is not None else None,
            audio_token_id=settings.get("audio_token_id", cls.audio_token_id),
            boa_token_id=settings.get("boa_token_id", cls.boa_token_id),
            eoa_token_id=settings.get("eoa_token_index", settings.get("eoa_token_id", cls.eoa_token_id)),
        )


def _text_config(settings: dict[str, Any]) -> TextConfig:
    for name in ("attention_bias", "attention_k_eq_v", "enable_moe_block", "use_bidirectional_attention"):
        # "vision" lets image blocks see both ways; audio tokens stay causal, so it changes nothing here.
        _require(
            settings.get(name) in (None, False, "vision"),
            f"text_config sets {name}={settings.get(name)!r}: this member of the Gemma 4 family is not supported "
            f"(E2B and E4B are)",
        )
    settings = dict(settings)
    layers = settings.get("num_hidden_layers", TextConfig.num_hidden_layers)
    # The reference's default pattern: five sliding layers, one full; the last is always full.
    types = list(settings.get("layer_types") or [FULL if (i + 1) % 6 == 0 else SLIDING for i in range(layers)])
    if types:
        types[-1] = FULL
    settings["layer_types"] = tuple(types)
    settings["global_head_dim"] = _full_head_dim(settings, types)
    for name, kind in (("rope_sliding", SLIDING), ("rope_full", FULL)):
        rope = (settings.get("rope_parameters") or {}).get(kind)
        if rope is not None:
            settings[name] = _pick(RopeConfig, rope)
    return _pick(TextConfig, settings)


def _full_head_dim(settings: dict[str, Any], types: list[str]) -> int:
    """The head size of full layers: `global_head_dim`, or `per_layer_config` as transformers 5.23 writes it."""
    overrides = settings.get("per_layer_config") or {}
    sizes = {
        override["head_dim"]
        for layer, override in overrides.items()
        if "head_dim" in override and int(layer) < len(types) and types[int(layer)] == FULL
    }
    _require(len(sizes) <= 1, f"full attention layers have several head sizes: {sorted(sizes)}")
    return int(sizes.pop() if sizes else settings.get("global_head_dim") or TextConfig.global_head_dim)


def _pick(kind: type[_Config], settings: dict[str, Any]) -> _Config:
    """Builds a config dataclass from the settings it knows, lists becoming tuples."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k in known and v is not None}
    return kind(**values)
