"""Folders of embeddings: plans, shards, going on after a kill, bad files, full disks, reading back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from safetensors import safe_open

import auricle
from auricle.api import Model
from auricle.errors import AuricleError, InputError, OptionError, SoundError, UnsupportedError
from auricle.jobs import extras
from auricle.represent import Embeddings, Settings, gather, open_embeddings, represent
from auricle.represent.cluster import represent_on_cluster
from auricle.represent.plan import batches_of, measure, shards_of
from auricle.sound.decode import Limits
from auricle.types import Extraction
from tests.sound.making import RATE, encoded, tone, written

SECONDS = (0.3, 1.0, 0.5, 2.1, 0.7, 0.7, 1.4, 33.0, 0.2, 0.9)


@pytest.fixture(scope="module")
def model(e2b: Path) -> Model:
    return auricle.load(str(e2b), device="cpu", encoder_only=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of sounds, 00.wav to 09.wav."""
    folder = tmp_path_factory.mktemp("clips")
    for i, seconds in enumerate(SECONDS):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        sound = written(tone(200 + 40 * i, seconds), RATE, "WAV", "PCM_16")
        (folder / "ab"[i % 2] / f"{i:02}.wav").write_bytes(sound)
    return folder


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file() and p.name != ".lock"
    }


# --- what is meant


def test_a_folder_is_all_its_sounds_by_name(clips: Path, tmp_path: Path) -> None:
    names = [Path(path).name for path in gather([clips]).paths]
    assert names == [f"{i:02}.wav" for i in (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)]
    (tmp_path / "notes.txt").write_text("no sound")
    with pytest.raises(SoundError, match="has no sound in it"):
        gather([tmp_path])
    with pytest.raises(InputError, match="no sound given"):
        gather([])


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_manifest_carries_its_other_columns(model: Model, clips: Path, tmp_path: Path, suffix: str) -> None:
    rows = [{"path": f"{'ab'[i % 2]}/{i:02}.wav", "label": f"l{i}", "take": i} for i in (3, 1)]
    manifest = clips / f"m.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), manifest)
    elif suffix == "jsonl":
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        comma = "," if suffix == "csv" else "\t"
        lines = [comma.join(map(str, row)) for row in [rows[0].keys(), *(row.values() for row in rows)]]
        manifest.write_text("\n".join(lines))
    represent(model, gather([], manifest), tmp_path / "out", Extraction(pooling="mean"))
    index = open_embeddings(tmp_path / "out").index
    assert index.column("label").to_pylist() == ["l3", "l1"]
    assert index.column("take").to_pylist() == [3, 1]
    assert index.column("path").to_pylist() == [str(clips / "b/03.wav"), str(clips / "b/01.wav")]
    assert pyarrow.parquet.read_table(tmp_path / "out" / "index.parquet").num_rows == 2


def test_a_manifest_that_cant_be_used_says_why(tmp_path: Path) -> None:
    def refused(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError) as caught:
            gather([], tmp_path / name)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no column 'path' of its own (its columns: file)" in refused("a.csv", "file\nx.wav\n")
    assert "no path in row 2 of 3" in refused("b.csv", "path,x\na.wav,1\n,2\nb.wav,3\n")
    assert "a column 'row', which the index has itself" in refused("c.csv", "path,row\na.wav,1\n")
    assert "can't be parsed" in refused("d.jsonl", "{path")
    assert "names no sound" in refused("e.txt", "\n\n")
    assert "it must be .txt, .csv" in refused("f.xml", "")
    with pytest.raises(InputError, match=r"there is no manifest .*none.txt"):
        gather([], tmp_path / "none.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_sound_of_a_folder_and_named_is_refused(model: Model, clips: Path, tmp_path: Path) -> None:
    """Reading it would wait for a writer that never comes."""
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "a.wav").symlink_to(clips / "a" / "00.wav")
    assert gather([tmp_path]).paths == (str(tmp_path / "a.wav"), str(tmp_path / "gone.wav"))
    done = represent(model, gather([tmp_path / "pipe.wav", tmp_path / "a.wav"]), tmp_path / "out")
    assert [one["item"] for one in done.failures] == [0]
    assert "is a pipe or a device, which can't be read twice" in done.failures[0]["reason"]


def test_a_name_that_is_no_utf8_is_embedded_and_spelt_out(model: Model, clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    try:
        (folder / "good\udcff.wav").write_bytes((clips / "a" / "00.wav").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    (folder / "bad\udcff.wav").write_bytes(b"no sound")
    represent(model, gather([folder]), tmp_path / "out", Extraction(pooling="mean"))
    index = open_embeddings(tmp_path / "out").index
    assert index.column("path").to_pylist() == [f"{folder}/good\\udcff.wav"]
    (failure,) = (tmp_path / "out" / "failures.jsonl").read_text("utf-8").splitlines()
    assert json.loads(failure)["path"] == f"{folder}/bad\\udcff.wav"


def test_numbers_of_a_csv_keep_their_leading_zeros(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,speaker,take,label\na.wav,007,7,NA\nb.wav,12,,x\nc.wav,,-3,\n")
    columns = gather([], tmp_path / "m.csv").columns
    assert columns.column("speaker").to_pylist() == ["007", "12", ""]
    assert columns.column("take").to_pylist() == [7, None, -3]
    assert columns.column("label").to_pylist() == ["NA", "x", ""]
    (tmp_path / "latin.csv").write_bytes(b"path,label\na.wav,caf\xe9\n")
    with pytest.raises(InputError, match="a column 'label' that is no UTF-8 text"):
        gather([], tmp_path / "latin.csv")


# --- the plan


def test_shards_and_batches_stay_within_their_bounds() -> None:
    rng = np.random.default_rng(0)
    lengths = [*rng.uniform(0.1, 40, 300), 2500.0, *rng.uniform(0.1, 40, 100)]
    shards = list(shards_of(lengths, Settings(shard_items=64), bytes_per_s=1.0))
    assert [i for first, end in shards for i in range(first, end)] == list(range(401))
    for first, end in shards:
        assert end - first <= 64
        assert sum(lengths[first:end]) <= 1800 or end - first == 1
        batches = list(batches_of(range(first, end), lengths, 120.0))
        assert sorted(i for batch in batches for i in batch) == list(range(first, end))
        for batch in batches:
            assert len(batch) <= 16
            assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 120
    wide = list(shards_of(lengths, Settings(), bytes_per_s=10e6))
    assert max(sum(lengths[first:end]) for first, end in wide if end - first > 1) <= 25.6


def test_lengths_are_told_by_headers_or_by_decoding(tmp_path: Path) -> None:
    sound = tone(440, 1.5)
    for name, data in {
        "a.wav": written(sound, RATE, "WAV", "PCM_16"),
        "b.flac": written(sound, RATE, "FLAC", "PCM_16"),
        "c.aac": encoded(sound, RATE, "adts", "aac"),
        "d.wav": b"no sound",
    }.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in ("a.wav", "b.flac", "c.aac", "d.wav", "none.wav")]
    assert measure(paths, Limits()) == pytest.approx([1.5, 1.5, 1.5, 0, 0], abs=0.2)


# --- what is written


@pytest.mark.parametrize("kind", ["safetensors", "npz", "memmap"])
def test_what_is_read_back_is_what_the_model_gives(model: Model, clips: Path, tmp_path: Path, kind: Any) -> None:
    items = gather([clips])
    done = represent(model, items, tmp_path, Extraction(layers="0,-1"), Settings(kind, shard_items=4))
    assert (done.items, done.shards, done.computed, done.failures) == (10, 3, 3, ())
    found = open_embeddings(tmp_path)
    assert found.index.num_rows == done.vectors == len(found.vectors())
    for i, path in enumerate(items.paths):
        rows = np.flatnonzero(found.index.column("item").to_numpy() == i)
        alone = model.embed(path, layers="0,-1")
        np.testing.assert_allclose(found.vectors(rows), alone.vectors.transpose(1, 0, 2), atol=2e-4)
        np.testing.assert_array_equal(found.index.column("start_s").to_numpy()[rows], alone.start_s)
        np.testing.assert_array_equal(found.index.column("end_s").to_numpy()[rows], alone.end_s)
        np.testing.assert_allclose(found.index.column("seconds").to_numpy()[rows], alone.seconds)
    picked = [5, 0, found.index.num_rows - 1]
    np.testing.assert_array_equal(found.vectors(picked), found.vectors()[picked])
    assert len(set(found.index.column("sha256").to_pylist())) == 10
    if kind == "memmap":
        assert np.load(tmp_path / "vectors.npy", mmap_mode="r").shape == found.vectors().shape
    if kind == "safetensors":
        with safe_open(tmp_path / "vectors-00000.safetensors", "numpy") as file:
            words = json.loads(file.metadata()["auricle"])
        assert words["provenance"] == model.provenance()
        assert words["settings"]["layers"] == [0, 2]


@pytest.mark.parametrize("kind", ["safetensors", "npz", "memmap"])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(
    model: Model, e2b: Path, clips: Path, tmp_path: Path, kind: Any
) -> None:
    (clips / "b" / "bad.wav").write_bytes(b"no sound")
    represent(model, gather([clips]), tmp_path / "whole", settings=Settings(kind, shard_items=2))
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "-c",
        "from auricle.cli.main import main; main()",
        "embed",
        str(clips),
        "--out",
        str(out),
    ]
    command += ["--model", str(e2b), "--device", "cpu", "--format", kind, "--shard-items", "2"]
    # Between two shards this environment makes the process wait, so that the kill finds it in the middle.
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (out / "parts" / "00001.parquet").is_file() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(list((out / "parts").glob("*.parquet")))
    assert before >= 2
    if kind == "memmap":
        with (out / "vectors.npy").open("ab") as file:
            file.write(b"half a shard")
    (out / ".vectors-00003.safetensors.part").write_bytes(b"half a shard")
    (out / ".vectors-00003.npz.part").write_bytes(b"half a shard")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "1 of 11 sounds could not be read" in done.stderr
    (out / ".vectors-00003.safetensors.part").unlink(missing_ok=True)
    (out / ".vectors-00003.npz.part").unlink(missing_ok=True)
    found, whole = contents(out), contents(tmp_path / "whole")
    (clips / "b" / "bad.wav").unlink()
    assert found.keys() == whole.keys()
    assert [name for name in found if found[name] != whole[name]] == []


def test_what_is_done_is_not_done_again(model: Model, clips: Path, tmp_path: Path) -> None:
    items = gather([clips / "a"])
    represent(model, items, tmp_path, settings=Settings(shard_items=2))
    before = contents(tmp_path)
    (tmp_path / "parts" / "00001.parquet").unlink()
    done = represent(model, items, tmp_path, settings=Settings(shard_items=2))
    assert (done.shards, done.computed) == (3, 1)
    assert contents(tmp_path) == before


def test_a_folder_of_something_else_is_refused_with_the_difference(model: Model, clips: Path, tmp_path: Path) -> None:
    items = gather([clips / "a"])
    represent(model, items, tmp_path / "out")

    def refused(*arguments: Any, of: Any = model, to: str = "out") -> str:
        with pytest.raises(InputError) as caught:
            represent(of, arguments[0], tmp_path / to, *arguments[1:])
        return str(caught.value)

    assert "was begun with stage encoder, and not projector" in refused(items, Extraction(stage="projector"))
    assert "was begun with layers 2, and not 0,1" in refused(items, Extraction(layers="0,1"))
    assert "was begun with format safetensors, and not npz" in refused(items, None, Settings("npz"))
    assert "was begun with 5 sounds, and not 10" in refused(gather([clips]))
    others = gather([*items.paths[:4], clips / "b" / "01.wav"])
    assert "was begun with other sounds" in refused(others)
    tiny = auricle.load("tiny", encoder_only=True)
    assert "was begun with" in refused(items, Extraction(layers=2), of=tiny)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "holds other files (letter.txt, ...)" in refused(items, to="mine")
    assert "there is no layer 9: stage 'encoder' has layers 0 to 2" in refused(items, Extraction(layers=9), to="new")
    assert "can't be written to" in refused(items, to="mine/letter.txt/out")
    assert "can't be written to (File name too long)" in refused(items, to="x" * 300)
    with pytest.raises(InputError, match=r"was begun with max_seconds 3600.0, and not 60:"):
        represent(model, items, tmp_path / "out", limits=Limits(max_seconds=60))


def test_a_sound_that_has_changed_is_noticed_although_its_size_has_not(
    model: Model, clips: Path, tmp_path: Path
) -> None:
    for name in ("one.wav", "two.wav"):
        (tmp_path / name).write_bytes((clips / "a" / "02.wav").read_bytes())
    items = gather([tmp_path / "one.wav", tmp_path / "two.wav"])
    represent(model, items, tmp_path / "out")
    other = written(tone(999, SECONDS[2]), RATE, "WAV", "PCM_16")
    assert len(other) == (tmp_path / "two.wav").stat().st_size
    (tmp_path / "two.wav").write_bytes(other)
    with pytest.raises(InputError, match="was begun with other sounds, or files that have changed since"):
        represent(model, items, tmp_path / "out")


def test_two_runs_into_one_folder_are_told_apart(model: Model, clips: Path, tmp_path: Path) -> None:
    from auricle.jobs.folder import locked

    with locked(tmp_path), pytest.raises(InputError, match="another run is writing"):
        represent(model, gather([clips / "a"]), tmp_path)


# --- what goes wrong


def test_unreadable_files_are_recorded_and_the_others_done(model: Model, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    (tmp_path / "short.wav").write_bytes(written(tone(440, 0.005), RATE, "WAV", "PCM_16"))
    items = gather([tmp_path / "bad.wav", clips / "a" / "00.wav", tmp_path / "none.wav", tmp_path / "short.wav"])
    done = represent(model, items, tmp_path / "out", settings=Settings(shard_items=1))
    assert [one["item"] for one in done.failures] == [0, 2, 3]
    lines = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert lines == list(done.failures)
    assert "is no sound that can be decoded" in lines[0]["reason"]
    assert "there is no file" in lines[1]["reason"]
    assert set(open_embeddings(tmp_path / "out").index.column("item").to_pylist()) == {1}
    with pytest.raises(SoundError, match="is no sound that can be decoded"):
        represent(model, items, tmp_path / "strict", strict=True)


@pytest.mark.parametrize("kind", ["safetensors", "npz", "memmap"])
def test_a_full_disk_leaves_what_was_written_readable(e2b: Path, clips: Path, tmp_path: Path, kind: str) -> None:
    """A limit on the size of files stands for a disk that is full: writing fails in the middle."""
    code = (
        "import resource, sys; from auricle.cli.main import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); main()"
    )
    command = [sys.executable, "-c", code, "embed", str(clips), "--out", str(tmp_path), "--model", str(e2b)]
    command += ["--device", "cpu", "--format", kind, "--shard-items", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert "is full; the shards that are whole can be read: free some, and run the same command again" in done.stderr
    found: Embeddings = open_embeddings(tmp_path)
    assert 0 < found.index.num_rows == len(found.vectors())
    assert np.isfinite(found.vectors()).all()
    assert not list(tmp_path.rglob("*.part"))
    again = subprocess.run([sys.executable, "-c", code.replace("60_000", "60_000_000"), *command[3:]], check=False)
    assert again.returncode == 0
    assert set(open_embeddings(tmp_path).index.column("item").to_pylist()) == set(range(10))


def test_what_was_stopped_says_how_far_it_came(e2b: Path, clips: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from auricle.cli.main import main; main()",
        "embed",
        str(clips),
        "--device",
        "cpu",
    ]
    command += ["--model", str(e2b), "--out", str(tmp_path), "--shard-items", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "parts" / "00000.parquet").is_file() and process.poll() is None:
        time.sleep(0.0005)
    os.kill(process.pid, signal.SIGINT)
    told = process.communicate()[1]
    assert process.returncode == 130, told
    assert "of 10 shards are written to" in told
    assert "run the same command again to go on" in told
    assert "Traceback" not in told


def test_settings_outside_their_range_are_refused() -> None:
    for settings, message in (
        ({"format": "csv"}, "format is 'csv'"),
        ({"batch_seconds": 0}, "batch_seconds is 0"),
        ({"batch_seconds": float("nan")}, "batch_seconds is nan"),
        ({"shard_items": 0}, "shard_items is 0"),
    ):
        with pytest.raises(OptionError, match=message):
            Settings(**settings)  # type: ignore[arg-type]


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnsupportedError, match=r'reading needs pyarrow, .*: pip install "auricle\[embed\]"'):
        extras.needed("pyarrow", "reading", "embed")


def test_a_folder_without_embeddings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no plan.json"):
        open_embeddings(tmp_path)


# --- on a cluster


def test_a_cluster_that_is_not_there_is_told_at_once(model: Model, clips: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    begun = time.perf_counter()
    with pytest.raises(AuricleError, match=rf"no Ray cluster at '127.0.0.1:{port}' .*: start one, or give local"):
        represent_on_cluster(
            model, {}, gather([clips]), tmp_path, Extraction(), Settings(), address=f"127.0.0.1:{port}"
        )
    assert time.perf_counter() - begun < 20  # Ray's own attempts take minutes


@pytest.mark.slow
def test_ray_writes_what_one_process_writes_and_goes_on_from_it(e2b: Path, clips: Path, tmp_path: Path) -> None:
    settings = Settings(shard_items=3)
    (clips / "a" / "zz-broken.wav").write_bytes(b"no sound")
    try:
        items = gather([clips])
        model = auricle.load(str(e2b), device="cpu", encoder_only=True)
        represent(model, items, tmp_path / "local", Extraction(pooling="mean"), settings)
        command = [sys.executable, "-c", "from auricle.cli.main import main; main()", "embed", str(clips)]
        command += ["--model", str(e2b), "--device", "cpu", "--pooling", "mean", "--shard-items", "3"]
        command += ["--out", str(tmp_path / "ray"), "--cluster", "local", "--workers", "2", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 2, done.stderr  # one sound could not be read
        assert json.loads(done.stdout)["failures"] == 1
        mine, theirs = contents(tmp_path / "local"), contents(tmp_path / "ray")
        assert mine.keys() == theirs.keys()
        assert {name for name in mine if mine[name] != theirs[name]} <= {
            "plan.json"
        }  # which dates its making, if at all
    finally:
        (clips / "a" / "zz-broken.wav").unlink()
