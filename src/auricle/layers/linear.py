"""Linear layers, and the registry by which a quantisation scheme replaces them.

Models build `Linear`. A checkpoint whose config names a scheme for a tensor gets that layer replaced before its
weights are loaded, by `replace`; the scheme's class holds the packed tensors and runs them.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.errors import CheckpointError

# scheme -> "module:attribute" of a class built as `cls(in_features, out_features, bias=...)`
SCHEMES: dict[str, str] = {"dense": "auricle.layers.linear:Linear"}


class Linear(nn.Module):
    """`y = x W^T + b`, the weight `(out_features, in_features)`. Left uninitialised: weights come from a checkpoint."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.bias)


_onednn = threading.Lock()  # held by whoever has switched it off, and by whoever needs it on


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x W^T + b`. In bfloat16 on a CPU oneDNN does the work, and is helped where it is slow (docs/log.md, 2026-11-20).

    - One row, as every decode step has: torch's own dot products read the weight 1.5 times faster. The switch between
      the two is torch's, and global; with the lock, many rows in another thread never meet it switched off.
    - Many rows, but not a multiple of 16: zeros fill them up. 779 rows take 1.45 times as long as 784.
    """
    if x.dtype != torch.bfloat16 or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    rows = x.numel() // x.shape[-1]
    with _onednn:
        if rows == 1:
            before = torch.backends.mkldnn.enabled
            torch.backends.mkldnn.enabled = False  # type: ignore[assignment]  # a property, which mypy can't know
            try:
                return F.linear(x, weight, bias)
            finally:
                torch.backends.mkldnn.enabled = before
        if rows > 64 and rows % 16:
            filled = F.pad(x.reshape(rows, -1), (0, 0, 0, -rows % 16))
            return F.linear(filled, weight, bias)[:rows].view(*x.shape[:-1], -1)
        return F.linear(x, weight, bias)


def replace(model: nn.Module, schemes: Mapping[str, str]) -> None:
    """Replaces the linears that `schemes` names (`module path -> scheme`) by those of the registry."""
    for path, scheme in schemes.items():
        if scheme not in SCHEMES:
            raise CheckpointError(f"{path} is packed as {scheme!r}; known schemes are {', '.join(SCHEMES)}")
        parent, _, name = path.rpartition(".")
        old = model.get_submodule(path)
        if not isinstance(old, Linear):
            raise CheckpointError(f"{path} is not a linear layer and can't be packed as {scheme!r}")
        new = _scheme(scheme)(old.in_features, old.out_features, bias=old.bias is not None)
        setattr(model.get_submodule(parent), name, new)


def _scheme(name: str) -> Callable[..., nn.Module]:
    module, _, attribute = SCHEMES[name].partition(":")
    factory: Callable[..., nn.Module] = getattr(importlib.import_module(module), attribute)
    return factory
