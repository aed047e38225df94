"""Folders of codes read back, whoever wrote them: what is there, what is missing, and what is none of ours."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lhotse
import numpy as np
import pytest
from lhotse import CutSet, Features, MonoCut
from lhotse.features.io import NumpyFilesWriter, NumpyHdf5Writer
from numpy.typing import NDArray

from auricle.audiolm.data import storage
from auricle.audiolm.data.manifests import read_cuts
from auricle.errors import InputError, UnsupportedError

Change = Callable[[dict[str, Any]], None]


def array(number: int, frames: int = 50, dtype: Any = np.int64) -> NDArray[Any]:
    return np.random.default_rng(number).integers(0, 1024, (frames, 4)).astype(dtype)


def features(writer: Any, number: int, value: NDArray[Any], shift: float = 0.02) -> Features:
    return Features(
        type="encodec",
        num_frames=len(value),
        num_features=value.shape[1],
        frame_shift=shift,
        sampling_rate=32_000,
        start=0.0,
        duration=round(len(value) * shift, 6),
        storage_type=writer.name,
        storage_path=str(getattr(writer, "storage_path", "")),
        storage_key=writer.write(f"item-{number}", value),
        recording_id=f"r{number}",
        channels=0,
    )


def cut(found: Features, number: int) -> MonoCut:
    return MonoCut(f"item-{number}", 0.0, found.duration, 0, features=found)


def write(folder: Path, kind: str = "numpy_hdf5", dtype: Any = np.int64, count: int = 3, split: str = "train") -> None:
    """As VALL-E's kind of programs do: by lhotse, with paths as they are given to the writer."""
    folder.mkdir(exist_ok=True, parents=True)
    opened = NumpyHdf5Writer(folder / f"codes_{split}") if kind == "numpy_hdf5" else NumpyFilesWriter(folder / "arrays")
    with opened as writer:
        cuts = [cut(features(writer, n, array(n, 50 + n, dtype)), n) for n in range(count)]
    CutSet.from_cuts(cuts).to_file(folder / f"cuts_{split}.jsonl.gz")


def rewrite(folder: Path, change: Change, split: str = "train") -> None:
    path = folder / f"cuts_{split}.jsonl.gz"
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    change(lines[1])
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("kind", ["numpy_hdf5", "numpy_files"])
def test_codes_in_lhotses_storages_are_read_as_whole_numbers(tmp_path: Path, kind: str, dtype: Any) -> None:
    write(tmp_path / "data", kind, dtype)
    items = read_cuts(tmp_path / "data", "train", codebooks=4, frame_rate=50)
    assert [(item.id, item.source, item.frames, item.codebooks, item.frame_rate) for item in items] == [
        (f"item-{n}", f"r{n}", 50 + n, 4, 50.0) for n in range(3)
    ]
    assert items[1].seconds == pytest.approx(1.02)
    for number, item in enumerate(items):
        codes = item.load(1024)
        assert codes.dtype == np.int64
        assert np.array_equal(codes, array(number, 50 + number))
        assert (item.codec, item.last) == (None, True)


@pytest.mark.parametrize("kind", ["numpy_hdf5", "numpy_files"])
def test_paths_lead_from_the_folder_or_from_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("data/tokenized"), kind)
    assert len(read_cuts(tmp_path / "data/tokenized", "train")[2].load()) == 52  # data/tokenized/... from here
    shutil.move(tmp_path / "data/tokenized", tmp_path / "moved")
    monkeypatch.chdir("/")
    assert len(read_cuts(tmp_path / "moved", "train")[2].load()) == 52  # by its name in the folder


def test_a_cut_may_be_a_stretch_of_what_is_stored(tmp_path: Path) -> None:
    with NumpyHdf5Writer(tmp_path / "codes") as writer:
        whole = features(writer, 0, array(0, 500))
    parts = [MonoCut("a", 0.0, 3.33, 0, features=whole), MonoCut("b", 3.34, 6.66, 0, features=whole)]
    CutSet.from_cuts(parts).to_file(tmp_path / "cuts_test.jsonl.gz")
    first, second = read_cuts(tmp_path, "test")
    assert np.array_equal(first.load(), array(0, 500)[:167])
    assert np.array_equal(second.load(), array(0, 500)[167:])
    assert (first.last, second.last) == (False, True)
    for item, part in zip((first, second), parts, strict=True):
        assert item.frames == part.num_frames


def test_a_crop_does_not_end_a_sound_that_its_whole_ends(tmp_path: Path) -> None:
    write(tmp_path)

    def crop(line: dict[str, Any]) -> None:
        line["custom"] = {**(line.get("custom") or {}), "last": True}
        line["duration"] = 0.5

    rewrite(tmp_path, crop)
    assert [item.last for item in read_cuts(tmp_path, "train")] == [True, False, True]


def test_many_archives_do_not_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "OPEN_FILES", 2)
    cuts = []
    for number in range(6):
        with NumpyHdf5Writer(tmp_path / f"c{number}") as writer:
            cuts.append(cut(features(writer, number, array(number)), number))
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts_train.jsonl.gz")
    items = read_cuts(tmp_path, "train")
    for number in (0, 1, 2, 3, 4, 5, 0, 3):
        assert np.array_equal(items[number].load(), array(number))
        assert len(storage._files) <= 2


def test_a_folder_without_manifests_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*nowhere .*auricle tokenize SOUNDS --out"):
        read_cuts(tmp_path / "nowhere", "train")
    with pytest.raises(InputError, match=r"has no cuts_train.jsonl.gz: make it with auricle tokenize"):
        read_cuts(tmp_path, "train")
    write(tmp_path)
    with pytest.raises(InputError, match=r"has no cuts_test.jsonl.gz \(it has cuts_train.jsonl.gz\)"):
        read_cuts(tmp_path, "test")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "plan.json").write_text("{}")
    with pytest.raises(InputError, match="yet: run its auricle tokenize again"):
        read_cuts(tmp_path / "begun", "train")


def test_missing_and_damaged_files_are_found_before_anything_is_read(tmp_path: Path) -> None:
    write(tmp_path / "files", "numpy_files")
    next(iter(sorted((tmp_path / "files").rglob("*.npy")))).unlink()
    with pytest.raises(InputError, match=r"of which 1 are missing, such as .*item-0.npy: put them"):
        read_cuts(tmp_path / "files", "train")
    write(tmp_path / "archive")
    archive = tmp_path / "archive" / "codes_train.h5"
    archive.write_bytes(archive.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"codes_train.h5, which .* names, is damaged \(.*truncated"):
        read_cuts(tmp_path / "archive", "train")
    archive.unlink()
    with pytest.raises(InputError, match="names 1 files of codes, of which 1 are missing"):
        read_cuts(tmp_path / "archive", "train")


def test_our_archives_are_not_looked_for_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("codes"))
    rewrite(Path("codes"), lambda line: line.update(custom={"sha256": "of the sound"}))
    with pytest.raises(InputError, match=r"of which 1 are missing, such as codes/codes/codes_train.h5"):
        read_cuts(Path("codes"), "train")


def test_codes_of_another_codec_are_told(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match="of 4 codebooks, where 8 are wanted"):
        read_cuts(tmp_path, "train", codebooks=8)
    with pytest.raises(InputError, match="at 50 frames a second, where 75 are wanted"):
        read_cuts(tmp_path, "train", frame_rate=75)
    with pytest.raises(InputError, match=r"item-0 has a code \d+, and codebooks have 512 entries"):
        read_cuts(tmp_path, "train")[0].load(512)
    rewrite(tmp_path, lambda line: line["features"].update(num_features=8))
    with pytest.raises(InputError, match="'item-1' of 8 codebooks, where 4 are wanted"):
        read_cuts(tmp_path, "train")


def test_features_that_are_no_codes_are_told(tmp_path: Path) -> None:
    with NumpyHdf5Writer(tmp_path / "mel") as writer:
        found = features(writer, 0, np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))
    CutSet.from_cuts([cut(found, 0)]).to_file(tmp_path / "cuts_train.jsonl.gz")
    with pytest.raises(InputError, match=r"item-0 are no whole numbers but float32: .*lilcom"):
        read_cuts(tmp_path, "train")[0].load()


def _longer(line: dict[str, Any]) -> None:
    line["features"].update(num_frames=99)
    line.update(duration=1.98)


def _drop(*names: str) -> Change:
    def change(line: dict[str, Any]) -> None:
        for name in names:
            del line[name]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop("features"), "cut 'item-1' without codes: tokenize what it names"),
        (_drop("features", "type", "duration"), "line 2, is none of lhotse's"),
        (lambda line: line["features"].update(frame_shift=0), "frame shift of 0; it must be above 0"),
        (lambda line: line.update(start=5.0), "'item-1', which lies outside its 51 stored frames"),
        (lambda line: line.update(start="x"), "'item-1' with start 'x', which is no number: mend it"),
        (lambda line: line.update(duration=float("nan")), "'item-1' with duration nan, which is no number"),
        (lambda line: line["features"].update(frame_shift="x"), "'item-1' with features.frame_shift 'x'"),
        (lambda line: line["features"].update(num_frames=None), "'item-1' with features.num_frames None"),
        (lambda line: line["features"].update(num_features=[4]), r"'item-1' with features.num_features \[4\]"),
        (lambda line: line.update(custom={"prompt_s": "x"}), "'item-1' with prompt_s 'x', which is no number"),
        (lambda line: line.update(id="item-0"), "has cut 'item-0' twice"),
    ],
)
def test_manifests_that_cant_be_used_say_why(tmp_path: Path, change: Change, message: str) -> None:
    write(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(InputError, match=message):
        read_cuts(tmp_path, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line["features"].update(storage_key="gone"), "has no array 'gone'"),
        (lambda line: line["features"].update(num_frames=99), None),  # the cut is what counts
        (_longer, r"shape \(51, 4\) .*\(99, 4\)"),
        (lambda line: line["features"].update(storage_type="of_paper"), "storage 'of_paper' is none that lhotse knows"),
    ],
)
def test_what_is_wrong_with_an_item_is_told_when_read(tmp_path: Path, change: Change, message: str | None) -> None:
    write(tmp_path)
    rewrite(tmp_path, change)
    items = read_cuts(tmp_path, "train")
    items[0].load()
    if message is None:
        assert len(items[1].load()) == 51
    else:
        with pytest.raises(InputError, match=message):
            items[1].load()


def test_a_storage_whose_package_is_missing(tmp_path: Path) -> None:
    write(tmp_path)
    rewrite(tmp_path, lambda line: line["features"].update(storage_type="lilcom_chunky"))
    if not lhotse.utils.is_module_available("lilcom"):
        with pytest.raises(UnsupportedError, match="storage lilcom_chunky needs lilcom, which is not installed"):
            read_cuts(tmp_path, "train")[1].load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no cuts: tokenize more sounds"),
        (gzip.compress(b""), "has no cuts"),
        (b"no gzip", "is damaged"),
        (gzip.compress(b"{}\n" * 9999)[:-20], "line 1, is none of lhotse's"),
        (gzip.compress(np.random.default_rng(0).bytes(10_000))[:5000], "UTF-8|damaged"),
        (gzip.compress(b"hello\n"), "line 1, is none of lhotse's"),
        (gzip.compress(b'["a"]\n'), "line 1, is none of lhotse's"),
        (gzip.compress(b"\xff\xfe\n"), "is no UTF-8 text"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "cuts_train.jsonl.gz").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_cuts(tmp_path, "train")


def test_codes_within_the_manifest_and_mixed_cuts_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    rewrite(tmp_path, lambda line: line["features"].update(storage_type="memory_raw"))  # lhotse would unpickle it
    with pytest.raises(InputError, match="holds the codes of 'item-1' itself"):
        read_cuts(tmp_path, "train")
    with NumpyHdf5Writer(tmp_path / "c") as writer:
        plain = cut(features(writer, 0, array(0)), 0)
    CutSet.from_cuts([plain.pad(5.0)]).to_file(tmp_path / "cuts_train.jsonl.gz")
    with pytest.raises(InputError, match="a MixedCut; codes are features of plain cuts"):
        read_cuts(tmp_path, "train")
