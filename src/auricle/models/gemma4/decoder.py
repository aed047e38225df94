"""Gemma 4's decoder (E2B, E4B): embeddings in, hidden states out.

What is unusual:
- The last `num_kv_shared_layers` layers own no keys and values: they read those of the last layer of their kind
  (sliding or full) that does. So a prefill that needs only the last position runs them for that position alone; of the
  last owner every position needs only its keys and values. `Part.wanted` says so: over two thirds of the work saved.
- Several requests share a pass: their new positions stand one after the other, every product takes all of them at once,
  and each request attends to its own keys and values.
- Per-layer embeddings: a second table gives every token a small vector for every layer. At audio positions it is the
  pad token's. The two tables are only looked up, so they stay memory-mapped.
- Sliding and full layers have their own head size and rotary base; full layers turn only a quarter of the head.
- Queries and keys are normed with a weight, values without one, and attention's scale is 1. Every sublayer has a norm
  before and after it; a scalar a layer multiplies its output.
- The head is the embedding table. A packed checkpoint has one of its own, since the table is packed by row for looking
  up: with 4 bits, the likeliest tokens are scored again by the table's 8.

Layout: transformers 5.23, `models/gemma4/modeling_gemma4.py`. Module names are the checkpoint's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.layers.attention import causal_attention, slot_attention
from auricle.layers.cache import LayerCache
from auricle.layers.linear import Linear, products
from auricle.layers.norms import RMSNorm
from auricle.layers.rotary import cos_sin, frequencies, rotate
from auricle.layers.table import Table, rescored
from auricle.models.gemma4.config import FULL, SLIDING, TextConfig
from auricle.models.stretch import Stretch, wanted_places
from auricle.models.taken import Taken

Rotary = dict[str, tuple[Tensor, Tensor]]  # kind of layer -> cosines and sines, (tokens, head_dim)
KeysValues = tuple[Tensor, Tensor]

_making = threading.Lock()


class Past(Protocol):
    """What was read before, as the decoder meets it: `Cache`, and the slots of a captured step (`graph.py`)."""

    def positions(self, count: int, device: torch.device) -> Tensor:
        """Which positions so many new ones are: `(count,)`."""

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        """Adds those of the new positions; the layer's keys and values that they may look at, or more."""

    def bias(self, layer: int) -> Tensor | None:
        """What hides the slots that the one new position may not see; None where `extend` gave no others."""


class Home(Protocol):
    """Where a cache's keys and values can be for a while instead of in it (`graph.py`)."""

    def move_out(self) -> None:
        """Gives them back."""


class Cache:
    """Keys and values of one request, for the layers that own them."""

    def __init__(self, config: TextConfig) -> None:
        self.layers = [
            LayerCache(config.sliding_window if config.layer_types[i] == SLIDING else None)
            for i in range(config.first_shared_layer)
        ]
        self.away: Home | None = None

    @property
    def length(self) -> int:
        """Positions read so far."""
        return self.layers[0].length

    @property
    def shortest(self) -> int:
        """The least length that it can be forked or truncated to."""
        self.bring_home()
        return max(layer.shortest for layer in self.layers)

    @property
    def nbytes(self) -> int:
        self.bring_home()
        return sum(layer.nbytes for layer in self.layers)

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on."""
        self.bring_home()
        for layer in self.layers:
            layer.truncate(length)

    def fork(self, length: int) -> Cache:
        """One that goes on by itself from this length."""
        self.bring_home()
        copy = Cache.__new__(Cache)
        copy.layers, copy.away = [layer.fork(length) for layer in self.layers], None
        return copy

    def advance(self) -> None:
        """Counts a position that was read into where its keys and values are now."""
        for layer in self.layers:
            layer.length, layer.kept = layer.length + 1, layer.kept + 1

    def bring_home(self) -> None:
        if self.away is not None:
            self.away.move_out()

    def positions(self, count: int, device: torch.device) -> Tensor:
        self.bring_home()
        return torch.arange(self.length, self.length + count, device=device)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        return self.layers[layer].extend(keys, values)

    def bias(self, layer: int) -> None:
        return None


class Fresh:
    """A past of nothing, that keeps nothing: for what is read on its own (training)."""

    def positions(self, count: int, device: torch.device) -> Tensor:
        return torch.arange(count, device=device)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> KeysValues:
        return keys, values

    def bias(self, layer: int) -> None:
        return None


@dataclass
class _Held:
    """What a stretch's queries look at in one layer."""

    keys: Tensor
    values: Tensor
    bias: Tensor | None  # see `Past.bias`
    queries: int


class Attention(nn.Module):
    """Grouped attention of one layer; a layer that shares has no keys and values of its own."""

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        self.head_dim = config.layer_head_dim(layer)
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.window = config.sliding_window if config.layer_types[layer] == SLIDING else None
        self.owns_kv = layer < config.first_shared_layer
        self.q_proj = Linear(config.hidden_size, self.heads * self.head_dim)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
        if self.owns_kv:
            self.k_proj = Linear(config.hidden_size, self.kv_heads * self.head_dim)
            self.v_proj = Linear(config.hidden_size, self.kv_heads * self.head_dim)
            self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
            self.v_norm = RMSNorm(self.head_dim, config.rms_norm_eps, scaled=False)
        self.o_proj = Linear(self.heads * self.head_dim, config.hidden_size)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor, kept: Tensor | None) -> tuple[Tensor, KeysValues | None]:
        """`(batch, tokens, hidden)` -> queries, and keys and values unless the layer shares another's.

        Args:
            kept: which positions' queries are asked for, `(queries,)`; None is all.

        Returns:
            Queries `(batch, heads, queries, head_dim)`; keys and values `(batch, kv_heads, tokens, head_dim)` each.
        """
        own = (self.k_proj, self.v_proj) if self.owns_kv else ()
        if kept is not None:
            q, *kv = self.q_proj(x[:, kept]), *products(x, own)
            q = self._turned(q, cos[kept], sin[kept])
        else:
            q, *kv = products(x, (self.q_proj, *own))
            q = self._turned(q, cos, sin)
        if not kv:
            return q, None
        k, v = (part.unflatten(2, (self.kv_heads, self.head_dim)) for part in kv)
        return q, (rotate(self.k_norm(k), cos, sin).transpose(1, 2), self.v_norm(v).transpose(1, 2))

    def forward(self, q: Tensor, held: Sequence[_Held]) -> Tensor:
        """Attends from each stretch's queries, the last of the positions it holds: `(batch, queries, hidden)`."""
        queries = q.split([one.queries for one in held], dim=2)
        out = [self._attend(part, one) for part, one in zip(queries, held, strict=True) if one.queries]
        return self.o_proj((out[0] if len(out) == 1 else torch.cat(out, dim=2)).transpose(1, 2).flatten(2))

    def _attend(self, q: Tensor, held: _Held) -> Tensor:
        k, v = held.keys, held.values
        if held.bias is not None:
            return slot_attention(q, k, v, held.bias)
        if self.window is not None and q.shape[2] == 1:
            k, v = k[:, :, -self.window :], v[:, :, -self.window :]
        return causal_attention(q, k, v, self.window)

    def _turned(self, q: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return rotate(self.q_norm(q.unflatten(2, (self.heads, self.head_dim))), cos, sin).transpose(1, 2)


class MLP(nn.Module):
    """Gated by GELU."""

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        inner = config.layer_intermediate_size(layer)
        self.gate_proj = Linear(config.hidden_size, inner)
        self.up_proj = Linear(config.hidden_size, inner)
        self.down_proj = Linear(inner, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = products(x, (self.gate_proj, self.up_proj))
        return self.down_proj(F.gelu(gate, approximate="tanh") * up)


class DecoderLayer(nn.Module):
    """Attention, MLP, the per-layer embedding's gate, a scalar."""

    layer_scalar: Tensor

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        width, inner, eps = config.hidden_size, config.hidden_size_per_layer_input, config.rms_norm_eps
        self.self_attn = Attention(config, layer)
        self.mlp = MLP(config, layer)
        self.input_layernorm = RMSNorm(width, eps)
        self.post_attention_layernorm = RMSNorm(width, eps)
        self.pre_feedforward_layernorm = RMSNorm(width, eps)
        self.post_feedforward_layernorm = RMSNorm(width, eps)
        if inner:
            self.per_layer_input_gate = Linear(width, inner)
            self.per_layer_projection = Linear(inner, width)
            self.post_per_layer_input_norm = RMSNorm(width, eps)
        self.register_buffer("layer_scalar", torch.ones(1))

    def project(self, x: Tensor, rope: KeysValues, kept: Tensor | None) -> tuple[Tensor, KeysValues | None]:
        """See `Attention.project`."""
        return self.self_attn.project(self.input_layernorm(x), *rope, kept)

    def forward(self, x: Tensor, q: Tensor, held: Sequence[_Held], per_layer: Tensor | None) -> Tensor:
        """`(batch, tokens, hidden)` and its queries -> `(batch, tokens, hidden)`.

        Args:
            q: from `project`, of the positions of x.
            held: what the queries of each stretch look at.
            per_layer: `(batch, tokens, hidden_size_per_layer_input)`.
        """
        h = self.self_attn(q, held)
        x = x + self.post_attention_layernorm(h)
        h = self.mlp(self.pre_feedforward_layernorm(x))
        x = x + self.post_feedforward_layernorm(h)
        if per_layer is not None:
            h = F.gelu(self.per_layer_input_gate(x), approximate="tanh") * per_layer
            x = x + self.post_per_layer_input_norm(self.per_layer_projection(h))
        return x * self.layer_scalar


class Decoder(nn.Module):
    """The language model, from token ids and audio tokens to logits."""

    def __init__(self, config: TextConfig, *, own_head: bool = False) -> None:
        super().__init__()
        self.config = config
        width, inner, layers = config.hidden_size, config.hidden_size_per_layer_input, config.num_hidden_layers
        self.embed_tokens = Table(config.vocab_size, width, scale=width**0.5)
        self.layers = nn.ModuleList([DecoderLayer(config, i) for i in range(layers)])
        self.norm = RMSNorm(width, config.rms_norm_eps)
        if inner:
            self.embed_tokens_per_layer = Table(config.vocab_size_per_layer_input, layers * inner, scale=inner**0.5)
            self.per_layer_model_projection = Linear(width, layers * inner)
            self.per_layer_projection_norm = RMSNorm(inner, config.rms_norm_eps)
        self.lm_head = Linear(width, config.vocab_size) if own_head else None  # None: the embedding table is the head
        self._frequencies: dict[str, Tensor] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Of the computation: the tables, and weights that a scheme has packed, may be stored in another."""
        assert self.norm.weight is not None
        return self.norm.weight.dtype

    @property
    def device(self) -> torch.device:
        """Of the computation: the tables stay on the CPU."""
        assert self.norm.weight is not None
        return self.norm.weight.device

    def embed(self, ids: Tensor, audio: Tensor | None = None, audio_token_id: int | None = None) -> Tensor:
        """Token ids to embeddings, audio tokens put in their places.

        Args:
            ids: `(batch, tokens)`; `audio_token_id` stands where an audio token goes.
            audio: `(audio tokens, hidden)`, in the order of their places.

        Returns:
            `(batch, tokens, hidden)`.
        """
        x = self.embed_tokens(self._text_ids(ids, audio_token_id), self.dtype)
        if audio is not None:
            assert audio_token_id is not None, "audio needs the id that keeps its places"
            x = x.masked_scatter((ids == audio_token_id)[..., None], audio.to(x.dtype))
        return x

    def per_layer_inputs(self, ids: Tensor, x: Tensor, audio_token_id: int | None = None) -> Tensor | None:
        """`(batch, tokens, layers, inner)`: the token's own vector plus a projection of its embedding, over sqrt 2."""
        own = self.own_inputs(ids, audio_token_id)
        return None if own is None else self.projected_inputs(own, x)

    def own_inputs(self, ids: Tensor, audio_token_id: int | None = None) -> Tensor | None:
        """The tokens' own vectors, looked up where ids are: `(batch, tokens, layers * inner)`."""
        if not self.config.hidden_size_per_layer_input:
            return None
        return self.embed_tokens_per_layer(self._text_ids(ids, audio_token_id), self.dtype)

    def projected_inputs(self, own: Tensor, x: Tensor) -> Tensor:
        """What `per_layer_inputs` makes of these vectors."""
        shape = (*x.shape[:2], self.config.num_hidden_layers, self.config.hidden_size_per_layer_input)
        projected = self.per_layer_model_projection(x) * self.config.hidden_size**-0.5
        return (self.per_layer_projection_norm(projected.view(shape)) + own.view(shape)) * 2**-0.5

    def forward(
        self,
        x: Tensor,
        per_layer: Tensor | None,
        stretches: Sequence[Stretch[Past]] | None = None,
        taken: Taken | None = None,
    ) -> Tensor:
        """Runs the layers over new positions.

        Args:
            x: `(batch, tokens, hidden)`, from `embed`.
            per_layer: from `per_layer_inputs`.
            stretches: whose positions these are, one request after the other. None reads them on their own (training),
                and every outcome is wanted.
            taken: takes what layers give for the wanted positions, the last layer's after the final norm. The pass ends
                with the last that it asks for.

        Returns:
            `(batch, wanted, hidden)`, after the final norm: of each stretch its last positions. Of the others no more
            is computed than these need.
        """
        stretches = [Stretch(Fresh(), x.shape[1], x.shape[1])] if stretches is None else stretches
        positions = torch.cat([part.past.positions(part.rows, x.device) for part in stretches])
        rope = self._rotary(positions, x.dtype)
        kept = wanted_places(stretches, x.device)
        queries = [part.rows for part in stretches]
        held: list[list[KeysValues]] = []  # by owning layer, for each stretch
        for i, layer in enumerate(cast("Iterable[DecoderLayer]", self.layers)):
            if taken is not None and taken.add(i, x, kept):
                return x
            now = kept if i == self.config.first_shared_layer - 1 else None
            q, kv = layer.project(x, rope[self.config.layer_types[i]], now)
            if kv is not None:
                own = zip(*(part.split([stretch.rows for stretch in stretches], dim=2) for part in kv), strict=True)
                held.append([part.past.extend(i, k, v) for part, (k, v) in zip(stretches, own, strict=True)])
            if now is not None:
                # From here on nobody needs the other positions: every key and value is computed.
                x, per_layer = x[:, now], None if per_layer is None else per_layer[:, now]
                rope = {kind: (cos[now], sin[now]) for kind, (cos, sin) in rope.items()}
                queries = [part.wanted for part in stretches]
                if not len(now):
                    return x
                kept = None
            owner = self.config.kv_layer(i)
            seen = [
                _Held(k, v, part.past.bias(owner), count)
                for part, (k, v), count in zip(stretches, held[owner], queries, strict=True)
            ]
            x = layer(x, q, seen, None if per_layer is None else per_layer[:, :, i])
        x = self.norm(x)
        if taken is not None:
            taken.add(len(self.layers), x)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """`(..., hidden)` -> `(..., vocabulary)`, float32, soft-capped."""
        return self.finished(self.scores(x), x)

    def scores(self, x: Tensor) -> Tensor:
        """What the head gives, float32: neither rescored nor capped."""
        scores = self.embed_tokens.project(x) if self.lm_head is None else self.lm_head(x)
        return scores.float()

    def finished(self, logits: Tensor, x: Tensor) -> Tensor:
        """The logits of `scores(x)`."""
        if getattr(self.lm_head, "bits", 8) < 8:
            logits = rescored(logits, x, self.embed_tokens)
        cap = self.config.final_logit_softcapping
        return torch.tanh(logits / cap) * cap if cap else logits

    def _text_ids(self, ids: Tensor, audio_token_id: int | None) -> Tensor:
        """Audio's places look up the pad token: their own id may lie outside the tables."""
        return ids if audio_token_id is None else ids.masked_fill(ids == audio_token_id, self.config.pad_token_id)

    def _rotary(self, positions: Tensor, dtype: torch.dtype) -> Rotary:
        with _making:  # once, whoever asks first: a captured graph goes on reading them
            if not self._frequencies:
                self._frequencies = self._turning(positions.device)
        return {kind: cos_sin(positions, inverse, dtype) for kind, inverse in self._frequencies.items()}

    def _turning(self, device: torch.device) -> dict[str, Tensor]:
        sizes, made = {SLIDING: self.config.head_dim, FULL: self.config.global_head_dim}, {}
        for kind, settings in ((SLIDING, self.config.rope_sliding), (FULL, self.config.rope_full)):
            made[kind] = frequencies(sizes[kind], settings.rope_theta, settings.rotated).to(device)
        return made
