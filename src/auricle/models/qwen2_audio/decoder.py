"""Qwen2-Audio's decoder, a Qwen: embeddings in, hidden states out.

What is unusual: queries, keys and values have biases; the 7B has a key-value head for every query head, so that a
position of its cache takes half a megabyte; the head is not the embedding table.

Several requests share a pass: their new positions stand one after the other, every product takes all of them at once,
and each request attends to its own keys and values. Of the last layer, only wanted positions are computed.

Layout: transformers 5.23, `models/qwen2/modeling_qwen2.py`. Module names are the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.layers.attention import causal_attention
from auricle.layers.cache import LayerCache
from auricle.layers.linear import Linear, products
from auricle.layers.norms import RMSNorm
from auricle.layers.rotary import cos_sin, frequencies, rotate
from auricle.layers.table import Table
from auricle.models.qwen2_audio.config import TextConfig
from auricle.models.stretch import Stretch, wanted_places
from auricle.models.taken import Taken

Stretches = Sequence[Stretch["Cache"]]
Rotary = tuple[Tensor, Tensor]  # cosines and sines, (tokens, head_dim)


class Cache:
    """Keys and values of one request, layer by layer."""

    shortest = 0  # the least length that it can be forked or truncated to: nothing is ever dropped

    def __init__(self, layers: Sequence[LayerCache]) -> None:
        self.layers = list(layers)

    @classmethod
    def of(cls, config: TextConfig) -> Cache:
        return cls([LayerCache() for _ in range(config.num_hidden_layers)])

    @property
    def length(self) -> int:
        """Positions read so far."""
        return self.layers[0].length

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on."""
        for layer in self.layers:
            layer.truncate(min(length, layer.length))  # a pass that was broken off has not reached every layer

    def fork(self, length: int) -> Cache:
        """One that goes on by itself from this length."""
        return Cache([layer.fork(length) for layer in self.layers])


class Attention(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        width = config.hidden_size
        self.q_proj = Linear(width, self.heads * self.head_dim, bias=True)
        self.k_proj = Linear(width, self.kv_heads * self.head_dim, bias=True)
        self.v_proj = Linear(width, self.kv_heads * self.head_dim, bias=True)
        self.o_proj = Linear(self.heads * self.head_dim, width)

    def forward(self, x: Tensor, rope: Rotary, layer: int, stretches: Stretches, kept: Tensor | None) -> Tensor:
        """`(1, tokens, hidden)` -> `(1, queries, hidden)`.

        Args:
            layer: whose keys and values in each stretch's past are extended.
            kept: which positions' outcome is asked for, `(queries,)`; None is all.
        """
        cos, sin = rope
        q, k, v = (self.q_proj(x if kept is None else x[:, kept]), *products(x, (self.k_proj, self.v_proj)))
        q = q.unflatten(2, (self.heads, self.head_dim))
        q = (rotate(q, cos, sin) if kept is None else rotate(q, cos[kept], sin[kept])).transpose(1, 2)
        k = rotate(k.unflatten(2, (self.kv_heads, self.head_dim)), cos, sin).transpose(1, 2)
        v = v.unflatten(2, (self.kv_heads, self.head_dim)).transpose(1, 2)
        out, row, query = [], 0, 0
        for part in stretches:
            held = part.past.layers[layer].extend(k[:, :, row : row + part.rows], v[:, :, row : row + part.rows])
            queries = part.rows if kept is None else part.wanted
            if queries:
                asked = q[:, :, query : query + queries]
                out.append(causal_attention(asked, *held, None, self.head_dim**-0.5))
            row, query = row + part.rows, query + queries
        if not out:
            return x[:, :0]
        return self.o_proj((out[0] if len(out) == 1 else torch.cat(out, dim=2)).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Gated by SiLU."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = products(x, (self.gate_proj, self.up_proj))
        return self.down_proj(F.silu(gate) * up)


class DecoderLayer(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, rope: Rotary, layer: int, stretches: Stretches, kept: Tensor | None) -> Tensor:
        """`(1, tokens, hidden)` -> `(1, queries, hidden)`; see `Attention`."""
        h = self.self_attn(self.input_layernorm(x), rope, layer, stretches, kept)
        x = (x if kept is None else x[:, kept]) + h
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Everything but the head."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = Table(config.vocab_size, config.hidden_size, scale=1.0)
        self.layers = nn.ModuleList([DecoderLayer(config) for _ in range(config.num_hidden_layers)])
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    @property
    def dtype(self) -> torch.dtype:
        """Of the computation: the table, and packed weights, may be stored in another."""
        assert self.norm.weight is not None
        return self.norm.weight.dtype

    @property
    def device(self) -> torch.device:
        """Of the computation: the table stays on the CPU."""
        assert self.norm.weight is not None
        return self.norm.weight.device

    def embed(self, ids: Tensor, places: Tensor, audio: Tensor | None) -> Tensor:
        """`(1, tokens)` ids -> `(1, tokens, hidden)`; `(audio tokens, hidden)` are put at the places marked."""
        x = self.embed_tokens(ids, self.dtype)
        return x if audio is None else x.masked_scatter(places[..., None], audio.to(x.dtype))

    def forward(self, x: Tensor, stretches: Stretches, taken: Taken | None = None) -> Tensor:
        """Runs the layers over new positions.

        Args:
            x: `(1, tokens, hidden)`, from `embed`.
            stretches: whose positions these are, one request after the other.
            taken: takes what layers give for the wanted positions, the last layer's after the final norm. The pass ends
                with the last that it asks for.

        Returns:
            `(1, wanted, hidden)`, after the final norm: of each stretch its last positions.
        """
        rope, kept = self._rotary(stretches, x), wanted_places(stretches, x.device)
        for i, layer in enumerate(self.layers):
            if taken is not None and taken.add(i, x, kept):
                return x
            last = i == len(self.layers) - 1
            x = layer(x, rope, i, stretches, kept if last else None)
        x = self.norm(x)
        if taken is not None:
            taken.add(len(self.layers), x)
        return x

    def _rotary(self, stretches: Stretches, x: Tensor) -> Rotary:
        positions = [
            torch.arange(part.past.length, part.past.length + part.rows, device=x.device) for part in stretches
        ]
        inverse = frequencies(self.config.head_dim, self.config.rope_theta).to(x.device)
        return cos_sin(torch.cat(positions), inverse, x.dtype)


class LanguageModel(nn.Module):
    """The decoder and its head, as the checkpoint nests them."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.model = Decoder(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)

    def logits(self, x: Tensor) -> Tensor:
        """`(..., hidden)` -> `(..., vocabulary)`, float32."""
        return self.lm_head(x).float()
