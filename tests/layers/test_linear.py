"""Linear layers and the registry that a quantisation scheme joins."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.errors import CheckpointError
from auricle.layers import linear, native
from auricle.layers.linear import Linear, product, replace

needs_kernels = pytest.mark.skipif(native.missing() is not None, reason="the C++ kernels are not here")


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


def bfloat16(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).bfloat16()


@needs_kernels
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 32), (33, 64), (100, 1056)])
def test_a_rows_result_does_not_depend_on_how_many_there_are(outputs: int, inputs: int, biased: bool) -> None:
    x, weight = bfloat16(native.DENSE_ROWS, inputs), bfloat16(outputs, inputs)
    bias = bfloat16(outputs) if biased else None
    together = native.dense(x, weight, bias)
    for rows in range(1, native.DENSE_ROWS):
        assert torch.equal(native.dense(x[:rows], weight, bias), together[:rows])
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    assert (together.double() - exact).abs().max() <= exact.abs().max() * 2**-8


@needs_kernels
def test_few_rows_of_bfloat16_are_the_kernels_and_nothing_else_is() -> None:
    weight = bfloat16(16, 64)
    assert native.takes_dense(bfloat16(64), weight, None)
    assert native.takes_dense(bfloat16(1, native.DENSE_ROWS, 64), weight, None)
    assert not native.takes_dense(bfloat16(native.DENSE_ROWS + 1, 64), weight, None)
    assert not native.takes_dense(bfloat16(1, 48), bfloat16(16, 48), None)  # not a whole number of its vectors
    assert not native.takes_dense(bfloat16(1, 64), bfloat16(64, 16).T, None)  # its rows are not in one piece
    assert not native.takes_dense(bfloat16(1, 64), weight.float(), None)
    assert not native.takes_dense(bfloat16(1, 64).float(), weight, None)
    learns = nn.Parameter(weight)
    assert not native.takes_dense(bfloat16(1, 64), learns, None)
    with torch.no_grad():
        assert native.takes_dense(bfloat16(1, 64), learns, None)
    bias = bfloat16(16)
    assert native.takes_dense(bfloat16(1, 64), weight, bias)
    assert not native.takes_dense(bfloat16(1, 64), weight, bias.float())
    assert not native.takes_dense(bfloat16(1, 64), weight, nn.Parameter(bias))


@needs_kernels
def test_the_kernel_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    dense = native.dense
    monkeypatch.setattr(native, "dense", lambda x, *others: rows.append(len(x)) or dense(x, *others))
    for count in (1, native.DENSE_ROWS, native.DENSE_ROWS + 1):
        product(bfloat16(count, 64), bfloat16(16, 64))
    assert rows == [1, native.DENSE_ROWS]


@pytest.mark.parametrize("rows", [1, 8])
def test_a_bias_that_learns_has_its_gradient(rows: int) -> None:
    bias = nn.Parameter(bfloat16(16))
    product(bfloat16(rows, 64), bfloat16(16, 64), bias).float().sum().backward()
    assert bias.grad is not None
    assert torch.equal(bias.grad, torch.full((16,), float(rows)).bfloat16())


@needs_kernels
def test_rows_that_lie_apart_and_none_at_all() -> None:
    weight, wide = bfloat16(16, 64), bfloat16(3, 128)
    assert torch.equal(native.dense(wide[:, 64:], weight, None), native.dense(wide[:, 64:].clone(), weight, None))
    assert product(bfloat16(0, 64), weight).shape == (0, 16)
    assert product(bfloat16(1, 64), bfloat16(0, 64)).shape == (1, 0)


def test_inputs_of_another_width_are_refused_whatever_computes() -> None:
    with pytest.raises(RuntimeError):
        product(bfloat16(1, 64), bfloat16(16, 32))


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
