"""The manifest of a set of sounds: one parquet file, a row a sound, and the columns that everybody relies on.

`auricle segment` and `auricle degrade` write it, `auricle eval` reads it. Other columns are carried along. Paths are
relative to the manifest's folder, so that a set can be moved.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auricle.errors import InputError
from auricle.evaluation.optional import needed
from auricle.jobs.folder import readable, replacing
from auricle.jobs.parts import digest
from auricle.jobs.splits import check_splits

NAME = "manifest.parquet"
WHAT = "a manifest"
ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl")
LONGEST_NAME = 100
PROVENANCE = b"auricle"  # in the metadata of the file: what it was made with, as JSON

# name -> pyarrow type, and what it says. A value that doesn't apply is null.
COLUMNS: dict[str, tuple[str, str]] = {
    "segment_id": ("string", "this sound; no other row has it"),
    "clip_id": ("string", "the clean clip it was made from, the same under all conditions"),
    "path": ("string", "the file, relative to the manifest"),
    "start_s": ("float64", "where in the file the sound starts, in seconds; null: at its beginning"),
    "end_s": ("float64", "where it ends; null: with the file"),
    "source_id": ("string", "the recording it comes from: what splits and intervals are clustered by"),
    "source_path": ("string", "the recording's file, as it was when the clip was cut"),
    "source_start_s": ("float64", "where in the recording the clip starts, in seconds"),
    "source_end_s": ("float64", "where it ends"),
    "dataset": ("string", "the collection"),
    "split": ("string", "train, dev, test, ...; all clips of a source are in one"),
    "label": ("string", "the true answer"),
    "category": ("string", "the annotation's own word, before labels were mapped"),
    "condition": ("string", "the name of the degradation; `clean` where there is none"),
    "duration_ms": ("float64", "of the clip, as it was asked for, without padding"),
    "length_ms": ("float64", "of the file, to the sample, with padding and a tail that was kept"),
    "onset_ms": ("float64", "where in the file the clip starts"),
    "rate": ("int64", "samples per second"),
    "cut": ("string", "where in the clean clip the piece was taken: centre, start, random, loudest"),
    "cut_start_ms": ("float64", "where in the clean clip it starts"),
    "active_ms": ("float64", "how much of the clean piece is active: what levels are measured over"),
    "active_dbfs": ("float64", "the clean piece's level over its active part; 0 is a mean square of 1"),
    "rt60": ("float64", "seconds of reverberation that were asked for; 0 is none"),
    "rt60_measured": ("float64", "of the impulse response that was used, from its decay between -5 and -35 dB"),
    "drr_db": ("float64", "direct to reverberant energy of that impulse response"),
    "noise": ("string", "white, pink, speech, or the name of the folder of noise clips"),
    "noise_id": ("string", "the noise clip"),
    "noise_start_s": ("float64", "where in the noise clip the piece starts"),
    "snr_db_nominal": ("float64", "what was asked for; null is no noise"),
    "snr_db_measured": ("float64", "over the active part, of what was mixed"),
    "snr_db_out": ("float64", "the same after the filter, which may change it"),
    "filter": ("string", "lowpass:HZ, highpass:HZ or bandpass:HZ-HZ"),
    "gain_db": ("float64", "applied to clip and noise together"),
    "codec": ("string", "name and bit rate"),
    "codec_kbps": ("float64", "of the packets that were written"),
    "codec_delay_ms": ("float64", "of the codec, measured and taken out"),
    "scale_db": ("float64", "by how much the sound was lowered to fit full scale; 0 unless that was allowed"),
    "peak": ("float64", "the largest sample of the file, where full scale is 1"),
    "pad": ("string", "none, silence or noise"),
    "seed": ("int64", "of the random choices"),
    "clean_sha256": ("string", "of the clean clip's samples"),
    "audio_sha256": ("string", "of the file's samples, decoded to mono float32 at `rate`"),
}
# Those that a manifest from elsewhere may have, and that a clip keeps whatever is done to it.
OF_A_CLIP = ("source_path", "source_start_s", "source_end_s", "dataset", "category")


@dataclass(frozen=True)
class Clip:
    """One row, as far as it tells which sound is meant and whose it is."""

    segment_id: str
    clip_id: str
    path: str  # absolute, or relative to the working directory
    source_id: str
    label: str | None = None
    split: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)  # the row's other columns, nulls left out; paths as `path`


def read_manifest(path: str | Path) -> list[Clip]:
    """The rows of a manifest, in their order: `.parquet`, `.csv`, `.tsv` or `.jsonl` with a column `path`.

    Without `clip_id` a clip is called as its file is; without `source_id`, each clip is a source of its own.

    Raises:
        InputError: it can't be read, has no column `path`, a row without a path or with times that are none, two rows
            of one name, or a source in two splits.
    """
    path = Path(path)
    rows = _rows(path)
    if not rows:
        raise InputError(f"manifest {path} has no rows; give it one for each sound")
    clips = [_clip(row, number, path) for number, row in enumerate(rows, 1)]
    check_unique([clip.segment_id for clip in clips], f"manifest {path}")
    check_splits(((clip.source_id, clip.split) for clip in clips), f"manifest {path}")
    return clips


def check_unique(names: Iterable[str], where: str) -> None:
    """
    Raises:
        InputError: a name is there twice.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{where} has two sounds called {name!r}: give each a segment_id or clip_id of its own")
        seen.add(name)


def write_manifest(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
    columns: Mapping[str, tuple[str, str]] = COLUMNS,
) -> None:
    """Writes rows as parquet: the known columns that any row has, in their order, then the others by name.

    The same rows give the same bytes. A column of mixed types that nobody knows is written as text.
    """
    arrow, parquet = needed("pyarrow", WHAT), needed("pyarrow.parquet", WHAT)
    found = {name for row in rows for name in row}
    known = {name: kind for name, (kind, _) in columns.items() if name in found}
    arrays = {
        **{name: arrow.array([row.get(name) for row in rows], _type(kind, arrow)) for name, kind in known.items()},
        **{name: _guessed([row.get(name) for row in rows], arrow) for name in sorted(found - columns.keys())},
    }
    words = {PROVENANCE: json.dumps(provenance, sort_keys=True).encode()}
    with replacing(path) as part:
        parquet.write_table(arrow.table(arrays).replace_schema_metadata(words), part)


def relative(path: str | Path, folder: Path) -> str:
    """A path as a manifest in `folder` names it: relative to it, with slashes on every system."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return Path(path).absolute().as_posix()


def file_names(ids: Sequence[str]) -> dict[str, str]:
    """A wav's path for each id, which every file system takes, and none of which is another in capitals."""
    plain = {name: _plain(name) for name in ids}
    counts = Counter(name.lower() for name in plain.values())
    return {
        name: f"{words}.wav" if words == name and counts[words.lower()] == 1 else f"{words}-{digest(name)[:8]}.wav"
        for name, words in plain.items()
    }


def _plain(name: str) -> str:
    parts = (re.sub(r"[^\w-]+", "_", part, flags=re.ASCII).strip("_") for part in name.split("/"))
    return "/".join(part for part in parts if part)[:LONGEST_NAME].strip("/") or "clip"


def _clip(row: Mapping[str, Any], number: int, manifest: Path) -> Clip:
    where = f"manifest {manifest}, row {number},"
    values = {name: _typed(name, value, where) for name, value in row.items() if value is not None and value != ""}
    name = values.pop("path", None)
    if name is None:
        shown = ", ".join(list(row)[:10])
        raise InputError(f"{where} has no 'path' (its columns: {shown}): name the sound there")
    start, end = values.pop("start_s", None), values.pop("end_s", None)
    if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
        raise InputError(f"{where} goes from {start or 0.0:g} s to {end} s; it must start at 0 or later, and end after")
    if "source_path" in values:
        values["source_path"] = str(manifest.parent / values["source_path"])
    clip_id = values.pop("clip_id", values.get("segment_id", Path(str(name)).with_suffix("").as_posix()))
    return Clip(
        segment_id=values.pop("segment_id", clip_id),
        clip_id=clip_id,
        path=str(manifest.parent / name),
        source_id=values.pop("source_id", clip_id),
        label=values.pop("label", None),
        split=values.pop("split", None),
        start_s=start,
        end_s=end,
        more=values,
    )


def _typed(name: str | None, value: Any, where: str) -> Any:
    """A value as its column has it; CSV has text alone.

    Raises:
        InputError: it can't be that, or belongs to no column.
    """
    if name is None:
        raise InputError(f"{where} has more cells than there are columns: mend it")
    kind = COLUMNS.get(name, ("", ""))[0]
    if kind not in ("float64", "int64"):
        return str(value) if kind else value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where} has {name} {value!r}; it must be a number")
    return int(number) if kind == "int64" else number


def _rows(path: Path) -> list[dict[str, Any]]:
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        raise InputError(f"manifest {path} must end in {', '.join(ENDINGS)}; name one that does")
    with readable(path, f"manifest {path}", "there is no manifest"):
        try:
            return _parsed(path, kind)
        except UnicodeDecodeError:
            raise
        except (csv.Error, ValueError) as error:  # pyarrow's errors are ValueErrors
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"manifest {path} can't be parsed: {reason}; mend it") from None


def _parsed(path: Path, kind: str) -> list[dict[str, Any]]:
    if kind == ".parquet":
        return list(needed("pyarrow.parquet", WHAT).read_table(path).to_pylist())
    with path.open(encoding="utf-8-sig", newline="") as stream:
        if kind == ".jsonl":
            return [_object(line, number, path) for number, line in enumerate(stream, 1) if line.strip()]
        return [{**row} for row in csv.DictReader(stream, delimiter="\t" if kind == ".tsv" else ",")]


def _object(line: str, number: int, path: Path) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise InputError(f"manifest {path}, line {number}, is no JSON object: write one a line")
    return found


def _type(kind: str, arrow: Any) -> Any:
    """A type by its name; `list<...>` has no alias of its own."""
    inner = kind.removeprefix("list<").removesuffix(">")
    return kind if inner == kind else arrow.list_(arrow.type_for_alias(inner))


def _guessed(values: list[Any], arrow: Any) -> Any:
    try:
        return arrow.array(values)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        return arrow.array([None if value is None else str(value) for value in values], "string")
