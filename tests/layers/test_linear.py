"""Linear layers and the registry that a quantisation scheme joins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from auricle.errors import CheckpointError
from auricle.layers import linear
from auricle.layers.linear import Linear, replace


class Doubling(nn.Module):
    """A scheme for these tests."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__()
        self.shape, self.has_bias = (out_features, in_features), bias

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.fixture(autouse=True)
def doubling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(linear.SCHEMES, "doubling", f"{__name__}:Doubling")


def model() -> nn.Module:
    tower = nn.Module()
    tower.layers = nn.ModuleList([nn.ModuleDict({"up": Linear(3, 3), "norm": nn.LayerNorm(3)}) for _ in range(2)])
    tower.head = Linear(3, 5, bias=True)
    return tower


def test_it_multiplies_and_adds() -> None:
    layer = Linear(3, 2, bias=True)
    layer.weight.data = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    layer.bias.data = torch.tensor([10.0, 20])
    assert torch.equal(layer(torch.tensor([1.0, 0, -1])), torch.tensor([8.0, 18]))


def test_a_scheme_replaces_the_layers_it_names_and_no_other() -> None:
    changed = model()
    replace(changed, {"layers.1.up": "doubling", "head": "doubling"})
    assert isinstance(changed.layers[0]["up"], Linear)
    up = changed.get_submodule("layers.1.up")
    assert isinstance(up, Doubling)
    assert (up.shape, up.has_bias) == ((3, 3), False)
    assert (changed.head.shape, changed.head.has_bias) == ((5, 3), True)
    assert torch.equal(up(torch.ones(3)), 2 * torch.ones(3))


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match=r"head is packed as 'int3'; known schemes are dense, doubling"):
        replace(model(), {"head": "int3"})


def test_only_linears_are_packed() -> None:
    with pytest.raises(CheckpointError, match=r"layers\.0\.norm is not a linear layer"):
        replace(model(), {"layers.0.norm": "doubling"})
