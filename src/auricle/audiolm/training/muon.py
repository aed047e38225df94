"""Muon for the matrices inside layers, AdamW for the rest, as one optimiser.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) makes a matrix's momentum about orthogonal, so
that each step moves all its directions alike. torch has one, for matrices only and one by one; here those of one shape
go through together, which a small model on a CPU gains by, and the rest is not left to a second optimiser.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

MOMENTUM = 0.95
ROUNDS = 5
FASTER = 10.0  # times the rate of the rest: its steps have the size of a matrix's spectral norm, whatever the loss
QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients: fast to about 1, rather than exactly there


class Muon(torch.optim.Optimizer):
    """Groups with `matrix` set go by Muon, at ten times `lr`; the others by AdamW."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float] = (0.9, 0.95)) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0, "matrix": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            given = [one for one in group["params"] if one.grad is not None]
            (self._matrices if group["matrix"] else self._others)(given, group)

    def _matrices(self, given: list[Tensor], group: dict[str, Any]) -> None:
        shapes: dict[torch.Size, list[Tensor]] = {}
        for one in given:
            shapes.setdefault(one.shape, []).append(one)
        for shape, alike in shapes.items():
            steps = orthogonal(torch.stack([self._nesterov(one) for one in alike]).flatten(2)).view(-1, *shape)
            rate = FASTER * group["lr"] * max(1.0, shape[0] / shape[1:].numel()) ** 0.5
            for one, step in zip(alike, steps, strict=True):
                one.mul_(1 - group["lr"] * group["weight_decay"])
                one.add_(step.to(one.dtype), alpha=-rate)

    def _nesterov(self, one: Tensor) -> Tensor:
        state = self.state[one]
        if not state:
            state["momentum"] = torch.zeros_like(one)
        assert one.grad is not None
        momentum: Tensor = state["momentum"].lerp_(one.grad, 1 - MOMENTUM)
        return one.grad.lerp(momentum, MOMENTUM)

    def _others(self, given: list[Tensor], group: dict[str, Any]) -> None:
        grads: list[Tensor] = []
        for one in given:
            assert one.grad is not None
            grads.append(one.grad)
            if not self.state[one]:
                self.state[one] |= {
                    "exp_avg": torch.zeros_like(one),
                    "exp_avg_sq": torch.zeros_like(one),
                    "step": torch.zeros(()),
                }
        means, squares, steps = ([self.state[one][name] for one in given] for name in ("exp_avg", "exp_avg_sq", "step"))
        first, second = group["betas"]
        adamw(
            *(given, grads, means, squares, [], steps),
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=first,
            beta2=second,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
        )


def orthogonal(g: Tensor) -> Tensor:
    """`(matrices, rows, columns)` -> about the nearest semi-orthogonal ones, by Newton and Schulz, in bfloat16."""
    a, b, c = QUINTIC
    tall = g.shape[1] > g.shape[2]
    x = (g.transpose(1, 2) if tall else g).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        s = x @ x.transpose(1, 2)
        x = a * x + (b * s + c * s @ s) @ x
    return x.transpose(1, 2) if tall else x
