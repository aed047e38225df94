"""Where a run is, and what has been counted since its last line in the log: with the weights, all it takes to go on."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from auricle.audiolm.training.metrics import metrics_of
from auricle.audiolm.training.objective import TOKENS
from auricle.audiolm.training.workers import Workers
from auricle.errors import AuricleError


@dataclass
class Place:
    """Where a run is."""

    epoch: int  # the current one; they count from 1
    step: int = 0  # steps done
    batch: int = 0  # batches of this epoch done, by each process
    best: float = math.inf  # the lowest validation loss
    best_step: int = 0
    validated: int = 0  # the step of the last validation
    due: bool = False  # whether this step still has to be validated
    seconds: float = 0.0  # of training, validation not counted
    finished: bool = False

    def record(self) -> dict[str, Any]:
        return asdict(self)


class Window:
    """Sums over the steps since the last line of the log, on the device: they are read when a line is written."""

    def __init__(self, codebooks: int, workers: Workers) -> None:
        self._workers = workers
        self._counted = torch.zeros(4, codebooks, dtype=torch.float64, device=workers.device)
        self._sums = torch.zeros(2, dtype=torch.float64, device=workers.device)  # loss times frames; norms
        self._frames = self._heard = 0.0  # in all processes: of targets; of targets and prompts
        self._steps = 0
        self._since, self._before = time.perf_counter(), 0.0

    def add_batch(self, loss: Tensor, frames: int, counted: Tensor) -> None:
        """One batch of this process: its mean loss, the target frames it is the mean of, and `Objective`'s sums."""
        self._sums[0] += loss.detach() * frames
        self._counted += counted

    def add_step(self, norm: Tensor, frames: float, heard: float) -> None:
        """One step of all processes."""
        self._sums[1] += norm
        self._frames += frames
        self._heard += heard
        self._steps += 1

    def pause(self, seconds: float) -> None:
        """Leaves time out that went into something else than training."""
        self._since += seconds

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._since

    def state(self) -> dict[str, Any]:
        """Of all processes together, for the main one.

        Raises:
            AuricleError: the loss is no number any more.
        """
        counted, sums = self._totals()
        return {
            "counted": counted,
            "sums": sums,
            "frames": self._frames,
            "heard": self._heard,
            "steps": self._steps,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up what `state` gave: the sums in the main process alone, or they would count several times."""
        if self._workers.main:
            self._counted += state["counted"].to(self._counted)
            self._sums += state["sums"].to(self._sums)
        self._frames, self._heard, self._steps = state["frames"], state["heard"], state["steps"]
        self._before = state["seconds"]

    def line(self, frame_rate: float) -> dict[str, Any] | None:
        """What they come to, for the log, and begins anew; None where there was no step.

        Raises:
            AuricleError: the loss is no number any more.
        """
        if not self._steps:
            return None
        counted, sums = self._totals()
        seconds = self.seconds
        found = metrics_of(counted.numpy())
        record = {
            "loss": float(sums[0]) / self._frames,
            "cross_entropy": [None if one is None else one.cross_entropy for one in found],
            "top10": [None if one is None else one.top10 for one in found],
            "grad_norm": float(sums[1]) / self._workers.count / self._steps,
            "tokens_per_s": float(counted[TOKENS].sum()) / seconds,
            "sound_per_s": self._heard / frame_rate / seconds,
            "seconds": seconds,
        }
        self._counted.zero_()
        self._sums.zero_()
        self._frames = self._heard = self._before = 0.0
        self._steps, self._since = 0, time.perf_counter()
        return record

    def _totals(self) -> tuple[Tensor, Tensor]:
        counted, sums = self._workers.total(self._counted), self._workers.total(self._sums)
        if not bool(torch.isfinite(sums).all()):
            raise AuricleError(
                "the loss is no number any more: lower base_lr, lengthen the warm-up, or use dtype float32; the last "
                "checkpoint is from before"
            )
        return counted, sums
