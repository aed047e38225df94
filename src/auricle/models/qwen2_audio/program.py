"""Qwen2-Audio's decoder as a program of the native kernels: what `decoder.py` computes, in one call a token or prompt.

`decoder.py` is what this is compared with; `models/program.py` runs it.
"""

from __future__ import annotations

from typing import cast

import torch

from auricle.layers import native
from auricle.layers.cache import SlotCache
from auricle.layers.rotary import frequencies
from auricle.models.program import DecoderProgram, ProgramCache, Recording
from auricle.models.program import missing as against
from auricle.models.qwen2_audio.decoder import Attention, DecoderLayer, LanguageModel


def missing(language_model: LanguageModel) -> str | None:
    """None when a decoder can run as a program, else what stands against it."""
    return against(language_model, language_model.model.dtype, language_model.model.device)


def program_cache(language_model: LanguageModel) -> ProgramCache:
    """Keys and values of one request."""
    decoder = language_model.model
    config = decoder.config
    return ProgramCache(
        [
            SlotCache(config.num_key_value_heads, config.head_dim, decoder.dtype, window=None)
            for _ in range(config.num_hidden_layers)
        ]
    )


def decoder_program(language_model: LanguageModel, audio_token: int) -> DecoderProgram:
    """The program of a decoder. An audio token without sound is looked up like any other."""
    vocabulary = language_model.model.config.vocab_size
    return DecoderProgram(lambda: Qwen2Recording(language_model), vocabulary, audio_token, audio_token)


class Qwen2Recording(Recording):
    """See `models.program.Recording`."""

    def __init__(self, language_model: LanguageModel) -> None:
        self.language_model, self.decoder = language_model, language_model.model
        self.config = self.decoder.config
        self._bf16 = self.decoder.dtype == torch.bfloat16
        super().__init__(self.config.num_hidden_layers)

    def _record(self) -> None:
        config, program = self.config, self.program
        heads, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.x, self.h = self.buffer(config.hidden_size), self.buffer(config.hidden_size)
        self.q, self.attended = self.buffer(heads), self.buffer(heads)
        self.k, self.v = self.buffer(kv), self.buffer(kv)
        self.angles = self.buffer(config.head_dim)
        self.scores = self.buffer(config.vocab_size, last=True)
        program.angles(self.angles, frequencies(config.head_dim, config.rope_theta))
        program.lookup(self.table(self.decoder.embed_tokens), self.x, 1.0, -1)
        for i, layer in enumerate(cast("list[DecoderLayer]", list(self.decoder.layers))):
            self.norm(layer.input_layernorm, self.x, self.h)
            self._attention(i, layer.self_attn)
            self.norm(layer.post_attention_layernorm, self.x, self.h)
            parts = (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)
            program.gated(self.h, *(native.matrix(part) for part in parts), self.x, "silu", True)
        self.norm(self.decoder.norm, self.x, self.h)
        self.linear(self.h, (self.language_model.lm_head, self.scores))

    def _attention(self, i: int, attention: Attention) -> None:
        """x becomes x + attention(h)."""
        config, program = self.config, self.program
        dim, heads, kv_heads = config.head_dim, attention.heads, attention.kv_heads
        last = i == config.num_hidden_layers - 1
        queries = (attention.q_proj, self.q)
        self.linear(self.h, (attention.k_proj, self.k), (attention.v_proj, self.v), *([] if last else [queries]))
        program.rotate(self.k, kv_heads, dim, self.angles)
        program.store(self.k, self.v, kv_heads, dim, i, self._bf16)
        if last:  # every key and value is there: from here on only wanted positions count
            program.keep([buffer for buffer, _ in (self.x, self.h, self.angles)])
            self.linear(self.h, queries)
        program.rotate(self.q, heads, dim, self.angles)
        program.attend(self.q, self.attended, heads, kv_heads, dim, i, self._bf16, 0, dim**-0.5)
        self.linear(self.attended, (attention.o_proj, self.x), add=True)
