"""The same rows: after kills, from batches of any size, from one process or from many."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from auricle.cli.main import run as main
from tests.evaluation.runner.clips import write_manifest, write_sounds

TIMES = {"preprocess_ms", "model_ms", "latency_ms", "batch"}
SCORES = {"confidence", "p_tone", "p_noise", "logits"}
WITHIN = 1e-5
CODE = "import torch; torch.set_num_threads(1); from auricle.cli.main import main; main()"
TINY = ("--model", "tiny", "--dtype", "float32")
Rows = list[dict[str, Any]]


def clips_of(folder: Path, count: int) -> Path:
    """Clips of several lengths, which batches have to fill up."""
    rows: list[dict[str, Any]] = []
    for number, seconds in enumerate((0.04, 0.3, 0.11, 0.9)):
        part = write_sounds(folder / str(number), count // 4, seconds)
        rows += [
            {**row, "path": f"{number}/{row['path']}", "source_id": f"{number}/{row['source_id']}"} for row in part
        ]
    rows = [{**row, "split": "test", "note": "é\n☃"} for row in rows]
    random.Random(3).shuffle(rows)
    return write_manifest(folder / "manifest.csv", rows)


def command(manifest: Path, out: Path, *options: object) -> list[str]:
    return [sys.executable, "-c", CODE, "eval", str(manifest), "--out", str(out), *map(str, options)]


def finished(manifest: Path, out: Path, *options: object) -> Rows:
    done = subprocess.run(command(manifest, out, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return rows_of(out)


def here(manifest: Path, out: Path, *options: object) -> Rows:
    """As `finished`, without a process of its own."""
    assert main(["eval", str(manifest), "--out", str(out), *map(str, options)]) == 0
    return rows_of(out)


def rows_of(out: Path) -> Rows:
    rows: Rows = pyarrow.parquet.read_table(out / "rows.parquet").to_pylist()
    return rows


def killed(manifest: Path, out: Path, after_rows: int, *options: object) -> bool:
    """Runs until there are so many rows, then kills it; False where it was done before."""
    lines = out / "rows.jsonl"
    with subprocess.Popen(
        command(manifest, out, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if after_rows == 0 or (lines.is_file() and lines.read_bytes().count(b"\n") >= after_rows):
                time.sleep(random.uniform(0, 0.05))
                break
            time.sleep(0.005)
        process.kill()
    return process.returncode == -9


def assert_same(found: Rows, wanted: Rows) -> None:
    """All columns but times; scores within 1e-5, of log-likelihoods below -1 of their size."""
    assert [row["segment_id"] for row in found] == [row["segment_id"] for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        exact = other.keys() - TIMES - SCORES
        assert one.keys() == other.keys()
        assert {name: one[name] for name in exact} == {name: other[name] for name in exact}
        for name in SCORES & other.keys():
            assert one[name] == pytest.approx(other[name], abs=WITHIN, rel=WITHIN), name


def test_killed_it_ends_with_the_same_rows(tmp_path: Path) -> None:
    manifest = clips_of(tmp_path / "set", 400)
    asked = ("--model", "energy", "--batch", 3)
    whole = here(manifest, tmp_path / "whole", "--model", "energy")
    assert killed(manifest, tmp_path / "run", 1, *asked)
    assert 0 < (tmp_path / "run" / "rows.jsonl").read_bytes().count(b"\n") < 400
    assert not (tmp_path / "run" / "rows.parquet").exists()
    assert_same(here(manifest, tmp_path / "run", *asked), whole)


@pytest.mark.slow
def test_killed_ten_times_it_ends_with_the_same_rows(tmp_path: Path) -> None:
    manifest = clips_of(tmp_path / "set", 400)
    whole, out = finished(manifest, tmp_path / "whole", *TINY), tmp_path / "run"
    moments = sorted(random.sample(range(390), 9))
    kills = [killed(manifest, out, moment, *TINY, "--batch", 4) for moment in (0, *moments)]
    assert kills == [True] * 10
    assert_same(finished(manifest, out, *TINY, "--batch", 4), whole)
    lines = [json.loads(line)["segment_id"] for line in (out / "rows.jsonl").read_text().splitlines()]
    assert sorted(lines) == sorted(row["segment_id"] for row in whole), "no clip was asked about twice"


@pytest.mark.slow
def test_batches_of_any_size_give_the_same_rows(tmp_path: Path) -> None:
    manifest = clips_of(tmp_path / "set", 60)
    one, *others = [finished(manifest, tmp_path / f"{size}", *TINY, "--batch", size) for size in (1, 7, 32)]
    for other in others:
        assert_same(other, one)
    assert {row["pred_label"] for row in one} == {"tone", "noise"}


@pytest.mark.slow
@pytest.mark.parametrize("options", [TINY, ("--model", "silero", "--labels", "tone,noise")])
def test_two_workers_of_a_cluster_give_the_same_rows(tmp_path: Path, options: Sequence[str]) -> None:
    manifest = clips_of(tmp_path / "set", 60)
    alone = finished(manifest, tmp_path / "alone", *options)
    spread = finished(manifest, tmp_path / "spread", *options, "--cluster", "local", "--workers", 2, "--batch", 7)
    assert_same(spread, alone)
