"""Figures of probabilities: how well they order clips, and whether they mean what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.errors import InputError
from auricle.evaluation.analysis.estimates import Estimate, estimate, exactly
from auricle.evaluation.analysis.runs import Answered
from auricle.evaluation.statistics import bootstrap_by_source, calibration, eer, pr, roc

RESAMPLES = 500  # each sorts the rows anew
BINS = 10


@dataclass(frozen=True, eq=False)
class Scored:
    """The rows that have probabilities. Unknown answers have none, so they are in no curve."""

    answered: Answered
    labels: tuple[str, ...]
    shares: NDArray[np.float64]  # (rows, labels)
    left_out: int  # answered rows without probabilities

    @classmethod
    def of(cls, answered: Answered, labels: tuple[str, ...]) -> Scored:
        columns = [answered.column(f"p_{label}") for label in labels]
        there = np.array([all(share is not None for share in row) for row in zip(*columns, strict=True)], dtype=bool)
        kept = answered.where(there)
        shares = np.array([[row[f"p_{label}"] for label in labels] for row in kept.rows], dtype=np.float64)
        shares = shares.reshape(len(kept.rows), len(labels))
        if len(wrong := np.flatnonzero(((shares < 0) | (shares > 1)).any(1))):
            raise InputError(
                f"row {kept.rows[int(wrong[0])]['segment_id']} has probabilities {shares[wrong[0]].tolist()}; "
                "each must be from 0 to 1: run eval again"
            )
        return cls(kept, labels, shares, int((~there).sum()))

    def is_(self, label: str) -> NDArray[np.bool_]:
        return np.array([row["true_label"] == label for row in self.answered.rows], dtype=bool)

    def of_label(self, label: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether each clip is of a label, and the probability that was given to it."""
        return self.is_(label), self.shares[:, self.labels.index(label)]

    def events(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """What calibration is of: the positive class of two; else whether the label of highest probability is right."""
        if len(self.labels) == 2:
            return self.of_label(self.labels[0])
        best = self.shares.argmax(1)
        right = [self.labels[place] == row["true_label"] for place, row in zip(best, self.answered.rows, strict=True)]
        return np.array(right, dtype=bool), self.shares.max(1, initial=0.0)


def score_figures(scored: Scored, intervals: bool) -> dict[str, Estimate]:
    """`auc`, `eer`, `average_precision` of two labels, `ece` and `brier` of any number; empty without probabilities."""
    rows = len(scored.answered.rows)
    if not rows:
        return {}
    figures: dict[str, tuple[Callable[..., float | None], tuple[NDArray[np.bool_], NDArray[np.float64]]]] = {}
    if len(scored.labels) == 2:
        pair = scored.of_label(scored.labels[0])
        figures["auc"] = (lambda event, score: roc(event, score).auc, pair)
        figures["eer"] = (eer, pair)
        figures["average_precision"] = (lambda event, score: pr(event, score).average_precision, pair)
    figures["ece"] = (lambda event, score: calibration(event, score, BINS).ece, scored.events())
    figures["brier"] = (lambda event, score: calibration(event, score, BINS).brier, scored.events())
    note = f"{scored.left_out} answers without probabilities are left out" if scored.left_out else ""
    sources, true = scored.answered.sources, scored.answered.column("true_label")

    def figure(one: Callable[..., float | None], columns: tuple[NDArray[np.bool_], NDArray[np.float64]]) -> Estimate:
        if not intervals:
            return exactly(one(*columns), rows, len(set(sources)), note)
        found = bootstrap_by_source(one, columns, sources, strata=true, method="percentile", resamples=RESAMPLES)
        made = estimate(found, rows)
        return made if not note else Estimate(**{**made.to_json(), "note": "; ".join(filter(None, (made.note, note)))})

    return {name: figure(one, columns) for name, (one, columns) in figures.items()}
