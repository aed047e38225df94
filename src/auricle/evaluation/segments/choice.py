"""Which of all possible clips are taken: so many of each label and duration, from as many sources as there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auricle.jobs.parts import digest


@dataclass(frozen=True)
class Candidate:
    """A clip that could be cut."""

    recording: str
    source: str
    split: str | None
    label: str
    category: str
    first: int  # samples of the recording, at the rate that is written
    count: int
    duration_ms: float | None  # that was asked for; None is a whole region

    @property
    def cell(self) -> tuple[str, str, float]:
        """What is counted and balanced: split, label, duration."""
        return (self.split or "", self.label, self.duration_ms or 0.0)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Candidate:
        return cls(**record)


def chosen(
    candidates: Sequence[Candidate],
    seed: int,
    *,
    most: int | None,
    per_source: int | None,
    balance: bool,
    skipped: Counter[str],
) -> list[Candidate]:
    """Takes clips by turns: one of each source of a cell, then a second of each, in an order by hash.

    Args:
        most: of each label and duration (and split); None is all.
        per_source: of each source among these; None is all.
        balance: as many of every label as of the one that has fewest, at each duration (and split).
        skipped: gets what was left out, counted by reason.

    Returns:
        They by recording and place. The order of `candidates` makes no difference.
    """
    cells: dict[tuple[str, str, float], list[tuple[int, str, Candidate]]] = {}
    turns: Counter[tuple[object, ...]] = Counter()
    for key, candidate in sorted(((_key(seed, one), one) for one in candidates), key=lambda pair: pair[0]):
        turn = turns[candidate.cell, candidate.source]
        turns[candidate.cell, candidate.source] += 1
        if per_source is not None and turn >= per_source:
            skipped["clips beyond those that one source may give"] += 1
            continue
        cells.setdefault(candidate.cell, []).append((turn, key, candidate))
    limits = {cell: len(found) if most is None else min(most, len(found)) for cell, found in cells.items()}
    skipped["clips beyond those that were wanted"] += sum(len(cells[cell]) - limit for cell, limit in limits.items())
    if balance:
        limits = _balanced(limits, skipped)
    taken = [one for cell, found in cells.items() for one in sorted(found, key=lambda x: x[:2])[: limits[cell]]]
    return sorted((candidate for _, _, candidate in taken), key=lambda one: (one.recording, one.first))


def _balanced(limits: Mapping[tuple[str, str, float], int], skipped: Counter[str]) -> dict[tuple[str, str, float], int]:
    labels = {label for _, label, _ in limits}
    balanced = {
        (split, label, duration): min(limits.get((split, other, duration), 0) for other in labels)
        for split, label, duration in limits
    }
    skipped["clips of labels that have more than another (balance)"] += sum(limits.values()) - sum(balanced.values())
    return balanced


def _key(seed: int, one: Candidate) -> str:
    return digest("choice", seed, one.recording, one.first, one.count)
