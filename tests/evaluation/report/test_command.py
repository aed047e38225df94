"""`auricle report` as it is called."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from auricle.cli.main import run as called
from tests.evaluation.report.runs import label_rows, transcribe_rows, write_run

SMALL = {"durations": (20.0, 60.0, 100.0, 500.0), "snrs": (None,)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", label_rows(sources=4, **SMALL))  # type: ignore[arg-type]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of an error."""
    assert called(["report", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("auricle: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_a_page_and_its_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "there" / "page.html"
    assert (
        called(["report", str(folder), "--out", str(out), "--resamples", "100", "--worst", "2", "--title", "Ears"]) == 0
    )
    assert "<title>Ears</title>" in out.read_text(encoding="utf-8")
    files = {path.name for path in (out.parent / "page_files").iterdir()}
    assert {"by-duration-ms.png", "key-figures.csv", "thresholds.csv"} <= files
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: ")
    assert "2 sounds" in printed.out
    assert "note: made-up heard 6 source(s) only" in printed.err


def test_another_folder_of_files(folder: Path) -> None:
    out, files = folder.parent / "page.html", folder.parent / "figures"
    assert called(["report", str(folder), "--out", str(out), "--files", str(files), "--no-fits"]) == 0
    assert (files / "roc.png").is_file()
    assert not (files / "thresholds.csv").exists()
    assert "figures/" in out.read_text(encoding="utf-8")


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(folder.parent / "page.html"), "--resamples", "100", "--at", "0.6,0.8", "--json"]
    assert called(["report", str(folder), *arguments]) == 0
    record = json.loads(capsys.readouterr().out)
    found = record["runs"]["made-up"]
    assert record["comparison"] is None
    assert [one["level"] for one in found["curves"][0]["thresholds"]] == [None, 0.6, 0.8]
    assert found["overall"][-1]["split"] == "test"


def test_options_reach_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run", label_rows(sources=4, unknowns=4, **SMALL))  # type: ignore[arg-type]
    options = ["--split", "all", "--unknown", "dropped", "--sound-bytes", "0", "--no-fits", "--json"]
    assert called(["report", str(folder), "--out", str(tmp_path / "page.html"), *options]) == 0
    found = json.loads(capsys.readouterr().out)["runs"]["made-up"]
    assert (found["reported_split"], found["unknown"]) == ("all", "dropped")
    assert "<audio" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert "its name must end in .html" in refused(capsys, folder, "--out", tmp_path / "page.pdf")
    (tmp_path / "d.html").mkdir()
    assert "which is a folder: name a file" in refused(capsys, folder, "--out", tmp_path / "d.html")
    assert "it has no plan.json" in refused(capsys, tmp_path / "nowhere", "--out", out)
    assert "split is 'eval'" in refused(capsys, folder, "--out", out, "--split", "eval")
    assert "is named twice" in refused(capsys, folder, folder, "--out", out)
    assert "at is 75.0" in refused(capsys, folder, "--out", out, "--at", "75")
    other = write_run(tmp_path / "other", transcribe_rows(2), task="transcribe", labels=None, model="other")
    assert "of transcribe: report them apart" in refused(capsys, folder, other, "--out", out)
    decided = write_run(tmp_path / "nodev", label_rows(sources=2, splits={"test": 1.0}, **SMALL))  # type: ignore[arg-type]
    assert "no split is called dev" in refused(capsys, decided, "--out", out, "--decide", "dev")
    assert not out.exists()


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "geteuid"), reason="needs POSIX folders")
def test_a_place_that_cannot_be_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "can't be written to" in refused(capsys, folder, "--no-fits", "--out", tmp_path / "file" / "page.html")
