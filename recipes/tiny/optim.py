"""The optimiser of the recipe: Muon for the matrices inside layers, AdamW for everything else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auricle.audiolm.training.muon import orthogonal


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by five Newton-Schulz steps (Jordan et al. 2024), matrices of one shape together.

    A convolution's weight counts as a matrix, one row for each entry of its first axis.
    """

    def __init__(self, params: list[Tensor], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                updates = []
                for parameter in parameters:
                    state = self.state[parameter]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(parameter)
                    momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(momentum, group["momentum"]))
                stacked = orthogonal(torch.stack(updates).flatten(2)).view(-1, *shape)
                scale = max(1.0, shape[0] / shape[1:].numel()) ** 0.5
                for parameter, update in zip(parameters, stacked, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update.to(parameter.dtype), alpha=-group["lr"] * scale)


def optimisers(model: nn.Module, matrix_lr: float, other_lr: float) -> list[torch.optim.Optimizer]:
    """Muon on the matrices of `layers`, AdamW on the rest (embeddings, heads, convolutions, norms)."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        inside = parameter.dim() == 2 and ".layers." in f".{name}"
        (matrices if inside else others).append(parameter)
    return [
        Muon(matrices, lr=matrix_lr),
        torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), weight_decay=0.01),
    ]
