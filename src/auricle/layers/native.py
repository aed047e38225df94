"""The C++ kernels (`native/`): whether they are here, and calls to them.

They are built with the package where a C++ compiler is, and chosen at run time by what the processor has. Without them
everything runs on torch's own operators. `AURICLE_KERNELS` names others than the best ("avx2", "portable"), or "none".

Importing this module needs no torch: `auricle inspect` asks it too.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from auricle.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

CHOICE = "AURICLE_KERNELS"
MODULE = "auricle._native"
DENSE_ROWS = 4  # of activations, up to which `dense` beat oneDNN on every processor measured; not 8, on Intel


def missing() -> str | None:
    """None when the kernels are there, else the reason in words.

    Raises:
        OptionError: AURICLE_KERNELS names kernels that this processor doesn't run.
    """
    found = _found()
    return found if isinstance(found, str) else None


def describe() -> str:
    """The kernels in use: "avx512-vnni". Only when nothing is `missing`."""
    name: str = _module().kernels()
    return name


Clip = tuple[float, float]  # lowest, highest
EVERYTHING: Clip = (-math.inf, math.inf)


def takes(x: Tensor) -> bool:
    """Whether the kernels work on x: on a CPU, of a dtype they know, without gradients. And whether they are here."""
    import torch

    fits = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)
    return fits and not (x.requires_grad and torch.is_grad_enabled()) and missing() is None


def linear(
    x: Tensor, linears: Sequence[Any], clip_x: Clip = EVERYTHING, clip_y: Clip = EVERYTHING
) -> tuple[Tensor, ...]:
    """Several packed linears of one input, which is quantised to int8 in groups of 32 once for all of them.

    Args:
        x: `(..., in_features)` on the CPU, float32 or bfloat16.
        linears: each with `weight`, `scales`, `in_features`, `out_features`, `bits` and `bias` (see `quant.packed`).
        clip_x, clip_y: what the input and the outputs are clipped to.

    Returns:
        For each `(..., out_features)`, of x's dtype.
    """
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    results = tuple(rows.new_empty(len(rows), linear.out_features) for linear in linears)
    if len(rows):
        biases = [None if linear.bias is None else linear.bias.float() for linear in linears]
        ready().linear(rows, [matrix(linear) for linear in linears], list(results), biases, clip_x, clip_y)
    return tuple(result.view(*x.shape[:-1], result.shape[1]) for result in results)


def takes_dense(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether `dense` works on them, and is the fastest."""
    import torch

    few = x.numel() <= DENSE_ROWS * x.shape[-1]
    fits = x.shape[-1] % 32 == 0 and weight.ndim == 2 and x.shape[-1] == weight.shape[1] and weight.is_contiguous()
    given = [x, weight] if bias is None else [x, weight, bias]
    return few and fits and all(tensor.dtype == torch.bfloat16 and takes(tensor) for tensor in given)


def dense(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`x W^T + b` of a few rows, all bfloat16, summed in float32: nearly as fast as memory gives the weights.

    A row's result does not depend on how many there are.

    Args:
        x: `(..., in_features)` on the CPU, at most `DENSE_ROWS` rows.
        weight: `(out_features, in_features)`, contiguous, in_features a multiple of 32.
    """
    rows = x.detach().reshape(-1, x.shape[-1]).contiguous()
    result = rows.new_empty(len(rows), len(weight))
    if result.numel():
        ready().dense(rows, weight.detach(), None if bias is None else bias.detach().float(), result)
    return result.view(*x.shape[:-1], len(weight))


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """`weight * x / rms(x)` over the last axis, in float32; x on the CPU, float32 or bfloat16."""
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    result = rows.new_empty(rows.shape)
    if len(rows):
        ready().rms_norm(rows, None if weight is None else weight.float(), eps, result)
    return result.view(x.shape)


def pack_groups(grouped: Tensor, divisors: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The search of `quant.int4`: `(..., 32)` float32 -> int8 of that shape, and float16 `(...)`.

    A scale is not a number where no candidate was finite.
    """
    import torch

    grouped = grouped.contiguous()
    q = torch.empty(grouped.shape, dtype=torch.int8)
    scales = torch.empty(grouped.shape[:-1], dtype=torch.int16)
    ready().pack_groups(grouped, list(divisors), q, scales)
    return q, scales.view(torch.float16)


def matrix(linear: Any) -> tuple[Tensor, Tensor, int, int, int]:
    """A packed linear as the kernels take it."""
    return linear.weight, linear.scales, linear.out_features, linear.in_features, linear.bits


def ready() -> Any:
    """The extension module, with as many threads as torch has."""
    import torch

    module = _module()
    module.set_threads(torch.get_num_threads())
    return module


def _module() -> ModuleType:
    found = _found()
    assert isinstance(found, ModuleType), "ask `missing` first"
    return found


@cache
def _found() -> ModuleType | str:
    """The extension module, or why there is none."""
    choice = os.environ.get(CHOICE, "")
    if choice == "none":
        return f"{CHOICE}=none switches them off"
    try:
        module = _import()
    except ImportError as error:
        return f"Auricle was installed without them: install it again where a C++ compiler is ({error})"
    try:
        module.kernels()
    except ValueError as error:
        raise OptionError(f"{error}, none") from error
    return module


def _import() -> ModuleType:
    """The module. Where it lacks OpenMP's library, torch's folder may hold the only one of this machine."""
    try:
        return importlib.import_module(MODULE)
    except ImportError:
        import torch  # noqa: F401

        return importlib.import_module(MODULE)
