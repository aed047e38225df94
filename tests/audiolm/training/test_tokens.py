"""What a run reads: manifests that don't fit together are refused before anything is built."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import h5py
import pytest

from auricle.audiolm.data.storage import close_files
from auricle.audiolm.training.settings import Data
from auricle.audiolm.training.tokens import read_tokens
from auricle.errors import InputError, OptionError
from tests.audiolm.training.toy import BOOKS, SIZE, toy_tokens

COUNTS = {"train": 4, "validation": 2, "test": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_tokens(tmp_path / "tokens", COUNTS)


def changed(folder: Path, split: str, **custom: Any) -> None:
    path = folder / f"cuts_{split}.jsonl.gz"
    cuts = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for cut in cuts:
        cut["custom"].update(custom)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(cut) + "\n" for cut in cuts)


def read(folder: Path, notes: list[str] | None = None, **options: Any) -> Any:
    data = Data(folder, **{"codebook_size": SIZE, "filter_min_duration": 0.0, **options})
    return read_tokens(data, BOOKS, (notes if notes is not None else []).append)


def test_what_is_read(folder: Path) -> None:
    found = read(folder)
    assert (found.codec, found.size, found.codebooks, found.frame_rate) == ("toy", SIZE, BOOKS, 50.0)
    assert {split: len(items) for split, items in found.items.items()} == COUNTS
    assert found.about() == read(folder).about()
    assert found.about()["data"]["train"][0] == 4
    assert found.baselines().counts.sum() == BOOKS * sum(one.frames for one in found.items["train"])


def test_what_is_left_out_is_told(folder: Path) -> None:
    notes = list[str]()
    lengths = sorted(one.seconds for one in read(folder).items["train"])
    kept = read(folder, notes, filter_min_duration=lengths[1])
    assert notes[0].startswith("train: 1 of 4 items are left out: 1 shorter than ")
    assert kept.about() != read(folder).about()


def test_other_codes_of_the_same_lengths_are_told_apart(folder: Path) -> None:
    before = read(folder).about()
    close_files()
    with h5py.File(folder / "codes_train.h5", "r+") as file:
        file["train-3"][5, 2] += 1
    assert read(folder).about() != before


def test_the_folder_may_be_moved(folder: Path, tmp_path: Path) -> None:
    before = read(folder).about()
    assert read(folder.rename(tmp_path / "moved")).about() == before


def test_a_source_in_two_splits(folder: Path) -> None:
    changed(folder, "train", source="fugue")
    changed(folder, "test", source="fugue")
    with pytest.raises(InputError, match=r"tokens has source 'fugue' in splits 'train' and 'test': put all clips"):
        read(folder)


def test_a_split_with_nothing_left(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no item of train lasts 5 to 30 s: widen filter_min_duration"):
        read(folder, filter_min_duration=5.0)


def test_two_codecs(folder: Path) -> None:
    changed(folder, "test", codec="other")
    with pytest.raises(InputError, match=r"items of more than one codec \(other and toy\): train on one"):
        read(folder)


def test_a_codec_that_is_not_at_hand(folder: Path) -> None:
    with pytest.raises(OptionError, match="codebook_size must be given: the tokens are of toy"):
        read(folder, codebook_size=None)


@pytest.mark.parametrize(("codec", "size"), [("tiny-codec", 1024), ("facebook/encodec_32khz", 2048), (None, 2048)])
def test_codecs_that_are_known(folder: Path, codec: str | None, size: int) -> None:
    """Manifests that name none are VALL-E's, of EnCodec."""
    for split in COUNTS:
        changed(folder, split, codec=codec)
    found = read(folder, codebook_size=None)
    assert (found.codec, found.size) == (codec or "facebook/encodec_32khz", size)


def test_a_missing_manifest(folder: Path) -> None:
    (folder / "cuts_test.jsonl.gz").unlink()
    with pytest.raises(InputError, match=r"has no cuts_test\.jsonl\.gz"):
        read(folder)


def test_other_codebooks(folder: Path) -> None:
    with pytest.raises(OptionError, match=r"num_quantizers is 3, and the tokens in .* have 4 codebooks: give num_qu"):
        read_tokens(Data(folder), 3, lambda message: None)
