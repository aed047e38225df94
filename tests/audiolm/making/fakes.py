"""A codec that loses almost nothing, and models whose answers are known: what is tested is what stands around them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.audiolm.loading import Loaded
from auricle.audiolm.model.config import AudioLMConfig
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.model.sampling import TokenSampling
from auricle.errors import CancelledError

RATE, FRAME = 8000, 40


class PcmCodec:
    """Each sample is a code of 12 bits: a frame of 40 samples has 40 codebooks. Streams hold back `late` frames."""

    name, rate, frame, codebooks, size = "pcm", RATE, FRAME, FRAME, 4096
    frame_rate = RATE / FRAME
    device = torch.device("cpu")

    def __init__(self, late: int = 3) -> None:
        self.late = late

    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.int64]:
        padded = np.zeros(-(-len(samples) // FRAME) * FRAME)
        padded[: len(samples)] = samples
        return np.clip(np.rint((padded + 1) * 2047.5), 0, 4095).astype(np.int64).reshape(-1, FRAME)

    def decode(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        return (codes.reshape(-1) / 2047.5 - 1).astype(np.float32)

    def stream(self) -> PcmStream:
        return PcmStream(self)


class PcmStream:
    def __init__(self, codec: PcmCodec) -> None:
        self._codec, self._held = codec, np.zeros((0, FRAME), np.int64)

    def push(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        held = np.concatenate([self._held, codes])
        ready = max(0, len(held) - self._codec.late)
        self._held = held[ready:]
        return self._codec.decode(held[:ready])

    def finish(self) -> NDArray[np.float32]:
        return self._codec.decode(self._held)


class Echo:
    """Says again what stands `period` frames before, and remembers what it was asked; may end after `ends` frames."""

    def __init__(self, period: int = 20, max_frames: int = 400, ends: int | None = None) -> None:
        self.config = SimpleNamespace(**vars(AudioLMConfig(d_model=8, nhead=1)) | {"max_frames": max_frames})
        self.config.frame_rate = PcmCodec.frame_rate
        self.device = torch.device("cpu")
        self.period, self.ends = period, ends
        self.asked: list[tuple[Prompt, int, TokenSampling]] = []
        self.judged: list[tuple[Prompt, Tensor]] = []

    def parameters(self) -> list[Tensor]:
        return []

    def generate(
        self,
        prompts: Sequence[Prompt],
        frames: int,
        sampling: TokenSampling,
        *,
        cache: bool = True,
        cancel: threading.Event | None = None,
        step: Callable[[int], None] | None = None,
    ) -> list[Tensor]:
        found = []
        for prompt in prompts:
            self.asked.append((prompt, frames, sampling))
            if cancel is not None and cancel.is_set():
                raise CancelledError("the generation was cancelled")
            known = prompt.left if len(prompt.left) else prompt.right
            count = frames if self.ends is None else min(frames, self.ends)
            rows = torch.arange(count) % min(self.period, len(known)) - min(self.period, len(known))
            found.append(known[rows])
        if step is not None:
            step(frames)
        return found

    def nats(self, prompts: Sequence[Prompt], targets: Sequence[Tensor]) -> list[float]:
        """How many codes are others than it would say."""
        asked = list(zip(prompts, targets, strict=True))
        self.judged += asked
        rows = [torch.arange(len(target)) % self.period - self.period for _, target in asked]
        return [float((one.left[row] != target).sum()) for row, (one, target) in zip(rows, asked, strict=True)]


def loaded(lm: Any = None, codec: Any = None) -> Loaded:
    return Loaded(lm or Echo(), codec or PcmCodec())


def wave(seconds: float, hertz: float = 200.0, rate: int = RATE, amplitude: float = 0.5) -> NDArray[np.float32]:
    """A tone with two overtones; its period of 200 Hz is one frame of the codec."""
    time = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2, 3))
    return (amplitude * tones / 1.6).astype(np.float32)
