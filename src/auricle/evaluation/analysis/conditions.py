"""How well sounds were heard under each condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from auricle.evaluation.analysis.estimates import Estimate, share
from auricle.evaluation.analysis.factors import Factor, Level, level_of, levels
from auricle.evaluation.analysis.overall import error_rates
from auricle.evaluation.analysis.runs import Answered, Policy, Row, Run
from auricle.evaluation.statistics import Cell, cells, detection

MOST_CELLS = 2000  # in a table of all combinations
MOST_CLASSES = 6  # of which each has a column


@dataclass(frozen=True)
class AtLevel:
    """The rows at one level of a factor, all other factors put together."""

    level: Level
    figure: Estimate  # accuracy, or WER
    classes: dict[str, Estimate]  # of each label, the share that was called so
    d_prime: float | None = None
    criterion: float | None = None


@dataclass(frozen=True)
class ByFactor:
    factor: Factor
    levels: tuple[AtLevel, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "factor": self.factor.name,
            "levels": [
                {
                    "level": one.level.name,
                    "value": one.level.value,
                    **one.figure.to_json(),
                    "d_prime": one.d_prime,
                    "criterion": one.criterion,
                    "by_label": {label: each.to_json() for label, each in one.classes.items()},
                }
                for one in self.levels
            ],
        }


@dataclass(frozen=True)
class Crossed:
    """Every combination of levels that there is, each label apart; a condition is `(label, level, ...)`."""

    factors: tuple[Factor, ...]
    cells: tuple[Cell, ...]
    left_out: int = 0  # combinations beyond MOST_CELLS

    def to_json(self) -> dict[str, Any]:
        names = ["label", *(factor.name for factor in self.factors)]
        return {
            "cells": [
                {
                    **dict(zip(names, cell.condition, strict=True)),  # type: ignore[call-overload]
                    "right": cell.right,
                    "rows": cell.total,
                    "sources": cell.sources,
                    "share": cell.share,
                    "low": cell.low,
                    "high": cell.high,
                }
                for cell in self.cells
            ],
            "left_out": self.left_out,
        }


def by_factor(run: Run, rows: Sequence[Row], factor: Factor, policy: Policy) -> ByFactor:
    """Figures at each level of one factor. Levels without an answer are left out."""
    wanted = levels(factor, rows)
    if run.task == "transcribe":
        done = [row for row in rows if not row.get("error")]
        at = [(level, [row for row in done if level_of(factor, row) in level.members]) for level in wanted]
        return ByFactor(factor, tuple(AtLevel(level, error_rates(those)["wer"], {}) for level, those in at if those))
    answered = Answered.of(run, rows).under(policy)
    have = [level_of(factor, row) for row in answered.rows]
    found = []
    for level in wanted:
        part = answered.where(np.array([one in level.members for one in have], dtype=bool))
        if part.rows:
            found.append(_at(run, level, part))
    return ByFactor(factor, tuple(found))


def _at(run: Run, level: Level, part: Answered) -> AtLevel:
    figure = share(part.right, part.sources)
    if run.task != "label":
        return AtLevel(level, figure, {})
    true = np.array(part.column("true_label"), dtype=object)
    classes = {}
    if len(run.labels) <= MOST_CLASSES:
        of_label = {label: part.where(true == label) for label in run.labels}
        classes = {label: share(one.right, one.sources) for label, one in of_label.items() if one.rows}
    if len(run.labels) != 2:
        return AtLevel(level, figure, classes)
    positive = run.labels[0]
    heard = detection(true == positive, [said == positive for said in part.column("pred_label")])
    return AtLevel(level, figure, classes, heard.d_prime, heard.criterion)


def crossed(run: Run, rows: Sequence[Row], factors: Sequence[Factor], policy: Policy) -> Crossed:
    """The cells of the experiment, with Wilson's intervals. Groups such as data sets are no factors of it."""
    kept = tuple(factor for factor in factors if factor.crossed)
    if run.task == "transcribe":
        return Crossed(kept, ())
    answered = Answered.of(run, rows).under(policy)
    label = "true_label" if run.task == "label" else None
    conditions = [(row[label] if label else None, *(level_of(factor, row) for factor in kept)) for row in answered.rows]
    found = cells(conditions, answered.right, answered.sources)
    place = {name: float(number) for number, name in enumerate(run.labels)}

    def in_order(cell: Cell) -> tuple[Any, ...]:
        assert isinstance(cell.condition, tuple)
        of_label, *have = cell.condition
        return (place.get(of_label, 0.0), *map(_sortable, have))

    order = sorted(found, key=in_order)
    return Crossed(kept, tuple(order[:MOST_CELLS]), max(0, len(order) - MOST_CELLS))


def _sortable(level: Any) -> tuple[int, float, str]:
    """Numbers ascending, then names, then what has no value."""
    if level is None:
        return 2, 0.0, ""
    return (0, level, "") if isinstance(level, float) else (1, 0.0, str(level))
