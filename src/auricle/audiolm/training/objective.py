"""The model as training calls it: one forward that gives the loss and what is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.training.muon import Muon

NATS, TOKENS, TOP1, TOP10 = range(4)  # rows of what is counted


class Objective(nn.Module):
    """An AudioLM with its loss, since DDP and FSDP look at `forward` alone.

    Args:
        stage: 0 both halves, 1 the AR one, 2 the NAR one.
        bf16: whether products are computed in bfloat16.
    """

    def __init__(self, lm: AudioLM, stage: int, *, bf16: bool) -> None:
        super().__init__()
        self.lm, self._stage, self._bf16 = lm, stage, bf16

    def forward(self, batch: Batch, seed: int, whole: bool = False) -> tuple[Tensor, Tensor]:
        """
        Args:
            seed: of the NAR stage that is drawn.
            whole: all stages instead of a drawn one, without gradients.

        Returns:
            The loss, a scalar: the mean over target tokens. And sums `(4, codebooks)` in float64 of nats, tokens, top-1
            and top-10, with zeros for a codebook that wasn't computed.
        """
        kind = batch.target_codes.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self._bf16):
            if whole:
                losses = self.lm.evaluate(batch, stage=self._stage)
            else:
                generator = torch.Generator().manual_seed(seed)
                losses = self.lm.losses(batch, stage=self._stage, generator=generator)
        counted = (losses.nll_sums, losses.tokens, losses.top1, losses.top10)
        return losses.total, torch.stack([one.detach().double() for one in counted])


def with_prompt(batch: Batch) -> Batch:
    """The same batch; where no row has a prompt, with a frame of padding, which nothing looks at.

    So the same parameters have gradients in all processes, without which FSDP comes to a halt.
    """
    if batch.prompt_frames:
        return batch
    blank = batch.target_codes.new_zeros(len(batch), 1)
    codes = torch.zeros_like(batch.target_codes[:, :1])
    return replace(batch, prompt_codes=codes, prompt_positions=blank, prompt_parts=blank, full_prompts=False)


def frozen(lm: AudioLM, stage: int) -> None:
    """Leaves gradients only to the parts that a stage trains."""
    if stage:
        trained = "ar_" if stage == 1 else "nar_"
        for name, parameter in lm.named_parameters():
            parameter.requires_grad_(name.startswith(trained))


def optimizer_of(model: nn.Module, name: str, rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW or Muon; weight decay is for matrices alone: norms, biases and single numbers are left to the loss."""
    if name == "muon":
        return Muon(_by_kind(model, weight_decay), rate)
    trained = [one for one in model.parameters() if one.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim >= 2], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), eps=1e-8, fused=True)


def _by_kind(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices inside layers, tables and heads, and the rest."""
    trained = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    inside = {name for name, one in trained if one.ndim == 2 and ".layers." in f".{name}"}
    kinds: tuple[tuple[list[nn.Parameter], dict[str, Any]], ...] = (
        ([one for name, one in trained if name in inside], {"matrix": True, "weight_decay": weight_decay}),
        ([one for name, one in trained if name not in inside and one.ndim >= 2], {"weight_decay": weight_decay}),
        ([one for name, one in trained if name not in inside and one.ndim < 2], {}),
    )
    return [{"params": params, **options} for params, options in kinds if params]
