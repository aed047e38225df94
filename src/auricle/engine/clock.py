"""Where the time of one request went."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from auricle.types import Timings


@dataclass
class Clock:
    """Collects what `Timings` reports; `mark` waits for the device, so that a stage's time is its own."""

    device: torch.device
    started: float = field(default_factory=time.perf_counter)
    begun: float | None = None  # when its turn came
    mel_s: float = 0.0
    encoder_s: float = 0.0
    prefill_s: float = 0.0  # of the passes that read its prompt, others' share in them included
    first_token: float | None = None

    def mark(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()  # not the device: another thread may be capturing
        return time.perf_counter()

    def timings(self, tokens: int = 0) -> Timings:
        """Up to now, `tokens` of which were sampled."""
        now = self.mark()
        first = self.first_token or now
        return Timings(
            queued_s=(self.begun or now) - self.started,
            mel_s=self.mel_s,
            encoder_s=self.encoder_s,
            prefill_s=self.prefill_s,
            ttft_s=first - self.started,
            decode_s=now - first,
            decode_tokens_per_s=(tokens - 1) / (now - first) if tokens > 1 else 0.0,
            total_s=now - self.started,
        )
