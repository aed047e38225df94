"""What a model's folder holds, from its headers and settings alone: what `auricle inspect` shows. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from auricle.checkpoint import Checkpoint, part_of
from auricle.errors import CheckpointError
from auricle.layers.packing import Packing, read_packing
from auricle.models.summary import Summary, summarise
from auricle.quant.report import Cost, read_costs, total


@dataclass(frozen=True)
class Part:
    """Some tensors together."""

    tensors: int
    numbers: int
    bytes: int
    error: float | None  # relative, of what is packed among them; None when nothing is

    @property
    def bits(self) -> float:
        """A number takes, scales included."""
        return 8 * self.bytes / self.numbers if self.numbers else 0.0


@dataclass(frozen=True)
class Contents:
    """A folder."""

    checkpoint: Checkpoint
    summary: Summary
    packing: Packing | None  # None: dense
    unfit: str | None  # why a quantised folder isn't understood
    costs: dict[str, Cost]  # by the name of a packed weight

    @property
    def runs(self) -> bool:
        return self.summary.runs and self.unfit is None

    def parts(self) -> dict[str, Part]:
        """Each part of the model, then all of it."""
        names: dict[str, list[str]] = defaultdict(list)
        for name in self.checkpoint.tensors:
            names[part_of(name)].append(name)
        parts = {part: self._part(held) for part, held in sorted(names.items())}
        return {**parts, "all": self._part(self.checkpoint.tensors)}

    def cost(self, names: Iterable[str]) -> Cost | None:
        """What packing the packed weights among these has cost; None when there is none."""
        packed = [self.costs[name] for name in names if name in self.costs]
        return total(packed) if packed else None

    def _part(self, names: Iterable[str]) -> Part:
        held, cost = list(names), self.cost(names)
        size = sum(self.checkpoint.tensors[name].bytes for name in held)
        return Part(len(held), sum(map(self._numbers, held)), size, cost.error if cost else None)

    def _numbers(self, name: str) -> int:
        """How many numbers of the model a tensor holds; none, when it is the scales of another."""
        if name in self.costs:
            return self.costs[name].numbers
        of_another = name.removesuffix("scales") + "weight" in self.costs
        return 0 if of_another else prod(self.checkpoint.tensors[name].shape)


def contents(checkpoint: Checkpoint) -> Contents:
    """Reads a folder's headers and settings.

    Raises:
        CheckpointError: a file is damaged. That it was packed in a way not known here is no error: `unfit` says it.
    """
    summary = summarise(checkpoint)
    try:
        packing = read_packing(checkpoint.config, checkpoint.folder)
    except CheckpointError as error:
        return Contents(checkpoint, summary, None, str(error), {})
    return Contents(checkpoint, summary, packing, None, read_costs(checkpoint) if packing else {})
