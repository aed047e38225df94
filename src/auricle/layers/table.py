"""Embedding tables: only ever looked up, so they stay mapped from the file, whatever the model computes in.

A packed table (`auricle.quant.table`) is a `Lookup` too, and joins the registry here.
"""

from __future__ import annotations

import threading

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.layers.linear import product, scheme_class

# scheme -> "module:attribute" of a class built as `cls(rows, width, scale)`
SCHEMES: dict[str, str] = {
    "dense": "auricle.layers.table:Table",
    "int8-rows": "auricle.quant.table:Int8Table",
    "int4-rows": "auricle.quant.table:Int4Table",
}


_copying = threading.Lock()


class Lookup(nn.Module):
    """A table of `(rows, width)`; how its rows are stored is the subclass's."""

    mapped = True  # its tensors stay as they are on disk: see `models.weights`

    def __init__(self, rows: int, width: int, scale: float) -> None:
        super().__init__()
        self.size, self.width, self.scale = rows, width, scale

    def rows(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """Rows as they are, without the scale: `(*ids.shape, width)`, where ids are."""
        raise NotImplementedError

    def forward(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """Scaled rows, the scale rounded to `dtype` as the reference's is: `(*ids.shape, width)`."""
        return self.rows(ids, dtype) * torch.tensor(self.scale, dtype=dtype, device=ids.device)


class Table(Lookup):
    """A dense table, which may be of another dtype than the computation, and the output head as well."""

    def __init__(self, rows: int, width: int, scale: float) -> None:
        super().__init__(rows, width, scale)
        self.weight = nn.Parameter(torch.empty(rows, width))
        self._copy: Tensor | None = None

    def rows(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        return F.embedding(ids.to(self.weight.device), self.weight).to(ids.device, dtype)

    def project(self, x: Tensor) -> Tensor:
        """`(..., width)` -> `(..., rows)`: the table as output head."""
        return product(x, self._head(x))

    def replaced(self, path: str, scheme: str) -> nn.Module:
        """See `layers.linear.replace`."""
        return scheme_class(SCHEMES, path, scheme)(self.size, self.width, self.scale)

    def _head(self, x: Tensor) -> Tensor:
        """The table where x is and of its dtype. A copy for that is made once: every token needs the whole of it."""
        if (self.weight.device, self.weight.dtype) == (x.device, x.dtype):
            return self.weight
        with _copying:  # or two threads might make one each, and a captured graph go on reading the one that is dropped
            if self._copy is None or (self._copy.device, self._copy.dtype) != (x.device, x.dtype):
                self._copy = self.weight.to(x.device, x.dtype)
            return self._copy


CANDIDATES = 32  # tokens of a packed head whose logits are computed again


def rescored(logits: Tensor, x: Tensor, table: Lookup, candidates: int = CANDIDATES) -> Tensor:
    """Puts right what a head of few bits says of the likeliest tokens, by the rows of the table it was packed from.

    Args:
        logits: `(..., vocabulary)`, float32, before any soft cap.
        x: `(..., width)`: what the head was given.
        candidates: how many of the highest logits are computed again, in float32.

    Returns:
        `(..., vocabulary)`: the logits, those of the candidates replaced.
    """
    best = logits.topk(min(candidates, logits.shape[-1])).indices  # (..., candidates)
    exact = table.rows(best, torch.float32) @ x.float()[..., None]
    return logits.scatter(-1, best, exact[..., 0])
