"""A step of the AR half's decoder as a program of the native kernels: one call a step, no Python between its layers.

Of one new frame, torch's operators cost more than they compute: of a small model most of the step, of a wide one in
bfloat16 a third (docs/log.md). `layers.py` says what a layer is, and is what this is compared with. The stream between
layers is float32; what meets a weight, a key or a value is rounded to the model's type.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from auricle.audiolm.model.cache import Cache
from auricle.audiolm.model.heads import angles
from auricle.audiolm.model.layers import Layer, Transformer
from auricle.layers import native
from auricle.layers.cache import SlotCache

ROWS = 32  # in a batch: up to so many this was measured to be faster than torch
RELU = (0.0, math.inf)

Place = tuple[int, int]  # buffer, first column


def records(decoder: Transformer, rows: int) -> bool:
    """Whether this decoder can be recorded for so many rows."""
    width = decoder.heads * decoder.head_dim
    return rows <= ROWS and width % 32 == 0 and native.takes(_weight(decoder))


def _weight(decoder: Transformer) -> Tensor:
    """One for all: they are of one type and in one place."""
    return cast("Layer", decoder.layers[0]).linear1.weight


class Recording:
    """The step, and the keys and values of its rows.

    Args:
        lens: `(rows,)`, frames of the prompts.
        steps: that will be run.
        rotary: whether queries and keys are turned by their positions.
    """

    def __init__(self, decoder: Transformer, lens: Tensor, steps: int, *, rotary: bool) -> None:
        self._decoder, self._rotary, self._slot = decoder, rotary, lens.numpy().copy()
        self._kept: list[Tensor] = []  # what the program points to
        rows, width = len(lens), decoder.heads * decoder.head_dim
        dtype = _weight(decoder).dtype
        self._bf16 = dtype == torch.bfloat16
        self._caches = [
            [SlotCache(decoder.heads, decoder.head_dim, dtype, window=None) for _ in decoder.layers]
            for _ in range(rows)
        ]
        for layers, length in zip(self._caches, lens.tolist(), strict=True):
            for cache in layers:
                cache.reserve(length + steps)
        self._program = native.ready().Program(rows, 1)
        self._x, self._read, self._heard = self._buffer(width), self._buffer(width), self._buffer(width)
        self._parts, self._wide = self._buffer(3 * width), self._buffer(4 * width)
        self._angles = self._buffer(decoder.head_dim)
        for index, layer in enumerate(cast("list[Layer]", list(decoder.layers))):
            self._record(index, layer)
        if decoder.norm is not None:
            self._norm(decoder.norm, self._x)

    def fill(self, cache: Cache) -> None:
        """Takes the keys and values of the prompts."""
        for row, (layers, length) in enumerate(zip(self._caches, self._slot.tolist(), strict=True)):
            for index, own in enumerate(layers):
                own.fill(*cache.of(index, row, length))

    def run(self, x: Tensor, positions: Tensor) -> Tensor:
        """`(rows, width)` embeddings at `(rows,)` -> `(rows, width)`, of the same type."""
        rows = len(x)
        stream = self._view(self._x)
        stream[:] = x
        if self._rotary:
            cosines, sines = angles(positions[:, None], self._decoder.head_dim, stream)
            self._view(self._angles)[:] = torch.cat([cosines, sines], dim=-1).view(rows, -1)
        places = np.stack([np.arange(rows), self._slot], axis=1)
        held = [[(one.keys.data_ptr(), one.values.data_ptr(), one.capacity) for one in row] for row in self._caches]
        native.ready()  # as many threads as torch has now
        nothing = np.zeros(rows, dtype=np.uint8)  # no logits: they are torch's
        self._program.run(np.full(rows, -1), places, np.array(held), nothing)
        self._slot += 1
        return stream.to(x.dtype, copy=True)

    def _record(self, index: int, layer: Layer) -> None:
        program, decoder, attention = self._program, self._decoder, layer.self_attn
        heads, dim, width = decoder.heads, decoder.head_dim, decoder.heads * decoder.head_dim
        queries, keys, values = ((self._parts[0], part * width) for part in range(3))
        read = self._read if layer.norm_first else self._x
        if layer.norm_first:
            self._norm(layer.norm1, read)
        self._linear(read, attention.in_proj_weight, attention.in_proj_bias, self._parts)
        if self._rotary:
            program.rotate(queries, heads, dim, self._angles)
            program.rotate(keys, heads, dim, self._angles)
        program.store(keys, values, heads, dim, index, self._bf16)
        program.attend(queries, self._heard, heads, heads, dim, index, self._bf16, 0, dim**-0.5)
        self._linear(self._heard, attention.out_proj.weight, attention.out_proj.bias, self._x, add=True)
        self._norm(layer.norm2 if layer.norm_first else layer.norm1, read)
        self._linear(read, layer.linear1.weight, layer.linear1.bias, self._wide, clip=RELU)
        self._linear(self._wide, layer.linear2.weight, layer.linear2.bias, self._x, add=True)
        if not layer.norm_first:
            self._norm(layer.norm2, self._x)

    def _linear(
        self,
        x: Place,
        weight: Tensor,
        bias: Tensor,
        to: Place,
        *,
        clip: native.Clip = native.EVERYTHING,
        add: bool = False,
    ) -> None:
        self._program.dense(x, self._keep(weight), self._keep(bias.float()), to, clip, add)

    def _norm(self, norm: nn.Module, to: Place) -> None:
        """Of the stream."""
        assert isinstance(norm, nn.LayerNorm)
        self._program.layer_norm(self._x, to, self._keep(norm.weight.float()), self._keep(norm.bias.float()), norm.eps)

    def _keep(self, tensor: Tensor) -> Tensor:
        self._kept.append(tensor.detach())
        return self._kept[-1]

    def _buffer(self, width: int) -> Place:
        return self._program.buffer(width), 0

    def _view(self, place: Place) -> Tensor:
        return torch.from_numpy(self._program.view(place[0]))
