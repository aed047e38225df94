"""The manifest: what can be read, and what is said of one that can't."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from auricle.errors import InputError
from auricle.evaluation.manifest import read_manifest, write_manifest

ROWS = [
    {"path": "a.wav", "clip_id": "a", "source_id": "007", "label": "yes", "start_s": 0.5, "end_s": 1.5, "take": 3},
    {"path": "b.wav", "clip_id": "b", "source_id": "008", "label": None, "start_s": None, "end_s": None, "take": None},
]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_the_same_in_every_format(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"m.{ending}"
    if ending == "parquet":
        write_manifest(path, ROWS, {})
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        comma = "," if ending == "csv" else "\t"
        cells = [list(ROWS[0]), *([("" if v is None else str(v)) for v in row.values()] for row in ROWS)]
        path.write_text("\n".join(comma.join(line) for line in cells))
    first, second = read_manifest(path)
    assert (first.segment_id, first.clip_id, first.source_id, first.label) == ("a", "a", "007", "yes")
    assert (first.start_s, first.end_s, first.path) == (0.5, 1.5, str(tmp_path / "a.wav"))
    assert str(first.more["take"]) == "3"
    assert (second.label, second.start_s, dict(second.more)) == (None, None, {})


def test_a_path_is_enough(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path\nx/a.wav\nx/b.wav\n")
    first, _ = read_manifest(tmp_path / "m.csv")
    assert (first.segment_id, first.clip_id, first.source_id) == ("x/a", "x/a", "x/a")


def test_the_same_rows_are_the_same_bytes_and_have_the_columns_types(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_manifest(tmp_path / f"{name}.parquet", [{"path": "x", "rt60": 1, "odd": [1, 2]}, {"path": "y"}], {"z": 1})
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert table.schema.field("rt60").type == "double"
    assert json.loads(table.schema.metadata[b"auricle"]) == {"z": 1}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "file\nx.wav\n", r"row 1, has no 'path' \(its columns: file\)"),
        ("a.csv", "path\n", "has no rows"),
        ("a.csv", "path,label\na.wav,1,2\n", "row 1, has more cells than there are columns"),
        ("a.csv", "path,start_s\na.wav,soon\n", "row 1, has start_s 'soon'; it must be a number"),
        ("a.csv", "path,start_s,end_s\na.wav,2,1\n", "row 1, goes from 2 s to 1.0 s"),
        ("a.csv", "path,start_s\na.wav,-1\n", "row 1, goes from -1 s"),
        ("a.csv", "path,clip_id\na.wav,x\nb.wav,x\n", "has two sounds called 'x'"),
        ("a.csv", "path,rate\na.wav,fast\n", "has rate 'fast'"),
        ("a.jsonl", "{path", "can't be parsed"),
        ("a.jsonl", "[1]", "line 1, is no JSON object"),
        ("a.parquet", "PAR1", "can't be parsed"),
        ("a.txt", "a.wav", "must end in .parquet, .csv"),
    ],
)
def test_what_cant_be_read_says_why(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        read_manifest(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_missing_and_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no manifest"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"path\n\xe4.wav\n")
    with pytest.raises(InputError, match="is no UTF-8 text"):
        read_manifest(tmp_path / "latin.csv")
