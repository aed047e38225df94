"""What packed linears share: how rows are interleaved, and how a layer runs.

Layout. Output rows stand in blocks of 16, inputs in groups of 32; both are filled up with zeros. The rows of a block
are interleaved, four inputs of each row at a time, so that a kernel's vector lanes are rows: each word of four
activations is read once for 16 rows, and no lanes have to be summed. `int4.py` and `int8.py` say what stands where.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.errors import CheckpointError
from auricle.layers import native
from auricle.layers.linear import product
from auricle.layers.packing import GROUP_SIZE

LANES = 16  # output rows that are interleaved
UNPACKED_AT_ONCE = 1 << 24  # numbers, in float32 for a moment


class PackedLinear(nn.Module):
    """A linear whose weight is packed. A subclass says how: `bits`, the tensors' shapes, `pack` and `unpack`.

    On a CPU the native kernels multiply the packed weight. Where there are none, it is unpacked once and kept: torch's
    own operators then run as fast as on a dense model, and take its memory. On other devices the packed weight stays
    alone and is unpacked for every call, since memory is what packing is for there.
    """

    bits: ClassVar[int]
    exact: ClassVar[tuple[str, ...]] = ("weight", "scales")  # keep the dtype they are stored in: see `models.weights`
    weight: Tensor
    scales: Tensor

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self._dense: Tensor | None = None

    @staticmethod
    def pack(weight: Tensor, name: str = "the weight") -> dict[str, Tensor]:
        """`(out, in)` -> the tensors `weight` and `scales`. Any rows can be packed alone if they start at a block.

        Raises:
            CheckpointError: a number is not finite, or too large for the scheme; the message begins with `name`.
        """
        raise NotImplementedError

    @staticmethod
    def unpack(weight: Tensor, scales: Tensor, out_features: int, in_features: int) -> Tensor:
        """The tensors of `pack` -> `(out, in)`, float32."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if native.takes(x):
            return native.linear(x, (self,))[0]
        return product(x, self._unpacked(x), self.bias)

    def _unpacked(self, x: Tensor) -> Tensor:
        """`(out, in)` for torch's operators, where x is and of its dtype."""
        if x.device.type != "cpu":
            return self.dense(x.dtype)
        if self._dense is None or self._dense.dtype != x.dtype:
            self._dense = self.dense(x.dtype)
        return self._dense

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The weight unpacked, `(out, in)`, some rows at a time: in float32 they take eight times the memory."""
        whole = torch.empty(self.out_features, self.in_features, dtype=dtype, device=self.weight.device)
        for rows in pieces(self.out_features, self.in_features, UNPACKED_AT_ONCE):
            blocks = slice(rows.start // LANES, -(-rows.stop // LANES))
            count = rows.stop - rows.start
            whole[rows] = self.unpack(self.weight[blocks], self.scales[blocks], count, self.in_features)
        return whole


def pieces(rows: int, width: int, numbers: int) -> Iterator[slice]:
    """Cuts `(rows, width)` into whole blocks of rows, each of about so many numbers."""
    step = max(LANES, numbers // max(width, 1) // LANES * LANES)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def blocks(rows: int) -> int:
    """How many blocks of `LANES` hold so many rows."""
    return -(-rows // LANES)


def groups(width: int) -> int:
    """How many groups of `GROUP_SIZE` hold so many inputs."""
    return -(-width // GROUP_SIZE)


def filled(tensor: Tensor, to: int, dim: int) -> Tensor:
    """The tensor with zeros at the end of a dimension, up to a multiple of `to`."""
    after = tensor.dim() - 1 - dim % tensor.dim()
    return F.pad(tensor, (0, 0) * after + (0, -tensor.shape[dim] % to))


def require_finite(weight: Tensor, name: str) -> None:
    """
    Raises:
        CheckpointError: a number is infinite or not a number.
    """
    if not bool(weight.isfinite().all()):
        raise CheckpointError(f"{name} holds numbers that are not finite, and can't be packed: fetch the model again")
