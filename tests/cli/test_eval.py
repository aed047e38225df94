"""`auricle eval` by hand: what it prints and where, what it goes on with, and the one line for what can't be asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest

from tests import audio_models
from tests.cli.conftest import Run
from tests.evaluation.runner.clips import write_manifest, write_sounds

Refused = Callable[..., str]
BOTH = ("--labels", "tone,noise")
CLI = "from auricle.cli.main import main; main()"
ENERGY = ("--model", "energy", *BOTH)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    return write_manifest(folder / "manifest.csv", write_sounds(folder, 8))


def written(rows: list[dict[str, object]], folder: Path) -> Path:
    return write_manifest(folder / "m.csv", rows)


def test_a_table_and_nothing_else_on_stdout(auricle: Run, manifest: Path, tmp_path: Path) -> None:
    done = auricle("eval", manifest, "--out", tmp_path / "run")
    lines = done.out.splitlines()
    assert (done.status, done.err) == (0, "")
    assert lines[0] == f"# 8 clips, 8 asked about now: {tmp_path / 'run' / 'rows.parquet'}"
    assert lines[1].split()[:4] == ["split", "unknown", "rows", "errors"]
    assert [line.split()[0] for line in lines[2:4]] == ["dev", "test"]
    assert lines[4:] == [""]
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert (plan["task"], plan["labels"], plan["model"]) == ("label", ["tone", "noise"], "tiny")
    about = json.loads((tmp_path / "run" / "about.json").read_text())
    assert about["manifest"]["clips"] == 8
    assert about["sessions"][0]["load_s"] > 0


def test_again_asks_about_nothing_and_json_says_so(auricle: Run, manifest: Path, tmp_path: Path) -> None:
    first = auricle("eval", manifest, "--out", tmp_path / "run", *ENERGY, "--json").json
    again = auricle("eval", manifest, "--out", tmp_path / "run", *ENERGY, "--json").json
    assert (first["rows"], first["asked"], first["errors"]) == (8, 8, 0)
    assert (again["rows"], again["asked"]) == (8, 0)
    assert again["overall"] == first["overall"]
    assert again["out"] == str(tmp_path / "run")


def test_a_limit_and_a_split_choose_clips_and_not_labels(auricle: Run, manifest: Path, tmp_path: Path) -> None:
    few = auricle("eval", manifest, "--out", tmp_path / "few", "--model", "energy", "--limit", 1, "--json")
    assert (few.json["rows"], few.json["labels"]) == (1, ["tone", "noise"])
    assert few.err == "note: no clip has the label 'noise'\n"
    half = auricle("eval", manifest, "--out", tmp_path / "half", *ENERGY, "--split", "test", "--limit", 3, "--json")
    assert half.json["rows"] == 3
    table = pyarrow.parquet.read_table(tmp_path / "half" / "rows.parquet")
    assert table.column("split").to_pylist() == ["test"] * 3


def test_an_error_in_a_row_is_told_and_ends_with_2(auricle: Run, tmp_path: Path) -> None:
    rows = write_sounds(tmp_path, 4)
    (tmp_path / "clip001.wav").write_bytes(b"no sound")
    done = auricle("eval", written(rows, tmp_path), "--out", tmp_path / "run", *ENERGY)
    assert done.status == 2
    assert done.out.startswith("# 4 clips, 4 asked about now")
    table = tmp_path / "run" / "rows.parquet"
    assert done.err == f"auricle: 1 of 4 clips have no answer: column 'error' of {table} says why\n"
    write_sounds(tmp_path, 4)
    mended = auricle("eval", written(rows, tmp_path), "--out", tmp_path / "run", *ENERGY)
    assert mended.status == 0
    assert mended.err == "note: 1 clips have changed since they were asked about, and were asked about again\n"


def test_labels_of_a_head_count_for_ours(auricle: Run, refused: Refused, manifest: Path, tmp_path: Path) -> None:
    head = f"transformers:{audio_models.make_labels(tmp_path / 'head')}"
    names = ("--map", "speech=tone", "--map", "music=tone", "--map", "rain=noise")
    done = auricle("eval", manifest, "--out", tmp_path / "run", "--model", head, *BOTH, *names)
    assert done.status == 0, done
    rows = pyarrow.parquet.read_table(tmp_path / "run" / "rows.parquet").to_pylist()
    assert {row["parse_rule"] for row in rows} == {"head"}
    assert all(row["p_tone"] + row["p_noise"] == pytest.approx(1) for row in rows)
    assert {row["raw_output"] for row in rows} <= set(audio_models.LABELS)
    asked = ("eval", manifest, "--out", tmp_path / "other", "--model", head, *BOTH)
    assert "has no label 'tone' among its 4" in refused(*asked)
    assert "has no label 'horse' among its 4" in refused(*asked, "--map", "horse=tone", "--map", "rain=noise")
    assert refused(*asked, "--map", "rain=noise").endswith("stands for 'tone': say which with --map OWN=tone")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--labels", "tone,tone"), "labels has 'tone' more than once"),
        (("--labels", "tone"), "labels has 1, and energy tells two apart"),
        (("--labels", "tone,,noise"), "labels has '', which is no label"),
        (("--labels", "tone,no\x00ise"), "which can't be printed: give it without control characters"),
        (("--labels", "tone,bark"), "4 clips have the label 'noise', which is none of tone, bark"),
        (("--labels", "tone,speech"), "energy finds the first: name speech first"),
        (("--split", "train"), "split is 'train', and {manifest} has dev, test: name one of these"),
        (("--limit", "0"), "limit is 0; it must be at least 1"),
        (("--batch", "0"), "batch is 0"),
        (("--max-errors", "-1"), "max_errors is -1"),
        (("--workers", "2"), "workers is 2, and cluster is not given"),
        (("--map", "speech"), "map is 'speech'; it must be OWN=LABEL"),
        (("--map", "a=tone"), "leave prompt, free and map out"),
        (("--prompt", "options"), "leave prompt, free and map out"),
        (("--free",), "leave prompt, free and map out"),
        (("--question", "What?"), "question is an option of task answer, and task is label: leave it out"),
        (("--choices", "a,b"), "choices is an option of task answer"),
        (("--normaliser", "none"), "normaliser is an option of task transcribe or answer"),
        (("--task", "transcribe", "--text-column", "said"), "energy only tells labels apart: --task label"),
        (("--task", "answer", "--map", "a=b"), "map is an option of task label, and task is answer"),
    ],
)
def test_what_a_baseline_or_a_task_can_not_do(
    refused: Refused, manifest: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    said = refused("eval", manifest, "--out", tmp_path / "run", "--model", "energy", *options)
    assert message.format(manifest=manifest) in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "path,label\n", "has no rows"),
        ("m.csv", "file,label\nx.wav,tone\n", "has no 'path' (its columns: file, label)"),
        ("m.csv", "path\nx.wav\n", "the manifest's column 'label' has none: name at least two labels with --labels"),
        ("m.csv", "path,label\na/x.wav,tone\na/x.mp3,noise\n", "has two sounds called 'a/x'"),
        ("m.csv", "path,label,source_id,split\nx.wav,a,s,dev\ny.wav,b,s,test\n", "dev"),
        ("m.txt", "x", "must end in .parquet, .csv, .tsv, .jsonl"),
        ("m.jsonl", '{"path": 3', "can't be parsed"),
        ("m.parquet", "PAR1", "can't be parsed"),
        ("m.csv", "path,label,start_s,end_s\nx.wav,a,2,1\ny.wav,b,,\n", "it must start at 0 or later, and end after"),
    ],
)
def test_manifests_that_are_none(refused: Refused, tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    assert message in refused("eval", tmp_path / name, "--out", tmp_path / "run", "--model", "energy")
    assert not (tmp_path / "run").exists()


def test_manifests_that_are_not_there(refused: Refused, tmp_path: Path) -> None:
    for given, meant in ((tmp_path, tmp_path / "manifest.parquet"), (tmp_path / "m.csv", tmp_path / "m.csv")):
        said = refused("eval", given, "--out", tmp_path / "run")
        assert said == f"there is no manifest {meant}; check the path"


def test_columns_that_a_task_needs(refused: Refused, manifest: Path, tmp_path: Path) -> None:
    asked = ("eval", manifest, "--out", tmp_path / "run")
    assert "put what is said into the manifest's column 'said'" in refused(
        *asked, "--task", "transcribe", "--text-column", "said"
    )
    assert "8 of 8 clips have no question: fill the manifest's column 'question'" in refused(*asked, "--task", "answer")
    assert "8 of 8 clips have no answer" in refused(*asked, "--task", "answer", "--question", "What?")
    assert not (tmp_path / "run").exists()


def test_another_run_in_the_folder_is_refused_and_leaves_it_as_it_is(
    auricle: Run, refused: Refused, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    auricle("eval", manifest, "--out", out, *ENERGY)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    said = refused("eval", manifest, "--out", out, "--model", "energy", "--labels", "noise,tone", "--limit", 2)
    assert said.startswith(f'{out} was begun with labels ["tone", "noise"], and not ["noise", "tone"]')
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_of_other_files_is_refused_and_left_alone(refused: Refused, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    said = refused("eval", manifest, "--out", tmp_path, *ENERGY)
    assert said == f"{tmp_path} holds other files (thesis.txt, ...) and no plan.json: name a folder of its own"
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["thesis.txt"]
    said = refused("eval", manifest, "--out", manifest.parent, *ENERGY)
    assert "and no plan.json: name a folder of its own" in said
    assert not (manifest.parent / "about.json").exists()


def test_a_folder_that_can_not_be_made(refused: Refused, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused("eval", manifest, "--out", tmp_path / "file" / "run", *ENERGY)
    assert said == f"{tmp_path / 'file' / 'run'} can't be written to (Not a directory): name another folder"


def test_a_full_disk_leaves_rows_to_go_on_with(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that is full: writing fails in the middle."""
    manifest = written(write_sounds(tmp_path / "set", 40, 0.05), tmp_path / "set")
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000)); {CLI}"
    command = [sys.executable, "-c", code, "eval", str(manifest), "--out", str(tmp_path / "run"), *ENERGY]
    done = subprocess.run([*command, "--batch", "4"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "run is full; what is done stays: free some, and run the same command again" in done.stderr
    command[2] = code.replace("9_000", "9_000_000")
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    found = json.loads(again.stdout)
    assert again.returncode == 0
    assert found["rows"] == 40
    assert 0 < found["asked"] < 40


def test_ctrl_c_tells_how_far_it_came(tmp_path: Path) -> None:
    manifest = written(write_sounds(tmp_path / "set", 400, 0.5), tmp_path / "set")
    out = tmp_path / "run"
    command = [sys.executable, "-c", CLI, "eval", str(manifest), "--out", str(out), "--batch", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (out / "rows.jsonl").is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    count = len((out / "rows.jsonl").read_text().splitlines())
    assert stderr == f"note: {count} rows are written to {out / 'rows.jsonl'}: run the same command again to go on\n"
    assert 0 < count < 400


def test_sounds_that_are_too_long_or_too_large_are_errors(auricle: Run, manifest: Path, tmp_path: Path) -> None:
    for option, value in (("--max-seconds", 0.1), ("--max-bytes", 500)):
        out = tmp_path / option
        done = auricle("eval", manifest, "--out", out, *ENERGY, option, value)
        assert done.status == 2
        assert "8 of 8 clips have no answer" in done.err
        errors = pyarrow.parquet.read_table(out / "rows.parquet").column("error").to_pylist()
        assert all(error and "clip00" in error for error in errors)


def test_a_manifest_in_the_folder_of_the_run_is_refused(refused: Refused, manifest: Path, tmp_path: Path) -> None:
    inside = tmp_path / "run" / "m.csv"
    inside.parent.mkdir()
    inside.write_text(manifest.read_text())
    said = refused("eval", inside, "--out", tmp_path / "run", *ENERGY)
    assert said == f"{tmp_path / 'run'} holds other files (m.csv, ...) and no plan.json: name a folder of its own"


def test_the_rows_of_a_run_as_a_manifest_are_told_of(auricle: Run, manifest: Path, tmp_path: Path) -> None:
    auricle("eval", manifest, "--out", tmp_path / "first", *ENERGY)
    done = auricle("eval", tmp_path / "first" / "rows.parquet", "--out", tmp_path / "second", *ENERGY)
    assert done.status == 0
    assert done.err.startswith("note: columns of the manifest are left out, since a run has them for its own answers: ")
    assert "batch, confidence, latency_ms, logits, model, ..." in done.err
