"""Linear layers, and the registry by which a quantisation scheme replaces them.

Models build `Linear`. A checkpoint whose config names a scheme for a layer gets that layer replaced before its weights
are loaded, by `replace`; the scheme's class holds the packed tensors and runs them. Tables are replaced the same way.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.errors import CheckpointError
from auricle.layers import native

# scheme -> "module:attribute" of a class built as `cls(in_features, out_features, bias=...)`
SCHEMES: dict[str, str] = {
    "dense": "auricle.layers.linear:Linear",
    "bf16": "auricle.layers.linear:Linear",
    "int8": "auricle.quant.int8:Int8Linear",
    "int4": "auricle.quant.int4:Int4Linear",
}


class Linear(nn.Module):
    """`y = x W^T + b`, the weight `(out_features, in_features)`. Left uninitialised: weights come from a checkpoint."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.bias)

    def replaced(self, path: str, scheme: str) -> nn.Module:
        """See `replace`."""
        new = scheme_class(SCHEMES, path, scheme)
        return new(self.in_features, self.out_features, bias=self.bias is not None)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x W^T + b`. In bfloat16 on a CPU oneDNN does the work, and is helped where it is slow (docs/log.md).

    - A few rows, as every decode step has: our own kernel, if it is here, reads weights nearly as fast as memory can.
    - Many rows, but not a multiple of 16: zeros fill them up. 779 rows take 1.45 times as long as 784.
    """
    if x.dtype != torch.bfloat16 or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    if native.takes_dense(x, weight, bias):
        return native.dense(x, weight, bias)
    rows = x.numel() // x.shape[-1]
    if rows > 64 and rows % 16:
        filled = F.pad(x.reshape(rows, -1), (0, 0, 0, -rows % 16))
        return F.linear(filled, weight, bias)[:rows].view(*x.shape[:-1], -1)
    return F.linear(x, weight, bias)


def products(x: Tensor, linears: Sequence[nn.Module]) -> tuple[Tensor, ...]:
    """Several linears of one input. Packed ones share a native call, which quantises the input once."""
    if all(hasattr(linear, "bits") for linear in linears) and native.takes(x):
        return native.linear(x, linears)
    return tuple(linear(x) for linear in linears)


def clipped(x: Tensor, linear: nn.Module, clip_x: native.Clip, clip_y: native.Clip) -> Tensor:
    """A linear whose input and output are clipped; where it is packed, by the native call itself."""
    if hasattr(linear, "bits") and native.takes(x):
        return native.linear(x, (linear,), clip_x, clip_y)[0]
    result: Tensor = linear(x.clamp(*clip_x))
    return result.clamp(*clip_y)


def replace(model: nn.Module, schemes: Mapping[str, str]) -> None:
    """Replaces the linears and tables that `schemes` names (`module path -> scheme`) by those of their registries.

    Raises:
        CheckpointError: a scheme is unknown, or a module is of a kind that can't be packed.
    """
    for path, scheme in schemes.items():
        parent, _, name = path.rpartition(".")
        replaced = getattr(model.get_submodule(path), "replaced", None)
        if replaced is None:
            raise CheckpointError(f"{path} is not a linear layer or a table and can't be packed as {scheme!r}")
        setattr(model.get_submodule(parent), name, replaced(path, scheme))


def replaceable(model: nn.Module) -> list[str]:
    """The paths of what `replace` can replace."""
    return [path for path, module in model.named_modules() if hasattr(module, "replaced")]


def scheme_class(registry: Mapping[str, str], path: str, scheme: str) -> Callable[..., nn.Module]:
    """The class of a scheme for the module at `path`, imported now.

    Raises:
        CheckpointError: the registry has no such scheme; the message names those it has.
    """
    if scheme not in registry:
        raise CheckpointError(f"{path} is packed as {scheme!r}; known schemes are {', '.join(registry)}")
    module, _, attribute = registry[scheme].partition(":")
    found: Callable[..., nn.Module] = getattr(importlib.import_module(module), attribute)
    return found
