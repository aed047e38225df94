"""Psychometric functions of a run: of each class apart, over duration and over SNR."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from auricle.evaluation.analysis.conditions import MOST_CLASSES
from auricle.evaluation.analysis.factors import Factor, Level, level_of, levels
from auricle.evaluation.analysis.runs import Answered, Policy, Row, Run
from auricle.evaluation.statistics import Psychometric, fit_psychometric

MOST_CURVES = 12  # of levels of another factor
FEWEST = 4  # levels, as many as a curve has parameters
AT = (0.75,)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Curve:
    """One fit."""

    label: str | None  # whose clips it is of; None is of all
    place: int  # of the label among the run's
    over: Factor
    other: Factor | None  # of which `level` is held; None: over all levels of all others
    level: Level | None
    fit: Psychometric

    @property
    def told(self) -> str:
        """Whose it is, in words: `speech, at SNR 0 dB`."""
        whose = "all clips" if self.label is None else self.label
        if self.other is None or self.level is None:
            return whose
        return f"{whose}, at {self.other.title} {self.level.name}"

    def to_json(self) -> dict[str, Any]:
        fit = self.fit
        observer, goodness = fit.observer, fit.goodness
        return {
            "label": self.label,
            "over": self.over.name,
            "sources": fit.sources,
            "at": None if self.other is None or self.level is None else {self.other.name: self.level.name},
            "status": fit.status,
            "note": fit.note,
            "intervals": fit.intervals,
            "rise_p": fit.rise_p,
            "observer": None if observer is None else vars(observer),
            "goodness": None if goodness is None else vars(goodness),
            "thresholds": [
                {
                    "level": one.level,
                    "value": one.value,
                    "low": one.low,
                    "high": one.high,
                    "told": one.told(self.over.unit),
                }
                for one in fit.thresholds
            ],
            "points": [
                {"level": cell.condition, "right": cell.right, "rows": cell.total, "low": cell.low, "high": cell.high}
                for cell in fit.points
            ],
        }


@dataclass(frozen=True)
class _Wanted:
    label: str | None
    place: int
    over: Factor
    other: Factor | None
    level: Level | None


def curves(
    run: Run,
    rows: Sequence[Row],
    factors: Sequence[Factor],
    policy: Policy,
    *,
    at: Sequence[float] = AT,
    resamples: int = 1000,
    progress: Progress = lambda done, whole: None,
) -> tuple[Curve, ...]:
    """A fit over each factor that makes sounds easier: over all levels of the others, and at each level of each.

    Sounds without a value of the factor, as clean ones have no SNR, are in no fit over it.
    """
    if run.task == "transcribe":
        return ()
    answered = Answered.of(run, rows).under(policy)
    wanted = list(_wanted(run, rows, factors))
    found = []
    for number, one in enumerate(wanted):
        progress(number, len(wanted))
        part = answered.where(np.array([_is_in(row, one) for row in answered.rows], dtype=bool))
        tested = [level_of(one.over, row) for row in part.rows]
        scale: Literal["log", "linear"] = "log" if one.over.scale == "log" else "linear"
        fit = fit_psychometric(tested, part.right, part.sources, scale=scale, at=at, resamples=resamples)
        found.append(Curve(one.label, one.place, one.over, one.other, one.level, fit))
    progress(len(wanted), len(wanted))
    return tuple(found)


def _wanted(run: Run, rows: Sequence[Row], factors: Sequence[Factor]) -> Iterator[_Wanted]:
    labels: tuple[str | None, ...] = (None,)
    if run.task == "label" and len(run.labels) <= MOST_CLASSES:
        labels = run.labels
    for over in (factor for factor in factors if factor.rising):
        tested = len({level for row in rows if (level := level_of(over, row)) is not None})
        if tested < 2:
            continue
        for place, label in enumerate(labels):
            yield _Wanted(label, place, over, None, None)
            for other in factors if tested >= FEWEST else ():
                if other is not over and other.crossed and len(there := levels(other, rows)) <= MOST_CURVES:
                    yield from (_Wanted(label, place, over, other, level) for level in there)


def _is_in(row: Row, wanted: _Wanted) -> bool:
    if level_of(wanted.over, row) is None or (wanted.label is not None and row["true_label"] != wanted.label):
        return False
    if wanted.other is None or wanted.level is None:
        return True
    return level_of(wanted.other, row) in wanted.level.members
