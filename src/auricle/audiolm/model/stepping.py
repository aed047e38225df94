"""What the AR half predicts a step from: over a cache, by the native kernels where they can, or without a cache."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from auricle.audiolm.model.ar import Autoregressive
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.cache import Cache
from auricle.audiolm.model.masks import key_mask, prefix_mask
from auricle.audiolm.model.program import StepProgram, runs


def cached(model: Autoregressive, batch: Batch, steps: int) -> Cached:
    """The fastest for this model and machine, of at most so many steps."""
    return (Native if runs(model.ar_decoder) else Plain)(model, batch, steps)


class Cached:
    """Hidden states of one step after the other, each computed once."""

    def __init__(self, model: Autoregressive, batch: Batch) -> None:
        self._model, self._batch = model, batch

    def hidden(self, ids: Tensor) -> Tensor:
        """`(rows, steps so far, streams)` -> `(rows, width)` of the last of them."""
        if ids.shape[1] == 1:
            read = self._read() if self._batch.prompt_frames else None
            if not self._model.config.prepend_bos:
                return self._model.ar_last(self._batch, read)[:, 0]
        positions = self._batch.left_lens[:, None] + ids.shape[1] - 1
        return self._step(self._model.ar_inputs(ids[:, -1:], positions, self._batch.left_lens), positions)

    def _read(self) -> Tensor:
        """Reads the prompt: `(rows, prompt frames, width)`."""
        raise NotImplementedError

    def _step(self, x: Tensor, positions: Tensor) -> Tensor:
        """`(rows, 1, width)` embeddings at `(rows, 1)` -> `(rows, width)`."""
        raise NotImplementedError

    def _room(self, tokens: int) -> Cache:
        decoder, like = self._model.ar_decoder, self._model.ar_predict_layer.weight
        rows = len(self._batch)
        shape = len(decoder.layers), rows, decoder.heads, tokens, decoder.head_dim
        return Cache(*shape, dtype=like.dtype, device=like.device)

    def _read_into(self, cache: Cache) -> Tensor:
        batch, model = self._batch, self._model
        x = model.ar_prompt(batch)
        mask = None if batch.full_prompts else prefix_mask(batch.prompt_lens, batch.prompt_frames)
        return model.ar_pass(x, batch.prompt_positions, mask=mask, cache=cache)


class Plain(Cached):
    """By torch's operators."""

    def __init__(self, model: Autoregressive, batch: Batch, steps: int) -> None:
        super().__init__(model, batch)
        prompt = batch.prompt_frames
        self._cache = self._room(prompt + steps)
        self._mask = None if batch.full_prompts else F.pad(key_mask(batch.prompt_lens, prompt), (0, steps), value=True)

    def _read(self) -> Tensor:
        return self._read_into(self._cache)

    def _step(self, x: Tensor, positions: Tensor) -> Tensor:
        mask = None if self._mask is None else self._mask[..., : self._cache.filled + 1]
        return self._model.ar_pass(x, positions, mask=mask, cache=self._cache)[:, -1]


class Native(Cached):
    """By the native kernels, once torch has read the prompt."""

    def __init__(self, model: Autoregressive, batch: Batch, steps: int) -> None:
        super().__init__(model, batch)
        rotary = model.config.positions == "rotary"
        self._program = StepProgram(model.ar_decoder, batch.prompt_lens, steps, rotary=rotary)

    def _read(self) -> Tensor:
        cache = self._room(self._batch.prompt_frames)
        read = self._read_into(cache)
        self._program.fill(cache)
        return read

    def _step(self, x: Tensor, positions: Tensor) -> Tensor:
        return self._program.run(x[:, 0], positions[:, 0])


class Uncached:
    """The same from the beginning for every step: what `Cached` is compared with."""

    def __init__(self, model: Autoregressive, batch: Batch) -> None:
        self._model, self._batch = model, batch

    def hidden(self, ids: Tensor) -> Tensor:
        """`(rows, steps so far, streams)` -> `(rows, width)` of the last of them."""
        steps, read = ids.shape[1], self._batch.prompt_frames
        lens = torch.full_like(self._batch.target_lens, steps)  # a short row goes on, unheard, as long as the others
        batch = replace(self._batch, target_codes=ids, target_lens=lens, longest=read + steps)
        return self._model.ar_hidden(batch, ids)[:, -1]
