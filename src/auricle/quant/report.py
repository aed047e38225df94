"""What quantising has cost, tensor by tensor: written beside the weights, read by `auricle inspect`. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from auricle.checkpoint import PACKING_REPORT, Checkpoint
from auricle.errors import CheckpointError
from auricle.layers.packing import DENSE


@dataclass(frozen=True)
class Cost:
    """Of one tensor."""

    scheme: str  # "dense": as it was
    numbers: int
    bytes_before: int  # 0 of a copy: the head's, which the source has once with the embedding table
    bytes: int  # scales and filling included
    error: float = 0.0  # ||W - W'|| / ||W||, measured; 0 of zeros
    norm: float = 0.0  # ||W||

    @property
    def bits(self) -> float:
        """A number takes, scales and filling included."""
        return 8 * self.bytes / self.numbers if self.numbers else 0.0


@dataclass(frozen=True)
class Report:
    """What `quantize` has done."""

    folder: Path
    scheme: str
    tensors: dict[str, Cost]  # by the tensor's name in the source, or its module's in the result
    dropped: dict[str, tuple[int, int]]  # part of the source that isn't needed -> its tensors, its bytes
    notes: tuple[str, ...]
    bytes_before: int  # of the source's tensors, the dropped included
    bytes: int  # of the result's

    @property
    def packed(self) -> dict[str, Cost]:
        return {name: cost for name, cost in self.tensors.items() if cost.scheme != DENSE}

    def as_json(self) -> dict[str, Any]:
        """The content of quantization.json: the packed tensors."""
        return {
            "scheme": self.scheme,
            "tensors": {name: {**asdict(cost), "bits": round(cost.bits, 4)} for name, cost in self.packed.items()},
        }


def total(costs: Iterable[Cost]) -> Cost:
    """Several tensors as one; its scheme names those of the packed ones."""
    several = list(costs)
    schemes = {cost.scheme for cost in several} - {DENSE}
    norm = math.hypot(*(cost.norm for cost in several))
    error = math.hypot(*(cost.error * cost.norm for cost in several))
    return Cost(
        scheme=", ".join(sorted(schemes)) or DENSE,
        numbers=sum(cost.numbers for cost in several),
        bytes_before=sum(cost.bytes_before for cost in several),
        bytes=sum(cost.bytes for cost in several),
        error=error / norm if norm else 0.0,
        norm=norm,
    )


def read_costs(checkpoint: Checkpoint) -> dict[str, Cost]:
    """What packing cost, by the name of the packed module's weight; empty for a folder without a report.

    Raises:
        CheckpointError: the report is there and can't be read.
    """
    tensors = checkpoint.json(PACKING_REPORT).get("tensors", {})
    try:
        return {name: _cost(entry) for name, entry in tensors.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint.folder}/{PACKING_REPORT} is damaged: delete it, or quantise again"
        ) from error


def _cost(entry: dict[str, Any]) -> Cost:
    return Cost(
        scheme=str(entry["scheme"]),
        numbers=int(entry["numbers"]),
        bytes_before=int(entry["bytes_before"]),
        bytes=int(entry["bytes"]),
        error=float(entry["error"]),
        norm=float(entry["norm"]),
    )
