"""The figures that stand at the top: of a run, by split, under both policies for unknown answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from auricle.evaluation.analysis.estimates import Estimate, estimate, mean, share
from auricle.evaluation.analysis.runs import ALL, POLICIES, Answered, Policy, Row, Run, source_of
from auricle.evaluation.analysis.scores import Scored, score_figures
from auricle.evaluation.statistics import Confusion, confusion, headline

# Every figure that may be in a table: its name in words, and whether it is a share.
NAMES: dict[str, tuple[str, bool]] = {
    "accuracy": ("accuracy", True),
    "balanced_accuracy": ("balanced accuracy", True),
    "macro_f1": ("macro F1", True),
    "precision": ("precision", True),
    "recall": ("recall", True),
    "f1": ("F1", True),
    "d_prime": ("d′", False),
    "criterion": ("criterion c", False),
    "auc": ("AUC", False),
    "eer": ("EER", True),
    "average_precision": ("average precision", False),
    "ece": ("ECE", False),
    "brier": ("Brier score", False),
    "wer": ("WER", True),
    "cer": ("CER", True),
    "substitutions": ("substitutions", True),
    "insertions": ("insertions", True),
    "deletions": ("deletions", True),
    "exact": ("without any error", True),
}


@dataclass(frozen=True)
class LabelRow:
    """One label against the others."""

    label: str
    support: int
    said: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, eq=False)
class Overall:
    """Figures of one split under one policy."""

    split: str
    policy: Policy
    rows: int  # planned and come: answers, unknown ones, errors
    errors: int
    unknown: int
    sources: int
    figures: dict[str, Estimate]  # by the keys of NAMES
    labels: tuple[LabelRow, ...] = ()
    table: Confusion | None = None

    def to_json(self) -> dict[str, Any]:
        record = {"split": self.split, "unknown_are": self.policy, "rows": self.rows, "errors": self.errors}
        record |= {"unknown": self.unknown, "sources": self.sources}
        record |= {name: figure.to_json() for name, figure in self.figures.items()}
        if self.table is not None:
            record["by_label"] = [
                {
                    "label": row.label,
                    "support": row.support,
                    "said": row.said,
                    **{name: getattr(row, name).to_json() for name in ("precision", "recall", "f1")},
                }
                for row in self.labels
            ]
            record["confusion"] = {"labels": list(self.table.labels), "counts": self.table.counts.tolist()}
        return record


def overall(run: Run, split: str, intervals: bool = True, unknown: Policy = "wrong") -> tuple[Overall, ...]:
    """Of a split: under both policies where some answers are unknown, else once, since both are the same.

    Args:
        intervals: also of figures whose intervals take seconds, such as that of AUC.
        unknown: the policy that is named where both are the same.
    """
    rows = run.of(split)
    if run.task == "transcribe":
        return (_transcribed(rows, split, unknown),)
    answered = Answered.of(run, rows)
    scores = {}
    if run.task == "label" and answered.rows:
        scores = score_figures(Scored.of(answered, run.labels), intervals)
    policies = POLICIES if not answered.known.all() else (unknown,)
    return tuple(_answers(run, rows, split, answered, policy, scores) for policy in policies)


def all_splits(run: Run, intervals: bool = True, unknown: Policy = "wrong") -> tuple[Overall, ...]:
    """Of each split, and of all rows together where there is none or only one."""
    splits = run.splits()
    if sum(len(run.of(split)) for split in splits) < len(run.rows):
        splits = (*splits, ALL)
    return tuple(one for split in splits for one in overall(run, split, intervals, unknown))


def _answers(
    run: Run, rows: Sequence[Row], split: str, answered: Answered, policy: Policy, scores: dict[str, Estimate]
) -> Overall:
    counts = Overall(split, policy, len(rows), *_counted(rows, answered), {})
    if not answered.rows:
        return counts
    kept = answered.under(policy)
    if run.task == "answer":
        return replace(counts, figures={"accuracy": share(kept.right, kept.sources)})
    true, said = answered.column("true_label"), answered.column("pred_label")
    found = headline(true, said, run.labels, answered.sources, policy)
    figures = {
        name: estimate(interval, len(kept.rows))
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "d_prime", "criterion")
        if (interval := getattr(found, name)) is not None
    }
    if figures["accuracy"].low is None:
        figures["accuracy"] = share(kept.right, kept.sources)
    table = confusion(true, said, run.labels, policy)
    labels = tuple(_label_row(kept, label) for label in run.labels)
    if len(labels) == 2:
        figures |= {name: getattr(labels[0], name) for name in ("precision", "recall", "f1")}
    return replace(counts, figures=figures | scores, labels=labels, table=table)


def _label_row(kept: Answered, label: str) -> LabelRow:
    is_label = np.array([row["true_label"] == label for row in kept.rows], dtype=bool)
    said = np.array([row["pred_label"] == label for row in kept.rows], dtype=bool)

    def among(chosen: np.typing.NDArray[np.bool_]) -> Estimate:
        part = kept.where(chosen)
        return share(part.right, part.sources)

    # 2 right / (support + said)
    f1 = mean(2.0 * (is_label & said), is_label.astype(float) + said, kept.sources)
    return LabelRow(label, int(is_label.sum()), int(said.sum()), among(said), among(is_label), f1)


def _counted(rows: Sequence[Row], answered: Answered) -> tuple[int, int, int]:
    """Errors, unknown answers, sources."""
    return len(rows) - len(answered.rows), int((~answered.known).sum()), len({source_of(row) for row in rows})


def _transcribed(rows: Sequence[Row], split: str, policy: Policy) -> Overall:
    done = [row for row in rows if not row.get("error")]
    sources = {source_of(row) for row in rows}
    figures = error_rates(done) if done else {}
    return Overall(split, policy, len(rows), len(rows) - len(done), 0, len(sources), figures)


def error_rates(rows: Sequence[Row]) -> dict[str, Estimate]:
    """Of transcripts: errors by words of all rows together, so that a long sound counts for more than a short one."""
    sources = [source_of(row) for row in rows]

    def column(name: str) -> np.typing.NDArray[np.float64]:
        return np.array([row[name] for row in rows], dtype=np.float64)

    kinds = ("substitutions", "insertions", "deletions")
    words = column("words")
    figures = {"wer": mean(np.sum([column(kind) for kind in kinds], axis=0), words, sources)}
    figures["cer"] = mean(column("char_edits"), column("chars"), sources)
    figures |= {kind: mean(column(kind), words, sources) for kind in kinds}
    exact = np.sum([column(kind) for kind in kinds], axis=0) == 0
    return {**figures, "exact": share(exact, sources)}
