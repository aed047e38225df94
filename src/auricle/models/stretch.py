"""One request's share of a pass that reads for several: their new positions stand one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

Past = TypeVar("Past")


@dataclass(frozen=True)
class Stretch(Generic[Past]):
    """Neighbouring positions of one request."""

    past: Past  # takes up the new positions
    rows: int  # how many these are
    wanted: int  # of how many of the last ones the outcome is asked for


def wanted_places(stretches: Sequence[Stretch[Past]], device: torch.device) -> Tensor | None:
    """The places in a pass of the positions whose outcome is wanted, `(wanted,)`; None where that is all of them."""
    if all(part.wanted == part.rows for part in stretches):
        return None
    places: list[int] = []
    end = 0
    for part in stretches:
        end += part.rows
        places += range(end - part.wanted, end)
    return torch.tensor(places, dtype=torch.long, device=device)
