"""The rows of a run: a line each as they come, and a table in the manifest's order once all are there.

A row has the columns of its clip in the manifest, and those below; each task adds its own.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from auricle.errors import InputError
from auricle.evaluation.manifest import COLUMNS, write_manifest

LINES, TABLE = "rows.jsonl", "rows.parquet"
Row = dict[str, Any]

# name -> pyarrow type, and what it says. `p_LABEL`, a column for each label, stands with those that nobody knows.
ANSWERED: dict[str, tuple[str, str]] = {
    "row_id": ("string", "of the clip's samples and its row in the manifest: another one is asked about again"),
    "true_label": ("string", "the clip's label"),
    "pred_label": ("string", "the answer; null is unknown, or an error"),
    "confidence": ("float64", "the probability of pred_label, not calibrated"),
    "logits": ("list<float64>", "log-likelihoods: for each order of the labels, each label; of a baseline its scores"),
    "label_order": ("string", "which orders of the labels were asked"),
    "prompt_id": ("string", "the prompt's name and a hash of its text"),
    "parse_rule": ("string", "how the answer was read"),
    "question": ("string", "what was asked"),
    "true_answer": ("string", "the right answer"),
    "pred_answer": ("string", "the answer"),
    "right": ("bool", "whether they are the same after the normaliser"),
    "true_text": ("string", "what is said"),
    "pred_text": ("string", "what was written down"),
    "normaliser": ("string", "what both went through before they were compared"),
    "wer": ("float64", "word error rate; null where nothing is said"),
    "cer": ("float64", "character error rate"),
    "substitutions": ("int64", "words"),
    "insertions": ("int64", "words"),
    "deletions": ("int64", "words"),
    "words": ("int64", "that are said"),
    "char_edits": ("int64", "characters"),
    "chars": ("int64", "that are said"),
    "raw_output": ("string", "the model's own words"),
    "finish_reason": ("string", "stop, or length where the answer was cut"),
    "model": ("string", "who was asked"),
    "model_revision": ("string", "which weights"),
    "preprocess_ms": ("float64", "reading the file and all before the model; in a batch, its share"),
    "model_ms": ("float64", "the model; in a batch, its share"),
    "latency_ms": ("float64", "both, by the clock"),
    "batch": ("int64", "clips that were asked about together"),
    "error": ("string", "why there is no answer"),
}


class Rows:
    """`rows.jsonl` of a run's folder: read, and added to."""

    def __init__(self, out: Path) -> None:
        self.path = out / LINES

    def count(self) -> int:
        """Lines that are whole."""
        return self.path.read_bytes().count(b"\n") if self.path.is_file() else 0

    def read(self) -> dict[str, Row]:
        """The newest row of each clip, by `segment_id`. A line that was being written when a run was killed is cut off.

        Raises:
            InputError: a line is damaged.
        """
        if not self.path.is_file():
            return {}
        self._cut()
        with self.path.open("rb") as lines:
            rows = [_parsed(line, number, self.path) for number, line in enumerate(lines, 1)]
        return {row["segment_id"]: row for row in rows}

    def add(self, rows: Iterable[Row]) -> list[Row]:
        """On the disk when this returns; gives the rows as they will be read, so that a resumed run has the same."""
        # What JSON has no word for, such as a date of the manifest, is text.
        lines = [json.dumps(_finite(row), ensure_ascii=False, allow_nan=False, default=str) for row in rows]
        with self.path.open("ab") as stream:
            stream.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
            stream.flush()
            os.fsync(stream.fileno())
        return [dict(json.loads(line)) for line in lines]

    def _cut(self) -> None:
        with self.path.open("rb+") as stream:
            content = stream.read()
            if not content.endswith(b"\n"):
                stream.truncate(content.rfind(b"\n") + 1)


def results_of(labels: Iterable[str]) -> set[str]:
    """Columns that only an answer can fill, also if a manifest has them, as the rows of another run do."""
    return (ANSWERED.keys() - {"question"}) | {f"p_{label}" for label in labels}


def write_table(out: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """All rows as `rows.parquet`."""
    write_manifest(out / TABLE, rows, about, {**COLUMNS, **ANSWERED})


def _parsed(line: bytes, number: int, path: Path) -> Row:
    try:
        row = json.loads(line)
        for name in ("segment_id", "row_id", "error"):
            row[name]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}, line {number}, is no row of a run: name another folder") from None
    return dict(row)


def _finite(value: Any) -> Any:
    """With null for what JSON has no number for: a label that can't be said has a log-likelihood of minus infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
