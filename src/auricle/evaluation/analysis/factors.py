"""What was varied: the factors of a set, and the levels that rows have of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from auricle.evaluation.analysis.runs import Row
from auricle.evaluation.numbers import spelt

MOST_LEVELS = 24  # in a table or on an axis; of more, neighbours are put together
MOST_NAMES = 40  # of a factor of names, as there are 50 categories in ESC-50: the most frequent ones
BINS = 8


@dataclass(frozen=True)
class Factor:
    """A column that says what was done to a sound, or where it is from."""

    name: str  # of the column
    title: str
    unit: str = ""
    scale: Literal["log", "linear", "names"] = "names"
    without: str = "none"  # what a sound is called that has no value here
    crossed: bool = True  # a factor of the experiment; else a group that sounds come from
    rising: bool = False  # more of it is easier to hear, so that a psychometric function can be fitted over it
    signed: bool = False

    @property
    def name_and_unit(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit and "(" not in self.title else self.title

    def bare(self, level: Any) -> str:
        """Without its unit, for an axis or a column that has it in its title."""
        return self.spell(level).removesuffix(f" {self.unit}") if self.unit else self.spell(level)

    def spell(self, level: Any) -> str:
        if level is None:
            return self.without
        if not isinstance(level, float | int):
            return str(level)
        return f"{spelt(level, sign=self.signed and level != 0)} {self.unit}".strip()


DURATION = Factor("duration_ms", "duration", "ms", "log", "whole", rising=True)
SNR = Factor("snr_db_nominal", "SNR", "dB", "linear", "clean", rising=True, signed=True)
FACTORS = (
    DURATION,
    SNR,
    Factor("noise", "noise"),
    Factor("rt60", "reverberation (RT60)", "s", "linear"),
    Factor("filter", "filter"),
    Factor("gain_db", "gain", "dB", "linear", signed=True),
    Factor("codec", "codec"),
    Factor("dataset", "data set", crossed=False, without="not named"),
    Factor("category", "category", crossed=False, without="not named"),
)


@dataclass(frozen=True)
class Level:
    """One level of a factor, or several neighbouring ones put together."""

    name: str
    value: float | None  # where it is on an axis of numbers; None stands apart
    members: frozenset[Any]


def level_of(factor: Factor, row: Row) -> Any:
    """0 and no value are one level of a factor that leaves the sound as it is."""
    value = row.get(factor.name)
    if factor.name in ("rt60", "gain_db"):
        return float(value or 0.0)
    return float(value) if factor.scale != "names" and value is not None else value


def varied(rows: Sequence[Row]) -> tuple[Factor, ...]:
    """Those of which rows have more than one level, except that groups which are the labels tell nothing new."""
    found = []
    for factor in FACTORS:
        levels = {level_of(factor, row) for row in rows}
        if len(levels) < 2:
            continue
        if not factor.crossed and len({(level_of(factor, row), row.get("true_label")) for row in rows}) == len(levels):
            labels = {row.get("true_label") for row in rows}
            if len(labels) == len(levels):
                continue
        found.append(factor)
    # Without noise there is no kind of noise: a kind that only says so is the SNR once more.
    if SNR in found and len({row.get("noise") for row in rows if row.get("snr_db_nominal") is not None}) == 1:
        found = [factor for factor in found if factor.name != "noise"]
    return tuple(found)


def levels(factor: Factor, rows: Iterable[Row]) -> tuple[Level, ...]:
    """In their order: numbers ascending, names as they first came, and what has no value last."""
    counts = Counter(level_of(factor, row) for row in rows)
    there = [level for level in counts if level is not None]
    apart = [Level(factor.without, None, frozenset([None]))] if None in counts else []
    if factor.scale == "names":
        names = there if len(there) <= MOST_NAMES else [name for name, _ in counts.most_common() if name is not None]
        kept = [Level(factor.spell(name), None, frozenset([name])) for name in names[:MOST_NAMES]]
        return (*kept, *apart)
    there.sort()
    if len(there) <= MOST_LEVELS:
        return (*(Level(factor.spell(level), level, frozenset([level])) for level in there), *apart)
    # As many rows in each as can be.
    ends = np.quantile([level for level in there for _ in range(counts[level])], np.linspace(0, 1, BINS + 1)[1:-1])
    place = np.searchsorted(ends, there)
    groups = [[level for level, one in zip(there, place, strict=True) if one == number] for number in range(BINS)]
    return (*(_together(factor, group) for group in groups if group), *apart)


def _together(factor: Factor, group: list[float]) -> Level:
    if len(group) == 1:
        return Level(factor.spell(group[0]), group[0], frozenset(group))
    name = f"{group[0]:.4g} to {group[-1]:.4g} {factor.unit}".strip()
    return Level(name, float(np.median(group)), frozenset(group))
