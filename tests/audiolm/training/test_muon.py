"""Muon: its steps are about orthogonal, it learns, and it goes on to the same bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auricle.audiolm.training.muon import Muon, orthogonal
from auricle.audiolm.training.objective import optimizer_of


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 16))
        self.table = nn.Embedding(7, 16)

    def forward(self, ids: Tensor) -> Tensor:
        return self.layers(self.table(ids)).square().mean()


def trained(model: Small, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        loss = model(torch.arange(7))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_step_has_singular_values_of_about_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 16, 40), (3, 40, 16)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)).float())
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_matrices_inside_layers_go_by_muon_and_the_rest_by_adamw() -> None:
    optimizer = optimizer_of(Small(), "muon", 1e-3, 0.1)
    kinds = [(group["matrix"], [tuple(one.shape) for one in group["params"]]) for group in optimizer.param_groups]
    assert kinds == [(True, [(32, 16), (16, 32)]), (False, [(7, 16)]), (False, [(32,), (16,)])]


def test_matrices_of_one_shape_move_as_they_would_alone() -> None:
    torch.manual_seed(0)
    grads = [torch.randn(8, 8) for _ in range(3)]
    together = [nn.Parameter(torch.zeros(8, 8)) for _ in grads]
    alone = [nn.Parameter(torch.zeros(8, 8)) for _ in grads]
    for one, other, grad in zip(together, alone, grads, strict=True):
        one.grad, other.grad = grad.clone(), grad.clone()
    Muon([{"params": together, "matrix": True}], lr=0.1).step()
    for one in alone:
        Muon([{"params": [one], "matrix": True}], lr=0.1).step()
    torch.testing.assert_close(together, alone, rtol=0.02, atol=0.02)  # bfloat16


def test_others_move_as_by_torch_s_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    muon = Muon([{"params": [ours], "weight_decay": 0.1}], lr=0.01)
    adamw = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(3):
        ours.grad = torch.randn(5)
        theirs.grad = ours.grad.clone()
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs)


def test_it_learns_and_goes_on_from_its_state_with_the_same_bits() -> None:
    torch.manual_seed(0)
    model = Small()
    begun = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = optimizer_of(model, "muon", 1e-3, 0.0)
    losses = trained(model, optimizer, 12)
    assert losses[-1] < 0.5 * losses[0]

    first, second = Small(), Small()
    first.load_state_dict(begun)
    half = optimizer_of(first, "muon", 1e-3, 0.0)
    trained(first, half, 6)
    second.load_state_dict(first.state_dict())
    resumed = optimizer_of(second, "muon", 1e-3, 0.0)
    resumed.load_state_dict(half.state_dict())
    assert trained(second, resumed, 6) == losses[6:]
