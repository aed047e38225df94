"""What `auricle eval` left in a folder, read back: the plan, and a row for each sound."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from auricle.errors import InputError, OptionError
from auricle.evaluation.optional import needed
from auricle.evaluation.runner.about import read_about
from auricle.evaluation.runner.rows import LINES, TABLE
from auricle.jobs.parts import PLAN, read_plan
from auricle.jobs.splits import check_splits

ALL, TEST = "all", "test"  # of splits
Row = Mapping[str, Any]
Task = Literal["label", "transcribe", "answer"]
Policy = Literal["wrong", "dropped"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
# What a row without an error has, beside segment_id, by task.
NEEDED = {
    "label": ("true_label", "pred_label"),
    "transcribe": (
        "true_text",
        "pred_text",
        "substitutions",
        "insertions",
        "deletions",
        "words",
        "char_edits",
        "chars",
    ),
    "answer": ("true_answer", "pred_answer", "right"),
}
# What figures are grouped, sorted and computed by, where a row has it.
NUMBERS = ("duration_ms", "snr_db_nominal", "rt60", "gain_db", "confidence", "preprocess_ms", "model_ms", "latency_ms")


@dataclass(frozen=True, eq=False)
class Run:
    """One folder of `auricle eval`."""

    folder: Path
    plan: Mapping[str, Any]
    about: Mapping[str, Any]  # the manifest, and each time that the run was worked on
    rows: tuple[Row, ...]  # in the manifest's order; as they came, where the run isn't complete
    complete: bool

    @property
    def task(self) -> Task:
        task: Task = self.plan["task"]
        return task

    @property
    def labels(self) -> tuple[str, ...]:
        """In the classifier's order: of two, the first is the positive class. Empty for other tasks."""
        return tuple(self.plan.get("labels") or ())

    @property
    def model(self) -> str:
        return str(self.plan.get("model") or self.folder.name)

    @property
    def planned(self) -> int:
        """How many rows the run is to have."""
        return max(int((self.about.get("manifest") or {}).get("clips") or 0), len(self.rows))

    @property
    def load_s(self) -> float | None:
        """Seconds in which the model was loaded, the last time that it was."""
        times = [one.get("load_s") for one in self.about.get("sessions") or ()]
        return next((float(one) for one in reversed(times) if one is not None), None)

    def splits(self) -> tuple[str, ...]:
        """By name; empty where rows are in none."""
        return tuple(sorted({str(row["split"]) for row in self.rows if row.get("split")}))

    def reported(self, asked: str | None = None) -> str:
        """The split that pictures and comparisons are of: as asked; else `test`; else the only one; else `all`.

        Raises:
            OptionError: no row is in the split that was asked for.
        """
        splits = self.splits()
        if asked is None:
            return TEST if TEST in splits else splits[0] if len(splits) == 1 else ALL
        if asked != ALL and asked not in splits:
            there = ", ".join([ALL, *splits])
            raise OptionError(f"split is {asked!r}, and {self.folder} has {there}: name one of them")
        return asked

    def of(self, split: str) -> list[Row]:
        """The rows of a split, errors among them."""
        return [row for row in self.rows if split == ALL or row.get("split") == split]


@dataclass(frozen=True, eq=False)
class Answered:
    """Rows that have an answer, which may be an unknown one, as columns. Errors are no answers."""

    rows: tuple[Row, ...]
    right: NDArray[np.bool_]  # (rows,); False where the answer is unknown
    known: NDArray[np.bool_]  # (rows,)
    sources: tuple[Hashable, ...]

    @classmethod
    def of(cls, run: Run, rows: Sequence[Row]) -> Answered:
        """Of the tasks "label" and "answer"."""
        kept = tuple(row for row in rows if not row.get("error"))
        said = "pred_label" if run.task == "label" else "pred_answer"
        known = np.array([row[said] is not None for row in kept], dtype=bool)
        if run.task == "label":
            right = np.array([row["pred_label"] == row["true_label"] for row in kept], dtype=bool)
        else:
            right = np.array([bool(row["right"]) for row in kept], dtype=bool)
        return cls(kept, right & known, known, tuple(map(source_of, kept)))

    def under(self, policy: Policy) -> Answered:
        """All rows where unknown answers are wrong, or those with a known one."""
        return self if policy == "wrong" or self.known.all() else self.where(self.known)

    def where(self, chosen: NDArray[np.bool_]) -> Answered:
        rows = np.flatnonzero(chosen).tolist()
        return Answered(
            tuple(self.rows[row] for row in rows),
            self.right[chosen],
            self.known[chosen],
            tuple(self.sources[row] for row in rows),
        )

    def column(self, name: str) -> list[Any]:
        return [row.get(name) for row in self.rows]


def edits(row: Row) -> int:
    """Words that are wrong in a transcript."""
    return int(row["substitutions"] + row["insertions"] + row["deletions"])


def source_of(row: Row) -> Hashable:
    """The recording that a row's sound comes from; without one, each clip is a source of its own."""
    return str(row.get("source_id") or row.get("clip_id") or row["segment_id"])


def read_run(folder: str | Path) -> Run:
    """Reads a run's folder; of one that is not complete, the rows that are there.

    Raises:
        InputError: it is no run's folder, has no rows yet, or rows that can't be what a run wrote.
    """
    folder = Path(folder)
    if folder.is_file():
        folder = folder.parent  # somebody named its plan or its rows
    plan = read_plan(folder) if folder.is_dir() else None
    if plan is None:
        raise InputError(f"{folder} is no folder of `auricle eval` (it has no {PLAN}): name one")
    if plan.get("task") not in NEEDED:
        raise InputError(f"{folder / PLAN} has task {plan.get('task')!r}; it must be one of {', '.join(NEEDED)}")
    complete = (folder / TABLE).is_file()
    rows = _table(folder / TABLE) if complete else _lines(folder / LINES)
    if not rows:
        raise InputError(f"{folder} has no rows yet: run `auricle eval` first")
    run = Run(folder, plan, read_about(folder), tuple(rows), complete)
    _check(run)
    return run if run.planned == len(rows) else replace(run, complete=False)


def _table(path: Path) -> list[Row]:
    try:
        rows = needed("pyarrow.parquet", "a report").read_table(path).to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise InputError(f"{path} can't be read ({' '.join(str(error).split())[:200]}): run eval again") from None
    return [_cleaned(row) for row in rows]


def _lines(path: Path) -> list[Row]:
    """The last row of each sound: a run that was resumed may have written one twice, and a kill may tear the last."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found: dict[Any, Row] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError:
            if number == len(lines):
                break
            raise InputError(f"{path}, line {number}, is no JSON: run eval again") from None
        if row is not None:
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number}, is no row: run eval again")
            found[row.get("segment_id")] = _cleaned(row)
    return list(found.values())


def _cleaned(row: dict[str, Any]) -> Row:
    """With null for what is no number: a column of numbers has NaN where there is none."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _check(run: Run) -> None:
    for row in run.rows:
        if row.get("segment_id") is None:
            raise InputError(f"{run.folder} has a row without segment_id: run eval again")
        if row.get("error"):
            continue
        where = f"{run.folder}, row {row['segment_id']},"
        for name in (*NUMBERS, *(f"p_{label}" for label in run.labels)):
            if not isinstance(row.get(name), int | float | None):
                raise InputError(f"{where} has {name} {row[name]!r}, which is no number: run eval again")
        if (duration := row.get("duration_ms")) is not None and duration <= 0:
            raise InputError(f"{where} has duration_ms {duration:g}; mend it in the manifest, or leave it empty")
        if missing := [name for name in NEEDED[run.task] if name not in row]:
            raise InputError(f"{where} has no {missing[0]}, which task {run.task} needs: run eval again")
        if run.task == "label":
            for name in NEEDED["label"]:
                known = row[name] in run.labels or (name == "pred_label" and row[name] is None)
                if not known:
                    raise InputError(f"{where} has {name} {row[name]!r}, which is not among the labels in {PLAN}")
    check_splits(((str(source_of(row)), row.get("split")) for row in run.rows), str(run.folder))
