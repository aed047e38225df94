"""All figures of a run in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from auricle.evaluation.analysis.conditions import ByFactor, Crossed, by_factor, crossed
from auricle.evaluation.analysis.curves import AT, Curve, Progress, curves
from auricle.evaluation.analysis.decisions import Decision, decide
from auricle.evaluation.analysis.estimates import told
from auricle.evaluation.analysis.factors import Factor, varied
from auricle.evaluation.analysis.overall import NAMES, Overall, all_splits, overall
from auricle.evaluation.analysis.runs import Policy, Row, Run
from auricle.evaluation.statistics import Latency, latency

# What the table at the end of a run shows, of those that there are.
SHOWN = (
    *("accuracy", "balanced_accuracy", "macro_f1", "f1", "d_prime", "criterion", "auc", "eer", "ece"),
    *("wer", "cer"),
)
TIMES = ("preprocess_ms", "model_ms", "latency_ms")


@dataclass(frozen=True, eq=False)
class Summary:
    """The figures of a run. `conditions` and all that follow are of the reported split."""

    run: Run
    split: str
    policy: Policy  # of figures that are given once; `overall` has both
    overall: tuple[Overall, ...]  # by split and policy
    factors: tuple[Factor, ...]
    conditions: tuple[ByFactor, ...]
    cells: Crossed
    decision: Decision | None
    latency: Latency | None
    curves: tuple[Curve, ...]  # empty unless asked for

    @property
    def reported(self) -> Overall:
        """The figures of the reported split under the run's policy."""
        return next(one for one in self.overall if (one.split, one.policy) == (self.split, self.policy))

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The overall figures for people: a header, and a row for each split and policy."""
        keys = shown(self.overall)
        header = ("split", "unknown", "rows", "errors", *(NAMES[key][0] for key in keys))
        rows = []
        for one in self.overall:
            unknown = f"{one.unknown} {one.policy}" if one.unknown else "0"
            figures = (told(one.figures.get(key), "share" if NAMES[key][1] else "number") for key in keys)
            rows.append((one.split, unknown, str(one.rows), str(one.errors), *figures))
        return header, rows

    def to_json(self) -> dict[str, Any]:
        run = self.run
        return {
            "folder": str(run.folder),
            "model": run.model,
            "task": run.task,
            "labels": list(run.labels),
            "complete": run.complete,
            "rows": len(run.rows),
            "planned": run.planned,
            "reported_split": self.split,
            "unknown": self.policy,
            "overall": [one.to_json() for one in self.overall],
            "by_factor": [one.to_json() for one in self.conditions],
            **self.cells.to_json(),
            "decision": None if self.decision is None else self.decision.to_json(),
            "latency": None if self.latency is None else asdict(self.latency),
            "curves": [one.to_json() for one in self.curves],
        }


def shown(found: Sequence[Overall]) -> list[str]:
    """The keys of the most telling figures that any of these has; of two labels, F1 is that of the positive class."""
    there = [key for key in SHOWN if any(key in one.figures for one in found)]
    return [key for key in there if key != "macro_f1" or "f1" not in there]


def summarise(
    run: Run,
    *,
    split: str | None = None,
    unknown: Policy = "wrong",
    intervals: bool = True,
    fits: bool = False,
    at: Sequence[float] = AT,
    resamples: int = 1000,
    factors: Sequence[Factor] | None = None,
    progress: Progress = lambda done, whole: None,
) -> Summary:
    """Computes the figures of a run.

    Args:
        split: that conditions, decision and fits are of; unless given, `test`, the only one, or all.
        unknown: what becomes of unknown answers in figures that are given once.
        intervals: also those that take seconds: of AUC, EER, average precision, ECE and Brier score.
        fits: psychometric functions too; each takes up to a second or two.
        at: shares of right answers whose thresholds are wanted of the fits.
        resamples: of the fits' intervals and goodness.
        factors: unless given, those that the rows vary in.
        progress: called with how many fits are done, and of how many.

    Raises:
        OptionError: no row is in the split.
    """
    reported = run.reported(split)
    rows = run.of(reported)
    by_split = all_splits(run, intervals, unknown)
    if reported not in {one.split for one in by_split}:
        by_split = (*by_split, *overall(run, reported, intervals, unknown))
    factors = varied(rows) if factors is None else tuple(factors)
    found: tuple[Curve, ...] = ()
    if fits:
        found = curves(run, rows, factors, unknown, at=at, resamples=resamples, progress=progress)
    return Summary(
        run,
        reported,
        unknown,
        by_split,
        tuple(factors),
        tuple(by_factor(run, rows, factor, unknown) for factor in factors),
        crossed(run, rows, factors, unknown),
        decide(run, reported),
        _latency(run, rows),
        found,
    )


def _latency(run: Run, rows: Sequence[Row]) -> Latency | None:
    """Of the rows that have times; None where none has."""
    timed = [row for row in rows if not row.get("error") and all(row.get(name) is not None for name in TIMES)]
    if not timed:
        return None
    preprocess, model, whole = ([float(row[name]) for row in timed] for name in TIMES)
    return latency(preprocess, model, whole, run.load_s)
