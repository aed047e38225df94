"""Gemma 4's decoder as a program of the native kernels: what `decoder.py` computes, in one call a token or prompt.

For packed decoders on a CPU. Activations are float32 throughout, whatever the decoder's dtype, and linears take them
in int8; keys and values have the decoder's dtype. `decoder.py` says what is unusual about the model, and is what this
is compared with.
"""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from auricle.layers import native
from auricle.layers.cache import SlotCache
from auricle.layers.norms import RMSNorm
from auricle.layers.rotary import frequencies
from auricle.layers.table import CANDIDATES, Lookup
from auricle.models.gemma4.config import FULL, SLIDING
from auricle.models.gemma4.decoder import Decoder, DecoderLayer

ROWS = 512  # positions of a prompt that are read at a time: more gain little and take 0.2 MB each
SCORED_ROWS = 16  # where the logits of all of them are wanted, which take 1 MB each

Place = tuple[int, int]  # buffer, first column


def missing(decoder: Decoder) -> str | None:
    """None when a decoder can run as a program, else what stands against it."""
    linears = [module for module in decoder.modules() if hasattr(module, "in_features")]
    tables = [module for module in decoder.modules() if isinstance(module, Lookup)]
    if decoder.dtype not in (torch.float32, torch.bfloat16):
        return f"activations are {str(decoder.dtype).removeprefix('torch.')}"
    if decoder.lm_head is None or not all(hasattr(module, "bits") for module in [*linears, *tables]):
        return "not all weights are packed"
    if decoder.device.type != "cpu":
        return "it is not on a CPU"
    return native.missing()


class ProgramCache:
    """Keys and values of one request, for the layers that own them, and its last logits."""

    def __init__(self, decoder: Decoder) -> None:
        config = decoder.config
        self.length = 0  # positions read so far
        self.layers = [
            SlotCache(
                config.num_key_value_heads,
                config.layer_head_dim(i),
                decoder.dtype,
                window=config.sliding_window if config.layer_types[i] == SLIDING else None,
                rows=ROWS,
            )
            for i in range(config.first_shared_layer)
        ]
        self.logits = torch.empty(1, config.vocab_size)
        self._places = np.zeros((len(self.layers), 3), dtype=np.int64)

    def reserve(self, rows: int) -> Any:
        """Makes room for new positions; where each layer's keys and values are, and how many slots: `(layers, 3)`."""
        for place, layer in zip(self._places, self.layers, strict=True):
            if layer.reserve(self.length + rows):
                place[:] = layer.keys.data_ptr(), layer.values.data_ptr(), layer.capacity
        return self._places


class DecoderProgram:
    """Reads token ids and audio tokens into a cache and gives logits. One request at a time; others wait."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._alone = threading.Lock()
        self._last: _Recording | None = None
        self._all: _Recording | None = None

    @torch.inference_mode()  # buffers that were made in that mode can't be written to outside of it
    def read(
        self, ids: list[int], audio: Tensor | None, audio_token: int, cache: ProgramCache, *, last_only: bool
    ) -> Tensor:
        """As `Family.read`. With `last_only` the logits lie in the cache, and the next call writes over them."""
        places = np.array(ids, dtype=np.int64)
        # An audio token without sound, which a model may sample, is the pad token, as in `Decoder.embed`.
        places[places == audio_token] = self.decoder.config.pad_token_id if audio is None else -1
        with self._alone:
            native.ready()  # as many threads as torch has now
            recording = self._recording(last_only)
            given = []
            for start in range(0, len(places), recording.rows):
                piece = places[start : start + recording.rows]
                if audio is not None:
                    heard = int((piece < 0).sum())
                    recording.put(piece, audio[:heard])
                    audio = audio[heard:]
                finish = not last_only or start + len(piece) == len(places)
                recording.program.run(piece, cache.length, cache.reserve(len(piece)), finish)
                cache.length += len(piece)
                if finish:
                    given.append(recording.logits[: 1 if last_only else len(piece)])
                    if not last_only:
                        given[-1] = given[-1].clone()
            return cache.logits.copy_(given[0]) if last_only else torch.cat(given)

    def _recording(self, last_only: bool) -> _Recording:
        if last_only:
            self._last = self._last or _Recording(self.decoder, ROWS, last_only=True)
            return self._last
        self._all = self._all or _Recording(self.decoder, SCORED_ROWS, last_only=False)
        return self._all


class _Recording:
    """The operations of a pass in order, and the buffers between them: each `(rows, width)`."""

    def __init__(self, decoder: Decoder, rows: int, *, last_only: bool) -> None:
        config = self.config = decoder.config
        self.decoder, self.rows, self.last_only = decoder, rows, last_only
        self.program = native.ready().Program(rows)
        self._kept: list[Tensor] = []  # what the program points to, whatever becomes of the modules
        self._bf16 = decoder.dtype == torch.bfloat16
        width, inner, layers = config.hidden_size, config.hidden_size_per_layer_input, config.num_hidden_layers
        heads = config.num_attention_heads * max(config.head_dim, config.global_head_dim)
        kv = config.num_key_value_heads * max(config.head_dim, config.global_head_dim)
        self.x, self.h = self._buffer(width), self._buffer(width)
        self.q, self.attended = self._buffer(heads), self._buffer(heads)
        self.k, self.v = self._buffer(kv), self._buffer(kv)
        self.angles = {SLIDING: self._buffer(config.head_dim), FULL: self._buffer(config.global_head_dim)}
        if inner:
            self.own, self.projected = self._buffer(layers * inner), self._buffer(layers * inner)
            self.inner = self._buffer(inner)
        self.scores = self._buffer(config.vocab_size, last=last_only)
        self._record()
        self.logits = torch.from_numpy(self.program.view(self.scores[0]))
        self._x = torch.from_numpy(self.program.view(self.x[0]))

    def put(self, ids: Any, audio: Tensor) -> None:
        """Audio tokens into the rows of negative ids."""
        self._x[: len(ids)][torch.from_numpy(ids < 0)] = audio.float()

    def _record(self) -> None:
        decoder, config, program = self.decoder, self.config, self.program
        for kind, settings in ((SLIDING, config.rope_sliding), (FULL, config.rope_full)):
            size = config.head_dim if kind == SLIDING else config.global_head_dim
            program.angles(self.angles[kind], self._keep(frequencies(size, settings.rope_theta, settings.rotated)))
        program.lookup(self._table(decoder.embed_tokens), self.x, self._factor(decoder.embed_tokens), -1)
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
            self._table(decoder.embed_tokens_per_layer),
            self.own,
            self._factor(decoder.embed_tokens_per_layer),
            config.pad_token_id,
        )
        self._linear(self.x, (decoder.per_layer_model_projection, self.projected))
        # A norm of x / sqrt(width) is one of x whose epsilon counts `width` times.
        eps, layers = norm.eps * config.hidden_size, config.num_hidden_layers
        self._norm(norm, self.projected, self.own, groups=layers, eps=eps, add=True, scale=2**-0.5)

    def _attention(self, i: int, layer: DecoderLayer) -> None:
        config, program, attention = self.config, self.program, layer.self_attn
        dim, heads, kv_heads = attention.head_dim, attention.heads, attention.kv_heads
        angles = self.angles[config.layer_types[i]]
        last_owner = self.last_only and i == config.first_shared_layer - 1
        self._norm(layer.input_layernorm, self.x, self.h)
        if attention.owns_kv:
            keys_values = [(attention.k_proj, self.k), (attention.v_proj, self.v)]
            self._linear(self.h, *keys_values, *([] if last_owner else [(attention.q_proj, self.q)]))
            self._norm(attention.k_norm, self.k, self.k, groups=kv_heads)
            self._norm(attention.v_norm, self.v, self.v, groups=kv_heads, width=dim)
            program.rotate(self.k, kv_heads, dim, angles)
            program.store(self.k, self.v, kv_heads, dim, i, self._bf16)
        if last_owner:  # every key and value is there: from here on only the last position counts
            buffers = [self.x, self.h, *self.angles.values(), *([self.own] if hasattr(self, "own") else [])]
            program.keep_last([buffer for buffer, _ in buffers])
        if last_owner or not attention.owns_kv:
            self._linear(self.h, (attention.q_proj, self.q))
        self._norm(attention.q_norm, self.q, self.q, groups=heads)
        program.rotate(self.q, heads, dim, angles)
        window, cache = attention.window or 0, config.kv_layer(i)
        program.attend(self.q, self.attended, heads, kv_heads, dim, cache, self._bf16, window, 1.0)
        self._linear(self.attended, (attention.o_proj, self.h))
        self._norm(layer.post_attention_layernorm, self.h, self.x, add=True)

    def _mlp(self, layer: DecoderLayer) -> None:
        parts = (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)
        self._norm(layer.pre_feedforward_layernorm, self.x, self.h)
        self.program.gated(self.h, *(self._matrix(part) for part in parts), self.h)
        scale = 1.0 if self.config.hidden_size_per_layer_input else float(layer.layer_scalar)
        self._norm(layer.post_feedforward_layernorm, self.h, self.x, add=True, scale=scale)

    def _per_layer(self, i: int, layer: DecoderLayer) -> None:
        inner = self.config.hidden_size_per_layer_input
        self._linear(self.x, (layer.per_layer_input_gate, self.inner))
        self.program.gelu_product(self.inner, (self.own[0], i * inner), self.inner, inner)
        self._linear(self.inner, (layer.per_layer_projection, self.h))
        norm = layer.post_per_layer_input_norm
        self._norm(norm, self.h, self.x, add=True, scale=float(layer.layer_scalar))

    def _head(self) -> None:
        decoder, program = self.decoder, self.program
        assert decoder.lm_head is not None, "see `missing`"
        self._norm(decoder.norm, self.x, self.h)
        self._linear(self.h, (decoder.lm_head, self.scores))
        if cast("int", decoder.lm_head.bits) < 8:
            program.rescore(self.h, self.scores, self._table(decoder.embed_tokens), CANDIDATES)
        if self.config.final_logit_softcapping:
            program.soft_cap(self.scores, self.config.vocab_size, self.config.final_logit_softcapping)

    def _buffer(self, width: int, *, last: bool = False) -> Place:
        return self.program.buffer(width, last), 0

    def _linear(self, x: Place, *products: tuple[nn.Module, Place]) -> None:
        self.program.linear(x, [(self._matrix(linear), to) for linear, to in products])

    def _norm(
        self,
        norm: RMSNorm,
        x: Place,
        to: Place,
        *,
        groups: int = 1,
        width: int | None = None,
        eps: float | None = None,
        add: bool = False,
        scale: float = 1.0,
    ) -> None:
        """to = ((to if add) + norm(x)) * scale, for groups of the norm's width."""
        weight = None if norm.weight is None else self._keep(norm.weight.float().contiguous())
        width = width or (len(weight) if weight is not None else 0)
        self.program.rms_norm(x, to, width, groups, weight, norm.eps if eps is None else eps, add, scale)

    def _table(self, table: Any) -> tuple[Tensor, Tensor, int, int, int]:
        return self._keep(table.weight), self._keep(table.scales), table.size, table.width, table.bits

    def _matrix(self, linear: nn.Module) -> tuple[Tensor, Tensor, int, int, int]:
        matrix = native.matrix(linear)
        self._kept += matrix[:2]
        return matrix

    def _factor(self, table: Lookup) -> float:
        """A table's scale, rounded as the decoder's dtype rounds it."""
        return float(torch.tensor(table.scale, dtype=self.decoder.dtype))

    def _keep(self, tensor: Tensor) -> Tensor:
        self._kept.append(tensor)
        return tensor
