"""Cross-entropy, and what is counted beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NEAR = 10


@dataclass(frozen=True)
class Score:
    """How one codebook's tokens were predicted."""

    mean: Tensor  # nats a token; carries the gradient
    nll_sum: Tensor  # nats
    tokens: Tensor
    top1: Tensor  # tokens that were the likeliest
    top10: Tensor  # tokens among the ten likeliest


@dataclass(frozen=True)
class Losses:
    """One batch. Sums are over what is no padding, by codebook; zeros for codebooks that were not looked at."""

    total: Tensor  # nats a token, averaged over the halves that ran; carries the gradient
    nll_sums: Tensor  # (codebooks,) float64
    tokens: Tensor  # (codebooks,) int64
    top1: Tensor  # (codebooks,) int64
    top10: Tensor  # (codebooks,) int64

    @classmethod
    def of(cls, total: Tensor, scores: Mapping[int, Score], codebooks: int) -> Losses:
        """From a score for each codebook that was looked at."""

        def row(name: str, dtype: torch.dtype) -> Tensor:
            sums = torch.zeros(codebooks, dtype=dtype, device=total.device)
            for codebook, score in scores.items():
                sums[codebook] = getattr(score, name).detach()
            return sums

        counts = {name: row(name, torch.int64) for name in ("tokens", "top1", "top10")}
        return cls(total=total, nll_sums=row("nll_sum", torch.float64), **counts)


def score(logits: Tensor, targets: Tensor) -> Score:
    """`(tokens, size)` logits of any float type against `(tokens,)` ids."""
    logits = logits.float()
    nll = F.cross_entropy(logits, targets, reduction="none")
    with torch.no_grad():
        above = (logits > logits.gather(1, targets[:, None])).sum(1)
    count = torch.tensor(len(targets), device=logits.device)
    total = nll.sum()
    # No token at all (rows of ends only) is a loss of 0, and not a quotient that poisons the weights.
    return Score(total / max(len(targets), 1), total, count, (above < 1).sum(), (above < NEAR).sum())
