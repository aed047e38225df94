"""Runs against each other, on the sounds that all of them answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from auricle.errors import InputError
from auricle.evaluation.analysis.runs import Policy, Row, Run, edits, source_of
from auricle.evaluation.statistics import Comparison, compare_systems

TRUTH = {"label": "true_label", "answer": "true_answer", "transcribe": "true_text"}
FIGURE = {"label": "balanced accuracy", "answer": "accuracy", "transcribe": "1 less the mean WER of a sound"}


@dataclass(frozen=True)
class Pairs:
    """Every two runs, with p adjusted for the number of pairs by Holm's method."""

    figure: str  # what is compared; higher is better
    rows: int  # sounds that all runs answered
    left_out: int  # of those that any run has
    absent: int  # of these, sounds that some run doesn't have at all
    comparisons: tuple[Comparison, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "figure": self.figure,
            "rows": self.rows,
            "left_out": self.left_out,
            "absent": self.absent,
            "comparisons": [asdict(one) for one in self.comparisons],
        }


def check_alike(runs: Mapping[str, Run]) -> None:
    """
    Raises:
        InputError: runs of other tasks or labels, which no picture could show together.
    """
    (first, one), *others = runs.items()
    for name, other in others:
        if other.task != one.task:
            raise InputError(f"run {first} is of task {one.task} and {name} of {other.task}: report them apart")
        if set(other.labels) != set(one.labels) or other.labels[:1] != one.labels[:1]:
            raise InputError(
                f"run {first} has labels {', '.join(one.labels)} and {name} has {', '.join(other.labels)}: "
                "report them apart, or run one again with the labels of the other in the same order"
            )


def compare(runs: Mapping[str, Run], split: str, policy: Policy) -> Pairs | None:
    """None for a single run.

    Raises:
        InputError: the same sound has another truth in another run.
    """
    if len(runs) < 2:
        return None
    (task,) = {run.task for run in runs.values()}
    every = {name: {row["segment_id"]: row for row in run.of(split)} for name, run in runs.items()}
    sounds = {sound: row for rows in every.values() for sound, row in rows.items()}
    both = [sound for sound in sounds if all(_counts(rows.get(sound), task, policy) for rows in every.values())]
    for sound in both:
        if len(truths := {str(rows[sound][TRUTH[task]]) for rows in every.values()}) > 1:
            raise InputError(
                f"sound {sound} is {' in one run and '.join(sorted(truths))} in another: "
                "they are of different manifests, so report them apart"
            )
    right = {name: np.array([_score(rows[sound], task) for sound in both]) for name, rows in every.items()}
    sources = [source_of(sounds[sound]) for sound in both]
    classes = [sounds[sound]["true_label"] for sound in both] if task == "label" else None
    found = compare_systems(right, sources, classes=classes) if both else ()
    absent = sum(any(sound not in rows for rows in every.values()) for sound in sounds)
    return Pairs(FIGURE[task], len(both), len(sounds) - len(both), absent, found)


def _counts(row: Row | None, task: str, policy: Policy) -> bool:
    if row is None or row.get("error"):
        return False
    said = {"label": "pred_label", "answer": "pred_answer"}.get(task)
    return policy == "wrong" or said is None or row[said] is not None


def _score(row: Row, task: str) -> float:
    if task == "label":
        return float(row["pred_label"] == row["true_label"])
    if task == "answer":
        return float(bool(row["right"]))
    return 1 - edits(row) / max(1, row["words"])  # where nothing is said, each word written counts


def named(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by what to call them: the model, with the folder where two have the same.

    Raises:
        InputError: a folder is there twice.
    """
    folders = [run.folder.resolve() for run in runs]
    if twice := [folder for folder in folders if folders.count(folder) > 1]:
        raise InputError(f"{twice[0]} is named twice: give each run once")
    models = [run.model for run in runs]
    names = [
        run.model if models.count(run.model) == 1 else f"{run.model} ({run.folder.resolve().name})" for run in runs
    ]
    for place, name in enumerate(names):
        if name in names[:place]:
            names[place] = f"{runs[place].model} ({runs[place].folder})"
    return dict(zip(names, runs, strict=True))
