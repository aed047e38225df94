"""Gemma 4 hears one clip as it comes: samples in, audio tokens out as soon as they can no longer change.

Put together, the tokens are those of the whole clip (`encoder.py` says why). Token p is final once sample
640 (p + 1) + 1 is there. What is remembered between two pieces has the same size however long the clip.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.models.gemma4.encoder import FRAMES, EncoderState
from auricle.models.gemma4.features import FeatureConfig, MelStream
from auricle.models.gemma4.model import Gemma4


class Ear:
    """See `models.family.Ear`."""

    def __init__(self, model: Gemma4, config: FeatureConfig, device: torch.device, dtype: torch.dtype) -> None:
        assert model.config.audio is not None, "a family without an audio tower is refused when it is opened"
        self.samples = 0
        self.tokens = 0
        self.mel_s = 0.0
        self._model, self._like = model, torch.empty(0, device=device, dtype=dtype)
        self._mel = MelStream(config)
        self._state = EncoderState.of(model.config.audio)
        self._frames = np.empty((0, config.feature_size), dtype=np.float32)  # that make no whole token yet

    @torch.inference_mode()
    def hear(self, samples: NDArray[np.float32], *, last: bool = False) -> Tensor:
        begun = time.perf_counter()
        frames = np.concatenate([self._frames, self._mel.add(samples, last=last)])
        self.mel_s += time.perf_counter() - begun
        self.samples += len(samples)
        ready = len(frames) if last else len(frames) // FRAMES * FRAMES
        self._frames = frames[ready:].copy()
        if not ready:
            return self._like.new_empty(0, self._model.config.text.hidden_size)
        mel = torch.from_numpy(frames[:ready]).to(self._like.device, self._like.dtype)
        heard = self._model.encode(mel[None], state=self._state)[0]
        self.tokens += len(heard)
        return heard
