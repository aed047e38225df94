"""Which sounds are meant: files, folders, or a manifest that names them and says more about each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auricle.errors import InputError, SoundError
from auricle.jobs.extras import needed
from auricle.jobs.folder import readable
from auricle.sound.extensions import EXTENSIONS
from auricle.sound.files import is_special

OWN_COLUMNS = ("item", "path", "file", "row", "start_s", "end_s", "kind", "sha256", "seconds")  # of the index
MANIFESTS = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True, eq=False)
class Items:
    """Sounds in their order, and what a manifest says of each."""

    paths: tuple[str, ...]
    columns: Any = None  # a pyarrow Table of as many rows; None where there is nothing to carry

    def carried(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Name -> pyarrow column, with a row for each of some items, which may be named more than once."""
        if self.columns is None:
            return {}
        taken = self.columns.take(needed("pyarrow", "a manifest", "embed").array(numbers, "int64"))
        return {name: taken.column(name).combine_chunks() for name in taken.column_names}


def gather(paths: Sequence[str | Path], manifest: str | Path | None = None) -> Items:
    """Files as they are named; of folders every sound in them, however deep, by name; or what a manifest lists.

    A file that isn't there is found out when it is read, as one that is damaged is.

    Raises:
        InputError: nothing is named, a folder has no sounds, or the manifest can't be used.
    """
    if manifest is not None:
        if paths:
            raise InputError(f"{len(paths)} paths and a manifest are given: list all sounds in one of the two")
        return read_manifest(Path(manifest))
    found = tuple(name for path in paths for name in _expanded(str(path)))
    if not found:
        raise InputError("no sound given: name files, folders or a manifest")
    return Items(found)


def read_manifest(path: Path) -> Items:
    """A manifest: `.txt` has a path a line; `.csv`, `.tsv`, `.jsonl` and `.parquet` have a column `path`.

    Paths are relative to the manifest's folder. Other columns are kept.

    Raises:
        InputError: it can't be read, has no such column, a row without a path, or a column that the index has itself.
    """
    if path.suffix.lower() not in MANIFESTS:
        ending = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise InputError(f"manifest {path} {ending}; it must be {', '.join(MANIFESTS)}")
    with readable(path, f"manifest {path}", "there is no manifest"):
        if path.suffix.lower() == ".txt":
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            names, columns = [line.strip() for line in lines if line.strip()], None
        else:
            names, columns = _table(path)
    if not names:
        raise InputError(f"manifest {path} names no sound; give it a path a line, or a row each")
    return Items(tuple(str(path.parent / name) for name in names), columns)


def _table(path: Path) -> tuple[list[str], Any]:
    """The column `path`, and the other columns as a table."""
    arrow = needed("pyarrow", f"a manifest {path.suffix}", "embed")
    try:
        table = _parsed(path, arrow)
    except arrow.ArrowInvalid as error:
        raise InputError(f"manifest {path} can't be parsed: {' '.join(str(error).split())[:200]}; mend it") from None
    if table.column_names.count("path") != 1:
        shown = ", ".join(table.column_names[:10]) or "none"
        raise InputError(f"manifest {path} has no column 'path' of its own (its columns: {shown}): name one so")
    names = [value if isinstance(value, str) else "" for value in table.column("path").to_pylist()]
    if "" in names:
        raise InputError(f"manifest {path} has no path in row {names.index('') + 1} of {len(names)}: give it one")
    others = table.drop_columns(["path"])
    if own := [name for name in others.column_names if name in OWN_COLUMNS]:
        raise InputError(f"manifest {path} has a column {own[0]!r}, which the index has itself: rename it")
    if repeated := [name for name in others.column_names if others.column_names.count(name) > 1]:
        raise InputError(f"manifest {path} has several columns {repeated[0]!r}: rename all but one")
    return names, others.combine_chunks() if others.num_columns else None


def _parsed(path: Path, arrow: Any) -> Any:
    match path.suffix.lower():
        case ".parquet":
            return needed("pyarrow.parquet", "a manifest .parquet", "embed").read_table(path)
        case ".jsonl":
            return needed("pyarrow.json", "a manifest .jsonl", "embed").read_json(path)
    return _read_csv(path, arrow)


def _read_csv(path: Path, arrow: Any) -> Any:
    """Columns of numbers as numbers, but those that would lose something: a speaker 007 is not 7."""
    csv = needed("pyarrow.csv", "a manifest .csv", "embed")
    parsing = csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",")

    def read(names: Sequence[str], nulls: bool = False) -> Any:
        texts = csv.ConvertOptions(column_types=dict.fromkeys(names, arrow.string()), strings_can_be_null=nulls)
        return csv.read_csv(path, parse_options=parsing, convert_options=texts)

    table = read(["path"])  # one that is all digits is a path
    for field in table.schema:
        if arrow.types.is_binary(field.type):
            raise InputError(f"manifest {path} has a column {field.name!r} that is no UTF-8 text: save it as UTF-8")
    numbers = {field.name for field in table.schema if arrow.types.is_integer(field.type)}
    if not numbers:
        return table
    texts = read(["path", *numbers], nulls=True)
    padded = [name for name in numbers if not table.column(name).cast(arrow.string()).equals(texts.column(name))]
    return read(["path", *padded]) if padded else table


def _expanded(name: str) -> Iterator[str]:
    """A file as it is, a folder as the sounds in it: files and links, but no pipe or device that is named as one."""
    if not os.path.isdir(name):  # noqa: PTH112 - a name too long for a path is a file that can't be read, and no crash
        yield name
        return
    found = sorted(
        str(Path(folder, file))
        for folder, _, files in os.walk(name)
        for file in files
        if Path(file).suffix.lower().removeprefix(".") in EXTENSIONS
        and not file.startswith(".")
        and not is_special(str(Path(folder, file)))
    )
    if not found:
        raise SoundError(f"folder {name} has no sound in it (.wav, .flac, .mp3, ...); name another, or files")
    yield from found


def spelt(path: str) -> str:
    """As text that any file can hold: a byte of a name that is no UTF-8 stands as \\udcff."""
    return path.encode(errors="backslashreplace").decode()
