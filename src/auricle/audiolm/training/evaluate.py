"""A model measured on held-out items: every codebook's tokens, each from the true ones before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.prompt import LEFT
from auricle.audiolm.training.metrics import Baselines, Metrics, mean_loss, metrics_of
from auricle.audiolm.training.tokens import Measured
from auricle.audiolm.training.workers import Single


@dataclass(frozen=True)
class Evaluation:
    """What a pass over held-out items came to, by codebook; None where a stage doesn't train one."""

    model: list[Metrics | None]
    unigram: list[Metrics | None]
    copy_last: list[Metrics | None]

    @property
    def loss(self) -> float:
        """Nats a token, the mean over the codebooks that are trained."""
        return mean_loss(self.model)

    def record(self) -> dict[str, Any]:
        return {
            "loss": self.loss,
            **_columns(self.model),
            "baselines": {"unigram": _columns(self.unigram), "copy_last": _columns(self.copy_last)},
        }


def evaluate(
    model: nn.Module,
    measured: Measured,
    baselines: Baselines,
    workers: Single,
    interrupted: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Measures an `Objective`, each process its share.

    Args:
        interrupted: asked before each batch; None is returned once it is so in any process.

    Raises:
        InputError: an item can't be read.
    """
    was_training = model.training
    model.eval()
    sums = torch.zeros(3, 4, baselines.counts.shape[0], dtype=torch.float64)
    try:
        with torch.no_grad():
            for batch, counts in measured.shared(workers.rank, workers.count):
                if workers.summed([float(interrupted())])[0]:
                    return None
                found = model(batch.to(workers.device), 0, True)[1].cpu()
                if counts:
                    sums[0] += found
                    sums[1:] += torch.from_numpy(_guessed(batch, baselines))
    finally:
        model.train(was_training)
    model_sums, unigram, copied = workers.total(sums).numpy()
    # Where a stage leaves a codebook out, it has nothing to be compared with.
    trained = model_sums[1] > 0
    return Evaluation(*(metrics_of(np.where(trained, one, 0)) for one in (model_sums, unigram, copied)))


def _guessed(batch: Batch, baselines: Baselines) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Sums `(2, 4, codebooks)` of the two baselines over a batch's targets."""
    there = (torch.arange(batch.target_frames) < batch.target_lens[:, None]).numpy()
    tokens, before = batch.target_codes.numpy()[there], previous(batch).numpy()[there]
    return np.stack([baselines.unigram(tokens), baselines.copy_last(tokens, before)])


def previous(batch: Batch) -> Tensor:
    """The frame before each frame of the targets, as `target_codes`: -1 where there is none."""
    prompt = torch.arange(batch.prompt_frames) < batch.prompt_lens[:, None]
    last = prompt & (batch.prompt_parts == LEFT) & (batch.prompt_positions == batch.left_lens[:, None])
    found = torch.where(last[..., None], batch.prompt_codes, -1).amax(1, keepdim=True) if batch.prompt_frames else None
    first = torch.full_like(batch.target_codes[:, :1], -1) if found is None else found
    return torch.cat([first, batch.target_codes[:, :-1]], dim=1)


def _columns(metrics: list[Metrics | None]) -> dict[str, list[float | None]]:
    """Each measure as a list over the codebooks."""
    names = ("tokens", "cross_entropy", "perplexity", "top1", "top10")
    return {name: [None if one is None else getattr(one, name) for one in metrics] for name in names}
