"""Packed linears at work: on torch's operators, and on the kernels where they are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from auricle.layers import native
from auricle.layers.linear import Linear, products, replace
from auricle.quant import packed as packed_module
from auricle.quant.int4 import Int4Linear
from auricle.quant.int8 import Int8Linear
from auricle.quant.packed import PackedLinear

KINDS: list[type[PackedLinear]] = [Int4Linear, Int8Linear]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def filled(kind: type[PackedLinear], out: int = 40, width: int = 72, bias: bool = False, seed: int = 0) -> PackedLinear:
    generator = torch.Generator().manual_seed(seed)
    layer = kind(width, out, bias=bias)
    tensors = kind.pack(torch.randn(out, width, generator=generator))
    if bias:
        tensors["bias"] = torch.randn(out, generator=generator)
    layer.load_state_dict(tensors, assign=True)
    return layer.requires_grad_(False)


def inputs(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def expected(layer: PackedLinear, x: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.double()
    return F.linear(x.double(), layer.dense(torch.float64), bias)


def apart(given: Tensor, exact: Tensor) -> float:
    return float((given.double() - exact).norm() / exact.norm())


@pytest.mark.usefixtures("no_kernels")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(72,), (1, 1, 72), (2, 9, 72), (0, 72)])
def test_without_kernels_it_is_the_product_with_the_unpacked_weight(
    kind: type[PackedLinear], dtype: torch.dtype, bias: bool, shape: tuple[int, ...]
) -> None:
    layer, x = filled(kind, bias=bias), inputs(*shape, dtype=dtype)
    if layer.bias is not None:
        layer.bias.data = layer.bias.to(dtype)
    y = layer(x)
    assert (y.dtype, y.shape) == (dtype, (*shape[:-1], 40))
    tolerance = {torch.bfloat16: 0.006, torch.float16: 0.001}.get(dtype, 1e-6)
    assert not y.numel() or apart(y, expected(layer, x)) < tolerance


@pytest.mark.usefixtures("no_kernels")
def test_without_kernels_it_is_unpacked_once_a_type_and_never_saved() -> None:
    layer = filled(Int4Linear)
    layer(inputs(2, 72))
    first = layer._dense
    assert first is not None
    layer(inputs(3, 72))
    assert layer._dense is first
    layer(inputs(2, 72, dtype=torch.bfloat16))
    assert layer._dense is not first
    assert set(layer.state_dict()) == {"weight", "scales"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at_once", [1, 1000, 2000, 1 << 24])
def test_unpacking_some_rows_at_a_time_gives_the_whole(
    kind: type[PackedLinear], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = filled(kind, out=70)
    monkeypatch.setattr(packed_module, "UNPACKED_AT_ONCE", at_once)
    assert torch.equal(layer.dense(torch.float32), kind.unpack(layer.weight, layer.scales, 70, 72))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_input(kind: type[PackedLinear]) -> None:
    """The kernels know none: an input that wants them goes through torch's operators."""
    layer, x = filled(kind), inputs(3, 72).requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad[0], layer.dense(torch.float32).sum(0), atol=1e-4)


@pytest.mark.skipif(native.missing() is not None, reason="no kernels here")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_the_kernels_give_nearly_the_same(kind: type[PackedLinear], dtype: torch.dtype, rows: int) -> None:
    """They round the input to 8 bits in groups of 32."""
    layer, x = filled(kind, out=50, width=200), inputs(rows, 200, dtype=dtype)
    y = layer(x)
    assert (y.dtype, y.shape) == (dtype, (rows, 50))
    assert apart(y, expected(layer, x)) < 0.012
    assert layer._dense is None, "nothing was unpacked"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(72,), (1, 3, 72)])
def test_several_of_one_input_are_each_alone(kind: type[PackedLinear], shape: tuple[int, ...]) -> None:
    layers = [filled(kind, out, bias=out == 5, seed=out) for out in (40, 16, 5)]
    x = inputs(*shape)
    for together, layer in zip(products(x, layers), layers, strict=True):
        assert torch.equal(together, layer(x))


def test_dense_ones_and_mixed_ones_too() -> None:
    dense = Linear(72, 8)
    dense.weight.data = inputs(8, 72)
    x, packed = inputs(2, 72), filled(Int8Linear)
    first, second = products(x, (dense, packed))
    assert torch.equal(first, dense(x))
    assert torch.equal(second, packed(x))


@pytest.mark.parametrize(("scheme", "kind"), [("int4", Int4Linear), ("int8", Int8Linear)])
def test_the_registry_leads_here(scheme: str, kind: type[PackedLinear]) -> None:
    model = torch.nn.ModuleDict({"up": Linear(33, 17, bias=True)})
    replace(model, {"up": scheme})
    up = model["up"]
    assert type(up) is kind
    assert (up.in_features, up.out_features) == (33, 17)
    assert up.bias is not None


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_cuda_it_stays_packed(kind: type[PackedLinear], dtype: torch.dtype) -> None:
    layer, x = filled(kind, out=100, width=130, bias=True), inputs(7, 130, dtype=dtype)
    exact = expected(layer, x)
    on_card = layer.cuda()
    assert on_card.bias is not None
    on_card.bias.data = on_card.bias.to(dtype)
    y = on_card(x.cuda())
    assert apart(y.cpu(), exact) < {torch.float32: 1e-3, torch.float16: 2e-3, torch.bfloat16: 8e-3}[dtype]
    assert on_card._dense is None
