"""Sounds to folders of codes: what is written, by how many, resumed, refused, and what happens to bad sounds."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lhotse
import numpy as np
import pytest
import torch
from lhotse import CutSet
from safetensors.torch import load_file, save_file

from auricle.audiolm.codecs import load_codec
from auricle.audiolm.data import shards, tokenize
from auricle.audiolm.data.encoding import dtype_for
from auricle.audiolm.data.manifests import read_cuts
from auricle.audiolm.data.outcome import Outcome
from auricle.audiolm.data.shards import pieces
from auricle.audiolm.data.sounds import Sound, gather
from auricle.audiolm.data.tokenize import Settings
from auricle.errors import AuricleError, InputError, OptionError, SoundError, UnsupportedError
from auricle.jobs import extras
from auricle.sound.decode import Limits, decode
from tests.audiolm.data.conftest import LENGTHS, Contents
from tests.audiolm.random_codec import FRAME, RATE
from tests.sound.making import tone, written

SHARES = {"train": 0.5, "test": 0.5}


def run(sounds: list[Sound], out: Path, codec: Path, **options: Any) -> Outcome:
    names = ("workers", "cluster", "progress")
    others = {name: options.pop(name) for name in names if name in options}
    settings = Settings(**{"codec": str(codec), "clip": 0.5, "shard": 4, "device": "cpu", **options})
    return tokenize.tokenize(sounds, out, settings, **{"workers": 1, **others})


@pytest.fixture
def sounds(clips: Path) -> list[Sound]:
    return gather([clips], splits=SHARES)


@pytest.fixture(scope="module")
def done(clips: Path, codec_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of theirs. To be read only."""
    out = tmp_path_factory.mktemp("done") / "out"
    run(gather([clips], splits=SHARES), out, codec_folder)
    return out


# --- what is written


def test_the_codes_are_those_of_the_whole_sound(done: Path, clips: Path, codec_folder: Path) -> None:
    codec = load_codec(str(codec_folder), device="cpu")
    found: dict[str, list[Any]] = {}
    for split in SHARES:
        for item in read_cuts(done, split, codebooks=4, frame_rate=50):
            found.setdefault(item.source, []).append(item)
    assert found.keys() == LENGTHS.keys()
    for name, seconds in LENGTHS.items():
        whole = codec.encode(decode(clips / f"{name}.wav", rate=RATE).samples)
        assert np.array_equal(np.concatenate([item.load(64) for item in found[name]]), whole)
        assert len(whole) == -(-round(seconds * RATE) // FRAME)
        assert all(item.frames <= 25 for item in found[name])
        assert [item.last for item in found[name]] == [False] * (len(found[name]) - 1) + [True]
        assert {item.codec for item in found[name]} == {str(codec_folder)}


def test_lhotse_reads_it_wherever_it_lies(done: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(done, tmp_path / "moved")
    cuts = CutSet.from_file(moved / "cuts_train.jsonl.gz").with_features_path_prefix(moved)
    lhotse.validate(cuts, read_data=True)
    ours = {item.id: item for item in read_cuts(moved, "train")}
    for cut in cuts:
        assert cut.num_features == 4
        assert cut.sampling_rate == RATE
        assert cut.features.storage_type == "numpy_hdf5"
        codes = cut.load_features()
        assert codes.dtype == np.int16
        assert np.array_equal(codes, ours[cut.id].load())
        assert len(codes) == cut.num_frames == ours[cut.id].frames
        assert not Path(str(cut.custom["path"])).is_relative_to(moved)
        assert len(cut.custom["sha256"]) == 64


def test_items_start_where_they_lie_in_their_sound(done: Path) -> None:
    cuts = [cut for split in SHARES for cut in CutSet.from_file(done / f"cuts_{split}.jsonl.gz")]
    mine = sorted((cut for cut in cuts if cut.custom["source"] == "c"), key=lambda cut: cut.start)
    assert [cut.id for cut in mine] == ["c#000000", "c#000025", "c#000050", "c#000075"]
    assert [(cut.start, cut.duration) for cut in mine] == [(0.0, 0.5), (0.5, 0.5), (1.0, 0.5), (1.5, 0.5)]


def test_archives_hold_items_of_one_split_and_not_too_many(done: Path) -> None:
    cuts = [cut for split in SHARES for cut in CutSet.from_file(done / f"cuts_{split}.jsonl.gz")]
    items: dict[str, set[str]] = {}
    for cut in cuts:
        items.setdefault(cut.features.storage_path, set()).add(cut.features.recording_id)
    count = {path: sum(cut.features.storage_path == path for cut in cuts) for path in items}
    assert all(count[path] <= 4 or len(items[path]) == 1 for path in items)
    assert {str(path.relative_to(done)) for path in (done / "codes").iterdir()} == set(items)
    assert any(len(one) > 1 for one in items.values())


def test_what_came_of_it_is_told(sounds: list[Sound], codec_folder: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    out = run(sounds, tmp_path / "out", codec_folder, progress=lambda *counts: told.append(counts))
    assert (out.sounds, out.computed, out.cut, out.mixed, out.failures, out.copies) == (6, 6, 3, 1, (), ())
    assert sum(one.sounds for one in out.splits) == sum(one.sources for one in out.splits) == 6
    frames = sum(-(-round(seconds * RATE) // FRAME) for seconds in LENGTHS.values())
    assert sum(one.seconds for one in out.splits) == pytest.approx(frames / 50)
    assert told == [(n, 6) for n in range(7)]
    whole = run(sounds, tmp_path / "whole", codec_folder, clip=0)
    assert (whole.items, whole.cut) == (6, 0)


@pytest.mark.parametrize(
    ("frames", "most", "lengths"), [(1, 10, [1]), (10, 10, [10]), (11, 10, [5, 6]), (31, 15, [10, 10, 11])]
)
def test_pieces_are_of_like_length(frames: int, most: int, lengths: list[int]) -> None:
    assert [end - first for first, end in pieces(frames, most)] == lengths
    assert pieces(frames, 0) == [(0, frames)]


def test_the_type_holds_the_codes() -> None:
    assert (dtype_for(1024), dtype_for(32_768), dtype_for(32_769)) == (np.int16, np.int16, np.int32)


# --- the same bits


def test_any_number_of_workers_writes_the_same(
    done: Path, sounds: list[Sound], codec_folder: Path, tmp_path: Path, contents: Contents
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(sounds, tmp_path / "alone", codec_folder)
        assert torch.get_num_threads() == 2  # as the caller had it
    finally:
        torch.set_num_threads(threads)
    run(sounds, tmp_path / "two", codec_folder, workers=2)
    assert contents(tmp_path / "alone") == contents(tmp_path / "two") == contents(done)


@pytest.mark.slow
def test_ray_writes_the_same(
    done: Path, sounds: list[Sound], codec_folder: Path, tmp_path: Path, contents: Contents
) -> None:
    run(sounds, tmp_path / "ray", codec_folder, cluster="local", workers=2)
    assert contents(tmp_path / "ray") == contents(done)


# --- going on


def test_a_finished_folder_is_left_as_it_is(
    done: Path, sounds: list[Sound], codec_folder: Path, tmp_path: Path, contents: Contents
) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    out = run(sounds, again, codec_folder, cluster="127.0.0.1:1")  # which nobody has to be asked for
    assert (out.computed, out.items) == (0, run(sounds, done, codec_folder).items)
    assert contents(again) == contents(done)


@pytest.mark.parametrize("damage", ["parts/00001.json", "codes/train-00000.h5", "cuts_test.jsonl.gz"])
def test_what_is_missing_is_made_again(
    done: Path, sounds: list[Sound], codec_folder: Path, tmp_path: Path, contents: Contents, damage: str
) -> None:
    out = Path(shutil.copytree(done, tmp_path / "out"))
    if damage.endswith(".h5"):
        (out / damage).write_bytes((out / damage).read_bytes()[:-1])
    else:
        (out / damage).unlink()
    run(sounds, out, codec_folder)
    assert contents(out) == contents(done)


PROGRAM = """
import sys
from pathlib import Path
from auricle.audiolm.data.sounds import gather
from tests.audiolm.data.test_tokenize import SHARES, run
if __name__ == "__main__":
    clips, out, codec, workers = sys.argv[1:]
    run(gather([clips], splits=SHARES), Path(out), Path(codec), workers=int(workers), shard=1)
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_leaves_nothing_half_written_and_goes_on(
    clips: Path, codec_folder: Path, tmp_path: Path, contents: Contents, workers: int
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for i in range(60):
        (many / f"{i:02}.wav").write_bytes(written(tone(200 + 10 * i, 1.0), 16_000, "WAV", "PCM_16"))
    out = tmp_path / "out"
    command = [sys.executable, "-c", PROGRAM, str(many), str(out), str(codec_folder), str(workers)]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 60
        while len(list((out / "parts").glob("*.json"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not list(out.glob("cuts_*"))
    sounds = gather([many], splits=SHARES)
    last = run(sounds, out, codec_folder, shard=1)
    assert 0 < last.computed <= 55
    run(sounds, tmp_path / "whole", codec_folder, shard=1)
    left = {name for name in contents(out) if name.endswith(".part")}
    assert {name: content for name, content in contents(out).items() if name not in left} == contents(
        tmp_path / "whole"
    )


# --- what is refused


def test_another_command_into_the_folder_is_refused(
    done: Path, sounds: list[Sound], clips: Path, codec_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"was begun with clip 0.5, and not 0.6: name another folder"):
        run(sounds, done, codec_folder, clip=0.6)
    with pytest.raises(InputError, match="was begun with max_seconds"):
        run(sounds, done, codec_folder, limits=Limits(max_seconds=5))
    with pytest.raises(InputError, match=r"was begun with other sounds \('\S+' is not among the sounds\)"):
        run(sounds[:-1], done, codec_folder)
    with pytest.raises(InputError, match=r"was begun with other sounds \('\S+' has changed since, or its split has\)"):
        run(gather([clips], splits={"train": 1.0}), done, codec_folder)
    other = Path(shutil.copytree(clips, tmp_path / "clips"))
    (other / "d.wav").write_bytes(written(tone(300, 0.4), 16_000, "WAV", "PCM_16"))
    with pytest.raises(InputError, match=r"was begun with other sounds \('d' has changed since, or its split has\)"):
        run(gather([other], splits=SHARES), done, codec_folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"holds other files \(mine.txt"):
        run(sounds, tmp_path / "full", codec_folder)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]  # no lock either


def test_a_damaged_part_is_told(done: Path, sounds: list[Sound], codec_folder: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(done, tmp_path / "out"))
    (out / "parts" / "00001.json").write_text("{")
    with pytest.raises(InputError, match=r"00001.json is damaged \(.+\): remove it, and it is made again"):
        run(sounds, out, codec_folder)


@pytest.mark.parametrize("mended", [True, False])
def test_a_bad_sound_may_be_mended_or_left_out(
    clips: Path, codec_folder: Path, tmp_path: Path, contents: Contents, mended: bool
) -> None:
    """What comes out is what a new folder would have; shards before it are kept."""
    folder, out = Path(shutil.copytree(clips, tmp_path / "clips")), tmp_path / "out"
    (folder / "b" / "bad.wav").write_bytes(b"no sound")
    shares = {"train": 1.0}
    assert len(run(gather([folder], splits=shares), out, codec_folder, shard=2).failures) == 1
    (folder / "b" / "bad.wav").unlink()
    if mended:
        shutil.copy(folder / "d.wav", folder / "b" / "bad.wav")
    sounds = gather([folder], splits=shares)
    again = run(sounds, out, codec_folder, shard=2)
    assert (again.failures, again.computed < again.sounds) == ((), True)
    run(sounds, tmp_path / "new", codec_folder, shard=2)
    assert contents(out) == contents(tmp_path / "new")


def test_other_weights_under_the_codecs_name_are_refused(
    sounds: list[Sound], codec_folder: Path, tmp_path: Path
) -> None:
    codec = Path(shutil.copytree(codec_folder, tmp_path / "codec"))
    run(sounds, tmp_path / "out", codec)
    weights = load_file(codec / "model.safetensors")
    turned = {name: tensor.roll(1, 0) if "embed" in name else tensor for name, tensor in weights.items()}
    save_file(turned, codec / "model.safetensors")
    with pytest.raises(InputError, match="was begun with codec is"):
        run(sounds, tmp_path / "out", codec)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clip": -1}, "clip is -1; it must be a number of seconds, or 0"),
        ({"clip": float("nan")}, "clip is nan"),
        ({"clip": 0.01}, "clip is 0.01 s, and a frame of .* has 0.02: raise it"),
        ({"shard": 0}, "shard is 0; it must be at least 1"),
        ({"workers": 0}, "workers is 0; it must be at least 1"),
    ],
)
def test_values_outside_their_range(
    sounds: list[Sound], codec_folder: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        run(sounds, tmp_path / "out", codec_folder, **values)
    assert not (tmp_path / "out").exists()


def test_without_its_packages_it_says_which(
    sounds: list[Sound], codec_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(UnsupportedError, match=r'writing codes needs h5py, .*pip install "auricle\[train\]"'):
        run(sounds, tmp_path / "out", codec_folder)


def test_a_full_disk_is_told_and_what_is_done_stays(
    sounds: list[Sound],
    codec_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    done: Path,
    contents: Contents,
) -> None:
    write, count = shards.replaced, 0

    def full(path: Path, content: bytes) -> None:
        nonlocal count
        count += 1
        if count > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    monkeypatch.setattr(shards, "replaced", full)
    with pytest.raises(AuricleError, match="is full; what is done stays: free some, and run the same command again"):
        run(sounds, tmp_path / "out", codec_folder)
    monkeypatch.undo()
    assert 0 < run(sounds, tmp_path / "out", codec_folder).computed < 6
    assert contents(tmp_path / "out") == contents(done)


# --- bad sounds


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_bad_sounds_are_listed_and_the_others_done(
    clips: Path, codec_folder: Path, tmp_path: Path, workers: int
) -> None:
    folder = Path(shutil.copytree(clips, tmp_path / "clips"))
    (folder / "broken.wav").write_bytes(b"no sound")
    (folder / "empty.wav").write_bytes(written(np.zeros(0, np.float32), 16_000, "WAV", "PCM_16"))
    nan = np.full(1000, np.nan, np.float32)
    (folder / "nan.wav").write_bytes(written(nan, 16_000, "WAV", "FLOAT"))
    (folder / "silent.wav").write_bytes(written(np.zeros(16_000, np.float32), 16_000, "WAV", "PCM_16"))
    sounds = gather([folder], splits=SHARES)
    (folder / "d.wav").unlink()  # gone by the time it is read
    outcome = run(sounds, tmp_path / "out", codec_folder, workers=workers, limits=Limits(max_seconds=1.5))
    assert sorted(one["id"] for one in outcome.failures) == ["broken", "c", "d", "empty", "nan"]
    assert sum(one.sounds for one in outcome.splits) == 5
    listed = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert listed == list(outcome.failures)
    reasons = {one["id"]: one["reason"] for one in listed}
    assert "the limit is 1.5 s" in reasons["c"]
    assert all("\n" not in reason for reason in reasons.values())


def test_nothing_but_bad_sounds_makes_no_manifest(codec_folder: Path, tmp_path: Path) -> None:
    for name in "abcdef":
        (tmp_path / f"{name}.wav").write_bytes(b"no sound")
    outcome = run(gather([tmp_path], splits={"train": 1.0}), tmp_path / "out", codec_folder)
    assert (outcome.items, len(outcome.failures), outcome.splits) == (0, 6, ())
    assert not list((tmp_path / "out").glob("cuts_*"))
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 2  # recorded shard by shard: 4 and 2


def test_copies_in_two_splits_are_told(codec_folder: Path, tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.wav").write_bytes(written(tone(300, 0.6), 16_000, "WAV", "PCM_16"))
    outcome = run(gather([tmp_path], splits=SHARES), tmp_path / "out", codec_folder)
    assert len(outcome.copies) == 1
    splits = {item.source: split for split in SHARES for item in read_cuts(tmp_path / "out", split)}
    first, second = outcome.copies[0]
    assert splits[first] != splits[second]


def test_a_sound_of_the_command_line_that_is_a_pipe_is_refused(codec_folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(SoundError, match="is a pipe or a device"):
        gather([tmp_path / "pipe.wav"])[0].read(RATE, Limits())
