"""Linear layers and the registry that a quantisation scheme joins."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.errors import CheckpointError
from auricle.layers import linear
from auricle.layers.linear import Linear, product, replace


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


@pytest.mark.parametrize("shape", [(48,), (1, 1, 48), (1, 2, 48), (64, 48), (1, 65, 48), (2, 40, 48), (779, 48)])
@pytest.mark.parametrize("biased", [False, True])
def test_bfloat16_is_the_same_product_however_many_rows(shape: tuple[int, ...], biased: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, generator=generator).bfloat16()
    weight = torch.randn(32, 48, generator=generator).bfloat16()
    bias = torch.randn(32, generator=generator).bfloat16() if biased else None
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    y = product(x, weight, bias)
    assert y.dtype == torch.bfloat16
    assert y.shape == exact.shape
    assert (y.double() - exact).abs().max() <= exact.abs().max() * 2**-8  # half a bfloat16's last digit, and a rounding


def test_the_switch_of_onednn_is_put_back() -> None:
    weight = torch.randn(4, 3).bfloat16()
    product(torch.randn(1, 3).bfloat16(), weight)
    with pytest.raises(RuntimeError):
        product(torch.randn(1, 2).bfloat16(), weight)
    assert torch.backends.mkldnn.enabled


def test_many_rows_never_meet_onednn_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, they would take ten times as long while another thread decodes."""
    met: list[bool] = []
    multiply = F.linear

    def note(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if len(x) > 1:
            met.append(bool(torch.backends.mkldnn.enabled))
        return multiply(x, weight, bias)

    monkeypatch.setattr(linear.F, "linear", note)
    weight = torch.randn(64, 64).bfloat16()
    one, many = (torch.randn(rows, 64).bfloat16() for rows in (1, 8))
    threads = [threading.Thread(target=lambda x=x: [product(x, weight) for _ in range(200)]) for x in (one, many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == [True] * 200


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
    with pytest.raises(CheckpointError, match=r"head is packed as 'int3'; known .* dense, bf16, int8, int4, doubling"):
        replace(model(), {"head": "int3"})


def test_only_linears_are_packed() -> None:
    with pytest.raises(CheckpointError, match=r"layers\.0\.norm is not a linear layer"):
        replace(model(), {"layers.0.norm": "doubling"})
