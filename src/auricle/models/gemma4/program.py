"""Gemma 4's decoder as a program of the native kernels: what `decoder.py` computes, in one call a token or prompt.

`decoder.py` says what is unusual about the model, and is what this is compared with; `models/program.py` runs it.
"""

from __future__ import annotations

from typing import cast

import torch

from auricle.layers import native
from auricle.layers.cache import SlotCache
from auricle.layers.rotary import frequencies
from auricle.layers.table import CANDIDATES, Lookup
from auricle.models.gemma4.config import FULL, SLIDING
from auricle.models.gemma4.decoder import Decoder, DecoderLayer
from auricle.models.program import DecoderProgram, ProgramCache, Recording
from auricle.models.program import missing as against


def missing(decoder: Decoder) -> str | None:
    """None when a decoder can run as a program, else what stands against it."""
    if decoder.lm_head is None:
        return "not all weights are packed"
    return against(decoder, decoder.dtype, decoder.device)


def program_cache(decoder: Decoder) -> ProgramCache:
    """Keys and values of one request, for the layers that own them."""
    config = decoder.config
    return ProgramCache(
        [
            SlotCache(
                config.num_key_value_heads,
                config.layer_head_dim(i),
                decoder.dtype,
                window=config.sliding_window if config.layer_types[i] == SLIDING else None,
            )
            for i in range(config.first_shared_layer)
        ]
    )


def decoder_program(decoder: Decoder, audio_token: int) -> DecoderProgram:
    """The program of a decoder. An audio token without sound is the pad token, as in `Decoder.embed`."""
    config = decoder.config
    return DecoderProgram(lambda: Gemma4Recording(decoder), config.vocab_size, audio_token, config.pad_token_id)


class Gemma4Recording(Recording):
    """See `models.program.Recording`."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder, self.config = decoder, decoder.config
        self._bf16 = decoder.dtype == torch.bfloat16
        super().__init__(self.config.first_shared_layer)

    def _make_buffers(self) -> None:
        config = self.config
        width, inner, layers = config.hidden_size, config.hidden_size_per_layer_input, config.num_hidden_layers
        heads = config.num_attention_heads * max(config.head_dim, config.global_head_dim)
        kv = config.num_key_value_heads * max(config.head_dim, config.global_head_dim)
        self.x, self.h = self.buffer(width), self.buffer(width)
        self.q, self.attended = self.buffer(heads), self.buffer(heads)
        self.k, self.v = self.buffer(kv), self.buffer(kv)
        self.angles = {SLIDING: self.buffer(config.head_dim), FULL: self.buffer(config.global_head_dim)}
        if inner:
            self.own, self.projected = self.buffer(layers * inner), self.buffer(layers * inner)
            self.inner = self.buffer(inner)
        self.scores = self.buffer(config.vocab_size, last=True)

    def _record(self) -> None:
        self._make_buffers()
        decoder, config, program = self.decoder, self.config, self.program
        for kind, settings in ((SLIDING, config.rope_sliding), (FULL, config.rope_full)):
            size = config.head_dim if kind == SLIDING else config.global_head_dim
            program.angles(self.angles[kind], frequencies(size, settings.rope_theta, settings.rotated))
        program.lookup(self.table(decoder.embed_tokens), self.x, self._factor(decoder.embed_tokens), -1)
        if config.hidden_size_per_layer_input:
            self._per_layer_inputs()
        for i, layer in enumerate(cast("list[DecoderLayer]", list(decoder.layers))):
            self._attention(i, layer)
            self._mlp(layer)
            if config.hidden_size_per_layer_input:
                self._per_layer(i, layer)
        self._head()

    def _per_layer_inputs(self) -> None:
        """`own` becomes (norm(projection / sqrt(width)) + the token's own vectors) / sqrt 2."""
        decoder, config = self.decoder, self.config
        norm = decoder.per_layer_projection_norm
        self.program.lookup(
            self.table(decoder.embed_tokens_per_layer),
            self.own,
            self._factor(decoder.embed_tokens_per_layer),
            config.pad_token_id,
        )
        self.linear(self.x, (decoder.per_layer_model_projection, self.projected))
        # A norm of x / sqrt(width) is one of x whose epsilon counts `width` times.
        eps, layers = norm.eps * config.hidden_size, config.num_hidden_layers
        self.norm(norm, self.projected, self.own, groups=layers, eps=eps, add=True, scale=2**-0.5)

    def _attention(self, i: int, layer: DecoderLayer) -> None:
        config, program, attention = self.config, self.program, layer.self_attn
        dim, heads, kv_heads = attention.head_dim, attention.heads, attention.kv_heads
        angles = self.angles[config.layer_types[i]]
        last_owner = i == config.first_shared_layer - 1
        self.norm(layer.input_layernorm, self.x, self.h)
        if attention.owns_kv:
            keys_values = [(attention.k_proj, self.k), (attention.v_proj, self.v)]
            self.linear(self.h, *keys_values, *([] if last_owner else [(attention.q_proj, self.q)]))
            self.norm(attention.k_norm, self.k, self.k, groups=kv_heads)
            self.norm(attention.v_norm, self.v, self.v, groups=kv_heads, width=dim)
            program.rotate(self.k, kv_heads, dim, angles)
            program.store(self.k, self.v, kv_heads, dim, i, self._bf16)
        if last_owner:  # every key and value is there: from here on only wanted positions count
            buffers = [self.x, self.h, *self.angles.values(), *([self.own] if hasattr(self, "own") else [])]
            program.keep([buffer for buffer, _ in buffers])
        if last_owner or not attention.owns_kv:
            self.linear(self.h, (attention.q_proj, self.q))
        self.norm(attention.q_norm, self.q, self.q, groups=heads)
        program.rotate(self.q, heads, dim, angles)
        window, cache = attention.window or 0, config.kv_layer(i)
        program.attend(self.q, self.attended, heads, kv_heads, dim, cache, self._bf16, window, 1.0)
        self.linear(self.attended, (attention.o_proj, self.h))
        self.norm(layer.post_attention_layernorm, self.h, self.x, add=True)

    def _mlp(self, layer: DecoderLayer) -> None:
        parts = (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)
        self.norm(layer.pre_feedforward_layernorm, self.x, self.h)
        self.program.gated(self.h, *(native.matrix(part) for part in parts), self.h)
        scale = 1.0 if self.config.hidden_size_per_layer_input else float(layer.layer_scalar)
        self.norm(layer.post_feedforward_layernorm, self.h, self.x, add=True, scale=scale)

    def _per_layer(self, i: int, layer: DecoderLayer) -> None:
        inner = self.config.hidden_size_per_layer_input
        self.linear(self.x, (layer.per_layer_input_gate, self.inner))
        self.program.gelu_product(self.inner, (self.own[0], i * inner), self.inner, inner)
        self.linear(self.inner, (layer.per_layer_projection, self.h))
        norm = layer.post_per_layer_input_norm
        self.norm(norm, self.h, self.x, add=True, scale=float(layer.layer_scalar))

    def _head(self) -> None:
        decoder, program = self.decoder, self.program
        assert decoder.lm_head is not None, "see `missing`"
        self.norm(decoder.norm, self.x, self.h)
        self.linear(self.h, (decoder.lm_head, self.scores))
        if cast("int", decoder.lm_head.bits) < 8:
            program.rescore(self.h, self.scores, self.table(decoder.embed_tokens), CANDIDATES)
        if self.config.final_logit_softcapping:
            program.soft_cap(self.scores, self.config.vocab_size, self.config.final_logit_softcapping)

    def _factor(self, table: Lookup) -> float:
        """A table's scale, rounded as the decoder's dtype rounds it."""
        return float(torch.tensor(table.scale, dtype=self.decoder.dtype))
