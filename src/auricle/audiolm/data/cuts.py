"""lhotse's manifests, a line an object: read one by one, with what is wrong told by its line."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from auricle.errors import InputError
from auricle.jobs.extras import needed
from auricle.jobs.folder import readable

ENDINGS = (".jsonl.gz", ".jsonl")
# What a manifest's name says of a split, and the splits that training reads.
SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation", "test": "test"}


def is_manifest(path: Path) -> bool:
    return path.name.endswith(ENDINGS)


def manifest_name(split: str) -> str:
    return f"cuts_{split}.jsonl.gz"


def split_named(path: Path) -> str | None:
    """The split that `cuts_SPLIT.jsonl.gz` says it is; None of another name."""
    name = path.name
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return SPLITS.get(name.removeprefix("cuts_")) if name.startswith("cuts_") else None


def manifests_in(folder: Path) -> list[Path]:
    """The files of a folder that are called `cuts_SPLIT.jsonl.gz`, sorted."""
    return sorted(path for path in folder.glob("cuts_*") if is_manifest(path) and split_named(path) and path.is_file())


def read_objects(path: Path, what: str) -> Iterator[Any]:
    """The objects of a manifest: lhotse's cuts, recordings, ...; their paths are as they are written.

    Raises:
        InputError: it isn't there, or a line is no object of lhotse's.
    """
    deserialize = needed("lhotse.serialization", what, "train").deserialize_item
    with readable(path, f"manifest {path}", "there is no manifest"), _opened(path) as lines:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _object(line, number, path, deserialize)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"manifest {path} is damaged ({error}): make it anew") from None


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8"))
    return path.open(encoding="utf-8")


def _object(line: str, number: int, path: Path, deserialize: Any) -> Any:
    try:
        return deserialize(json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"manifest {path}, line {number}, is none of lhotse's ({type(error).__name__}: {reason}): mend it"
        ) from None


def kind_of(found: Any) -> str:
    """MonoCut, MultiCut, MixedCut, Recording, ..."""
    return type(found).__name__


def check_numbers(fields: Mapping[str, object], name: object, path: Path) -> None:
    """
    Raises:
        InputError: a field of a manifest's object is no number.
    """
    for field, value in fields.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{path} has {name!r} with {field} {value!r}, which is no number: mend it")
