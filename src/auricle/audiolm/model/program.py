"""A step of the AR half's decoder as a program of the native kernels: one call a step, no Python between its layers.

For one new frame, calling torch's operators takes longer than what they compute: of a small model most of the step, of
a wide one in bfloat16 a third (docs/log.md). `layers.py` says what a layer is, and is what this is compared with. The
stream between layers is float32; what meets a weight, a key or a value is rounded to the model's type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from auricle.audiolm.model.cache import Cache
from auricle.audiolm.model.heads import angles
from auricle.audiolm.model.layers import Layer, Transformer
from auricle.layers import native
from auricle.layers.cache import SlotCache

RELU = (0.0, math.inf)

Place = tuple[int, int]  # buffer, first column


def runs(decoder: Transformer) -> bool:
    """Whether there is a program of this decoder."""
    return decoder.heads * decoder.head_dim % 32 == 0 and native.takes(_weight(decoder))


class StepProgram:
    """The step, with the keys and values of its rows.

    Args:
        lens: `(rows,)`, frames of the prompts.
        steps: how often it will be run, at most.
        rotary: whether queries and keys are turned by their positions.
    """

    def __init__(self, decoder: Transformer, lens: Tensor, steps: int, *, rotary: bool) -> None:
        self._rotary, self._heads, self._head_dim = rotary, decoder.heads, decoder.head_dim
        self._lens, self._most = lens.numpy().copy(), lens.numpy() + steps
        dtype = _weight(decoder).dtype
        self._bf16 = dtype == torch.bfloat16
        self._caches = [_caches(decoder, dtype, most) for most in self._most.tolist()]
        # They have all the room that they will need, and stay where they are.
        self._places = np.array([[cache.place for cache in layers] for layers in self._caches])
        self._program = native.ready().Program(len(lens), 1)
        width = decoder.heads * decoder.head_dim
        self._x, self._normed, self._attended = self._buffer(width), self._buffer(width), self._buffer(width)
        self._projected, self._wide = self._buffer(3 * width), self._buffer(4 * width)
        self._angles = self._buffer(decoder.head_dim)
        for index, layer in enumerate(_layers(decoder)):
            self._record(index, layer)
        if decoder.norm is not None:
            self._norm(decoder.norm, self._x)

    def fill(self, cache: Cache) -> None:
        """Takes the keys and values of the prompts, before the first step."""
        for row, (layers, length) in enumerate(zip(self._caches, self._lens.tolist(), strict=True)):
            for index, own in enumerate(layers):
                own.fill(*cache.of(index, row, length))

    def run(self, x: Tensor, positions: Tensor) -> Tensor:
        """`(rows, width)` embeddings at `(rows,)` -> `(rows, width)`, of the same type."""
        rows = len(x)
        assert rows == len(self._lens) and bool((self._lens < self._most).all()), "another batch, or a step too many"
        stream = self._view(self._x)
        stream[:] = x
        if self._rotary:
            cosines, sines = angles(positions[:, None], self._head_dim, stream)
            self._view(self._angles)[:] = torch.cat([cosines, sines], dim=-1).view(rows, -1)
        native.ready()  # as many threads as torch has now
        no_tokens, no_logits = np.full(rows, -1), np.zeros(rows, dtype=np.uint8)  # embedding and head are torch's
        self._program.run(no_tokens, np.stack([np.arange(rows), self._lens], axis=1), self._places, no_logits)
        self._lens += 1
        return stream.to(x.dtype, copy=True)

    def _record(self, index: int, layer: Layer) -> None:
        """What `Layer.forward` does."""
        program, attention, heads, dim = self._program, layer.self_attn, self._heads, self._head_dim
        queries, keys, values = ((self._projected[0], part * heads * dim) for part in range(3))
        read = self._normed if layer.norm_first else self._x
        if layer.norm_first:
            self._norm(layer.norm1, read)
        self._linear(read, attention.in_proj_weight, attention.in_proj_bias, self._projected)
        if self._rotary:
            program.rotate(queries, heads, dim, self._angles)
            program.rotate(keys, heads, dim, self._angles)
        program.store(keys, values, heads, dim, index, self._bf16)
        program.attend(queries, self._attended, heads, heads, dim, index, self._bf16, 0, dim**-0.5)
        self._linear(self._attended, attention.out_proj.weight, attention.out_proj.bias, self._x, add=True)
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
        self._program.dense(x, weight.detach(), bias.detach().float(), to, clip, add)

    def _norm(self, norm: nn.Module, to: Place) -> None:
        """Of the stream."""
        assert isinstance(norm, nn.LayerNorm)
        weight, bias = norm.weight.detach().float(), norm.bias.detach().float()
        self._program.layer_norm(self._x, to, weight, bias, norm.eps)

    def _buffer(self, width: int) -> Place:
        return self._program.buffer(width), 0

    def _view(self, place: Place) -> Tensor:
        return torch.from_numpy(self._program.view(place[0]))


def _caches(decoder: Transformer, dtype: torch.dtype, positions: int) -> list[SlotCache]:
    """Those of one row, with room."""
    caches = [SlotCache(decoder.heads, decoder.head_dim, dtype, window=None) for _ in decoder.layers]
    for cache in caches:
        cache.reserve(positions)
    return caches


def _layers(decoder: Transformer) -> Sequence[Layer]:
    return cast("list[Layer]", list(decoder.layers))


def _weight(decoder: Transformer) -> Tensor:
    """One for all: they are of one type and in one place."""
    return _layers(decoder)[0].linear1.weight
