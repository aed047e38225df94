"""Gemma 4's decoder as a program of the native kernels: what `decoder.py` computes, in one call a token or prompt.

For packed decoders on a CPU. Activations are float32 throughout, whatever the decoder's dtype, and linears take them
in int8; keys and values have the decoder's dtype. `decoder.py` says what is unusual about the model, and is what this
is compared with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from auricle.layers import native
from auricle.layers.cache import SLACK, SlotCache
from auricle.layers.norms import RMSNorm
from auricle.layers.rotary import frequencies
from auricle.layers.table import CANDIDATES, Lookup
from auricle.models.family import Part
from auricle.models.gemma4.config import FULL, SLIDING
from auricle.models.gemma4.decoder import Decoder, DecoderLayer

ROWS = SLACK  # positions that are read at a time, of all requests: more gain little and take 0.2 MB each
WANTED = 16  # of these, whose logits are wanted, which take 1 MB each

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
    """Keys and values of one request, for the layers that own them."""

    def __init__(self, decoder: Decoder) -> None:
        config = decoder.config
        self.length = 0  # positions read so far
        self._reached = 0  # the most there ever were: their slots have been written
        self.layers = [
            SlotCache(
                config.num_key_value_heads,
                config.layer_head_dim(i),
                decoder.dtype,
                window=config.sliding_window if config.layer_types[i] == SLIDING else None,
            )
            for i in range(config.first_shared_layer)
        ]
        self._places = np.zeros((len(self.layers), 3), dtype=np.int64)

    @property
    def shortest(self) -> int:
        """The least length that it can be forked or truncated to."""
        return max(layer.shortest(self._reached) for layer in self.layers)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    def truncate(self, length: int) -> None:
        """Forgets positions from `length` on."""
        assert self.shortest <= length <= self.length
        self.length = length

    def fork(self, length: int) -> ProgramCache:
        """One that goes on by itself from this length."""
        assert self.shortest <= length <= self.length
        copy = ProgramCache.__new__(ProgramCache)
        copy.length, copy._reached = length, self._reached
        copy.layers = [layer.fork() for layer in self.layers]
        copy._places = np.zeros_like(self._places)
        for place, layer in zip(copy._places, copy.layers, strict=True):
            place[:] = layer.keys.data_ptr(), layer.values.data_ptr(), layer.capacity
        return copy

    def reserve(self, rows: int) -> Any:
        """Makes room for new positions; where each layer's keys and values are, and how many slots: `(layers, 3)`.

        From here on their slots count as written: a pass may be broken off before it is counted.
        """
        self._reached = max(self._reached, self.length + rows)
        for place, layer in zip(self._places, self.layers, strict=True):
            if layer.reserve(self.length + rows):
                place[:] = layer.keys.data_ptr(), layer.values.data_ptr(), layer.capacity
        return self._places

    def advance(self, rows: int) -> None:
        """Counts positions that were read."""
        self.length += rows


class DecoderProgram:
    """Reads token ids and audio tokens into caches of requests and gives logits. One call at a time; others wait."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._alone = threading.Lock()
        self._recording: _Recording | None = None

    @torch.inference_mode()  # buffers that were made in that mode can't be written to outside of it
    def read(self, parts: Sequence[Part], audio_token: int) -> list[Tensor]:
        """See `Family.read`."""
        vocabulary = self.decoder.config.vocab_size
        given = [[torch.empty(0, vocabulary)] for _ in parts]
        with self._alone:
            native.ready()  # as many threads as torch has now
            self._recording = self._recording or _Recording(self.decoder)
            for batch in _passes([_Share(i, part, audio_token, self.decoder) for i, part in enumerate(parts)]):
                logits, at = self._recording.run(batch), 0
                for piece in batch:
                    given[piece.share.number].append(logits[at : at + piece.wanted].clone())
                    at += piece.wanted
        return [rows[1] if len(rows) == 2 else torch.cat(rows) for rows in given]


class _Share:
    """What a part brings to the passes: its ids as the tables know them, -1 where an audio token goes."""

    def __init__(self, number: int, part: Part, audio_token: int, decoder: Decoder) -> None:
        self.number, self.part = number, part
        self.ids = np.array(part.ids, dtype=np.int64)
        # An audio token without sound, which a model may sample, is the pad token, as in `Decoder.embed`.
        self.ids[self.ids == audio_token] = decoder.config.pad_token_id if part.audio is None else -1
        self.heard = np.cumsum(self.ids < 0)  # audio tokens up to each position


@dataclass(frozen=True)
class _Piece:
    """Positions [start, end) of a share in one pass."""

    share: _Share
    start: int
    end: int

    @property
    def wanted(self) -> int:
        """Of how many of them the logits are wanted."""
        first = len(self.share.ids) - self.share.part.wanted
        return max(0, self.end - max(self.start, first))

    @property
    def audio(self) -> Tensor | None:
        if self.share.part.audio is None:
            return None
        before = self.share.heard[self.start - 1] if self.start else 0
        return self.share.part.audio[before : self.share.heard[self.end - 1]]


def _passes(shares: Sequence[_Share]) -> Iterator[list[_Piece]]:
    """Deals positions out to passes of at most `ROWS`, with at most `WANTED` whose logits are wanted."""
    batch: list[_Piece] = []
    rows, wanted = ROWS, WANTED
    for share in shares:
        start, count = 0, len(share.ids)
        while start < count:
            unwanted = max(0, count - share.part.wanted - start)
            end = min(count, start + min(rows, unwanted + wanted))
            if end > start:
                batch.append(_Piece(share, start, end))
                rows, wanted, start = rows - (end - start), wanted - batch[-1].wanted, end
            if start < count:
                yield batch
                batch, rows, wanted = [], ROWS, WANTED
    if batch:
        yield batch


class _Recording:
    """The operations of a pass in order, and the buffers between them: each `(rows, width)`."""

    def __init__(self, decoder: Decoder) -> None:
        config = self.config = decoder.config
        self.decoder = decoder
        self.program = native.ready().Program(ROWS, WANTED)
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
        self.scores = self._buffer(config.vocab_size, last=True)
        self._record()
        self.logits = torch.from_numpy(self.program.view(self.scores[0]))
        self._x = torch.from_numpy(self.program.view(self.x[0]))

    def run(self, batch: Sequence[_Piece]) -> Tensor:
        """One pass: `(wanted, vocabulary)` logits, which the next one writes over."""
        count, row = sum(piece.end - piece.start for piece in batch), 0
        ids, places = np.empty(count, dtype=np.int64), np.empty((count, 2), dtype=np.int64)
        wanted = np.zeros(count, dtype=np.uint8)
        caches = np.empty((len(batch), self.config.first_shared_layer, 3), dtype=np.int64)
        for i, piece in enumerate(batch):
            cache, rows = piece.share.part.cache, slice(row, row + piece.end - piece.start)
            ids[rows] = piece.share.ids[piece.start : piece.end]
            places[rows, 0] = i
            places[rows, 1] = np.arange(cache.length, cache.length + piece.end - piece.start)
            wanted[rows.stop - piece.wanted : rows.stop] = 1
            caches[i] = cache.reserve(piece.end - piece.start)
            if (audio := piece.audio) is not None and len(audio):
                self._x[rows][torch.from_numpy(ids[rows] < 0)] = audio.float()
            row = rows.stop
        self.program.run(ids, places, caches, wanted)
        for piece in batch:
            piece.share.part.cache.advance(piece.end - piece.start)
        return self.logits[: int(wanted.sum())]

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
        last_owner = i == config.first_shared_layer - 1
        self._norm(layer.input_layernorm, self.x, self.h)
        if attention.owns_kv:
            keys_values = [(attention.k_proj, self.k), (attention.v_proj, self.v)]
            self._linear(self.h, *keys_values, *([] if last_owner else [(attention.q_proj, self.q)]))
            self._norm(attention.k_norm, self.k, self.k, groups=kv_heads)
            self._norm(attention.v_norm, self.v, self.v, groups=kv_heads, width=dim)
            program.rotate(self.k, kv_heads, dim, angles)
            program.store(self.k, self.v, kv_heads, dim, i, self._bf16)
        if last_owner:  # every key and value is there: from here on only wanted positions count
            buffers = [self.x, self.h, *self.angles.values(), *([self.own] if hasattr(self, "own") else [])]
            program.keep([buffer for buffer, _ in buffers])
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
