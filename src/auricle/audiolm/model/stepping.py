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
from auricle.audiolm.model.recording import Recording, records


def stepper(model: Autoregressive, batch: Batch, steps: int) -> Cached:
    """The fastest for this model, batch and machine."""
    return (Recorded if records(model.ar_decoder, len(batch)) else Cached)(model, batch, steps)


class Cached:
    """Hidden states of one step after the other, each computed once."""

    def __init__(self, model: Autoregressive, batch: Batch, steps: int) -> None:
        decoder, prompt = model.ar_decoder, batch.prompt_frames
        like = model.ar_predict_layer.weight
        self._model, self._batch = model, batch
        self._cache = Cache(
            *(len(decoder.layers), len(batch), decoder.heads, prompt + steps, decoder.head_dim),
            dtype=like.dtype,
            device=like.device,
        )
        self._mask = None if batch.full_prompts else F.pad(key_mask(batch.prompt_lens, prompt), (0, steps), value=True)

    def hidden(self, ids: Tensor) -> Tensor:
        """`(rows, steps so far, streams)` -> `(rows, width)` of the last of them."""
        if ids.shape[1] == 1:
            heard = self._prompt() if self._batch.prompt_frames else None
            if not self._model.config.prepend_bos:
                return self._model.ar_last(self._batch, heard)[:, 0]
        positions = self._batch.left_lens[:, None] + ids.shape[1] - 1
        return self._step(self._model.ar_inputs(ids[:, -1:], positions, self._batch.left_lens), positions)

    def _prompt(self) -> Tensor:
        batch, model = self._batch, self._model
        x = model.ar_prompt(batch)
        mask = None if batch.full_prompts else prefix_mask(batch.prompt_lens, batch.prompt_frames)
        return model.ar_pass(x, batch.prompt_positions, mask=mask, cache=self._cache)

    def _step(self, x: Tensor, positions: Tensor) -> Tensor:
        mask = None if self._mask is None else self._mask[..., : self._cache.filled + 1]
        return self._model.ar_pass(x, positions, mask=mask, cache=self._cache)[:, -1]


class Recorded(Cached):
    """The same by the native kernels, once the prompt is read."""

    def __init__(self, model: Autoregressive, batch: Batch, steps: int) -> None:
        super().__init__(model, batch, 0)
        rotary = model.config.positions == "rotary"
        self._recording = Recording(model.ar_decoder, batch.prompt_lens, steps, rotary=rotary)

    def _prompt(self) -> Tensor:
        heard = super()._prompt()
        self._recording.fill(self._cache)
        return heard

    def _step(self, x: Tensor, positions: Tensor) -> Tensor:
        return self._recording.run(x[:, 0], positions[:, 0])


class Uncached:
    """The same from the beginning for every step: what `Cached` is compared with."""

    def __init__(self, model: Autoregressive, batch: Batch) -> None:
        self._model, self._batch = model, batch

    def hidden(self, ids: Tensor) -> Tensor:
        """`(rows, steps so far, streams)` -> `(rows, width)` of the last of them."""
        steps, heard = ids.shape[1], self._batch.prompt_frames
        lens = torch.full_like(self._batch.target_lens, steps)  # a short row goes on, unheard, as long as the others
        batch = replace(self._batch, target_codes=ids, target_lens=lens, longest=heard + steps)
        return self._model.ar_hidden(batch, ids)[:, -1]
