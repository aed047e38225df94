"""Folders of random weights: whole or not there, made once, and one model whatever the scheme."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from auricle.bench import making, random_weights
from auricle.bench.making import default_work, make, size_on_disk
from auricle.bench.random_weights import STAMP, RandomCheckpoint
from auricle.checkpoint import Checkpoint
from auricle.errors import AuricleError, InputError, OptionError
from auricle.layers.packing import read_packing

NORM = "model.language_model.norm.weight"


def test_dense_ones_are_written_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "SHARD_BYTES", 500_000)
    monkeypatch.setattr(random_weights, "PIECE", 1000)
    opened, source = Checkpoint(make("small", "bf16", tmp_path)), RandomCheckpoint("small")
    assert len({info.file for info in opened.tensors.values()}) > 3
    assert opened.tensors.keys() == source.tensors.keys()
    for name in opened.tensors:
        assert torch.equal(opened.tensor(name), source.tensor(name)), name


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_packed_ones_are_packed(tmp_path: Path, scheme: str) -> None:
    folder = make("small", scheme, tmp_path)
    packing = read_packing(Checkpoint(folder).config, folder)
    assert packing is not None
    assert packing.scheme == scheme
    assert packing.provenance["source"] == "random weights, small"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("scheme", making.SCHEMES)
def test_progress_ends_at_the_whole(tmp_path: Path, scheme: str) -> None:
    steps: list[tuple[int, int]] = []
    make("small", scheme, tmp_path, lambda done, total: steps.append((done, total)))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1] > 0


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    folder = make("small", "int4", tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert make("small", "int4", tmp_path) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert size_on_disk(folder) == sum(path.stat().st_size for path in folder.iterdir())


def test_an_outdated_one_is_made_anew(tmp_path: Path) -> None:
    folder = make("small", "bf16", tmp_path)
    stamp = json.loads((folder / STAMP).read_text())
    (folder / STAMP).write_text(json.dumps({**stamp, "drawn_as": 1}))
    make("small", "bf16", tmp_path)
    assert json.loads((folder / STAMP).read_text()) == stamp


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small-bf16").mkdir()
    (tmp_path / "small-bf16" / "thesis.txt").write_text("the only copy")
    with pytest.raises(OptionError, match="is there and not empty"):
        make("small", "bf16", tmp_path)
    assert (tmp_path / "small-bf16" / "thesis.txt").is_file()


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"no random weights for 'large': known are gemma-4-e2b, qwen2-audio-7b, small"
    ):
        make("large", "bf16", tmp_path)
    with pytest.raises(OptionError, match=r"unknown scheme 'int2': known are bf16, int8, int4"):
        make("small", "int2", tmp_path)


@pytest.mark.parametrize("scheme", making.SCHEMES)
def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(InputError, match=r"gemma-4-e2b in \w+ needs [\d.]+ GB of disk, and .* has 0\.001 GB free"):
        make("gemma-4-e2b", scheme, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", making.SCHEMES)
def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    drawn = RandomCheckpoint._drawn

    def full(self: RandomCheckpoint, name: str, *rest: Any) -> torch.Tensor:
        if name == NORM:
            raise OSError(errno.ENOSPC, "No space left on device")
        return drawn(self, name, *rest)

    monkeypatch.setattr(RandomCheckpoint, "_drawn", full)
    with pytest.raises(AuricleError, match="is too full"):
        make("small", scheme, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="name another place with --work"):
        make("small", "bf16", tmp_path / "file")


def test_the_place_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_work() == tmp_path / "auricle" / "random"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_work() == tmp_path / ".cache" / "auricle" / "random"
