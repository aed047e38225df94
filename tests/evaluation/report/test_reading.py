"""Folders of runs as they are found: whole, broken off, damaged, or of something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auricle.errors import InputError
from auricle.evaluation.analysis import read_run
from tests.evaluation.report.runs import label_rows, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", label_rows(sources=2, durations=(20.0, 100.0), snrs=(None,)), sounds=False)


def test_a_whole_run(folder: Path) -> None:
    run = read_run(folder)
    assert run.complete
    assert (run.task, run.labels, run.model, len(run.rows), run.planned) == (
        "label",
        ("speech", "nonspeech"),
        "made-up",
        8,
        8,
    )
    assert run.load_s == 1.234  # of the last time, and not of the first
    assert run.rows[0]["snr_db_nominal"] is None


def test_a_file_of_it_will_do(folder: Path) -> None:
    assert read_run(folder / "rows.parquet").folder == folder


def test_one_that_was_killed(tmp_path: Path) -> None:
    """Half of the lines are there, and a piece of another."""
    run = read_run(write_run(tmp_path / "run", label_rows(sources=4), complete=False, sounds=False))
    assert not run.complete
    assert 2 * len(run.rows) == run.planned


def test_of_two_rows_of_a_sound_the_last_counts(tmp_path: Path) -> None:
    """As after a resumed run that asked again about errors."""
    rows = label_rows(sources=1, durations=(20.0,), snrs=(None,), errors=1)
    folder = write_run(tmp_path / "run", [*rows, *rows], complete=False, sounds=False)
    failed = {**rows[0], "error": "no sound"}
    fine = {**rows[0], "error": None, "pred_label": "speech"}
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (failed, fine)), encoding="utf-8")
    (row,) = read_run(folder).rows
    assert row["error"] is None


def test_a_table_of_fewer_rows_than_clips_is_not_complete(folder: Path) -> None:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    about["manifest"]["clips"] = 9
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    assert not read_run(folder).complete


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("plan.json", None, "is no folder of `auricle eval` .it has no plan.json.: name one"),
        ("plan.json", "{", "plan.json is damaged"),
        ("plan.json", '{"task": "dance"}', "has task 'dance'; it must be one of label, transcribe, answer"),
        ("about.json", "{", "about.json is damaged"),
        ("rows.parquet", "PAR1", "rows.parquet can't be read"),
    ],
)
def test_damage_is_told(folder: Path, name: str, content: str | None, message: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as told:
        read_run(folder)
    assert "\n" not in str(told.value)


def test_no_rows_yet(folder: Path) -> None:
    (folder / "rows.parquet").unlink()
    for left in ("", None):
        if left is None:
            (folder / "rows.jsonl").unlink()
        else:
            (folder / "rows.jsonl").write_text(left, encoding="utf-8")
        with pytest.raises(InputError, match="has no rows yet"):
            read_run(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"true_label": "song"}, "true_label 'song', which is not among the labels"),
        ({"pred_label": "song"}, "pred_label 'song', which is not among the labels"),
        ({"true_label": None}, "true_label None, which is not among the labels"),
        ({"split": "train"}, "in splits"),
        ({"p_speech": 1.5}, "each must be from 0 to 1"),
        ({"duration_ms": 0.0}, "has duration_ms 0; mend it in the manifest"),
    ],
)
def test_rows_that_no_run_writes(tmp_path: Path, change: dict[str, object], message: str) -> None:
    from auricle.evaluation.analysis import summarise

    rows = label_rows(sources=1, durations=(20.0, 100.0), snrs=(None,), splits={"test": 1.0})
    rows[0] |= change
    folder = write_run(tmp_path / "run", rows, sounds=False)
    with pytest.raises(InputError, match=message):
        summarise(read_run(folder))


def test_a_line_in_the_middle_that_is_no_json(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", label_rows(sources=2), complete=False, sounds=False)
    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "rows.jsonl").write_text("\n".join([lines[0], "{", lines[1]]), encoding="utf-8")
    with pytest.raises(InputError, match=r"rows.jsonl, line 2, is no JSON"):
        read_run(folder)


@pytest.mark.parametrize("name", ["p_speech", "confidence", "snr_db_nominal", "latency_ms"])
def test_words_where_numbers_belong(tmp_path: Path, name: str) -> None:
    rows = label_rows(sources=2)
    rows[1][name] = "high"
    folder = write_run(tmp_path / "run", rows, complete=False, sounds=False)
    with pytest.raises(InputError, match=f"row {rows[1]['segment_id']}, has {name} 'high', which is no number"):
        read_run(folder)


def test_a_line_that_is_no_row(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", label_rows(sources=2), complete=False, sounds=False)
    lines = folder / "rows.jsonl"
    lines.write_text("[1, 2]\n" + lines.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(InputError, match="is no row"):
        read_run(folder)
