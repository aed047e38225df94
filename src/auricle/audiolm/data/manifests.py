"""A folder of codes as items: what `auricle tokenize` wrote, or another program by way of lhotse.

A folder has `cuts_train.jsonl.gz`, `cuts_validation.jsonl.gz` and `cuts_test.jsonl.gz`, whose cuts have features
`(frames, codebooks)` in any storage of lhotse's. Paths in them are looked for in the folder first, so that it can be
moved, then where the command runs, as other programs write them, and then by their name alone in the folder.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.audiolm.data.cuts import check_numbers, kind_of, manifest_name, manifests_in, read_objects
from auricle.audiolm.data.storage import Place, check_archive, whole_numbers
from auricle.errors import InputError

WHAT = "reading manifests"


@dataclass(frozen=True, slots=True)
class Item:
    """One cut; its codes are read when they are asked for."""

    id: str
    source: str  # the recording that it is of
    frames: int
    codebooks: int
    frame_rate: float  # frames a second
    codec: str | None  # by its name; None where the manifest doesn't say
    last: bool  # whether the sound ends with it, as far as the manifest tells
    place: Place
    first: int  # the frame of what is stored that it starts with
    heard: int | None = None  # frames of its prompt, where the manifest says where that ends; its manner changes there

    @property
    def seconds(self) -> float:
        return self.frames / self.frame_rate

    def load(self, size: int | None = None) -> NDArray[np.int64]:
        """Its codes `(frames, codebooks)`.

        Args:
            size: of a codebook; None doesn't look whether the codes are in it.

        Raises:
            InputError: they can't be read, are no whole numbers, have another shape, or are none of the codebook's.
        """
        stored = self.place.read(self.first, self.first + self.frames)
        if stored.shape != (self.frames, self.codebooks):
            raise InputError(
                f"{self.id} has codes of shape {stored.shape} in {self.place.file}, and the manifest says "
                f"{(self.frames, self.codebooks)}: make the folder anew"
            )
        codes = whole_numbers(stored, self.id)
        if size is not None and not (codes.min() >= 0 and codes.max() < size):
            worst = int(codes.min() if codes.min() < 0 else codes.max())
            raise InputError(
                f"{self.id} has a code {worst}, and codebooks have {size} entries, from 0: it is of another codec"
            )
        return codes


def read_cuts(
    folder: str | Path, split: str, *, codebooks: int | None = None, frame_rate: float | None = None
) -> list[Item]:
    """The items of a split, in the order of its manifest. All files that they name are there; none is read yet.

    Args:
        codebooks, frame_rate: what the items must have.

    Raises:
        InputError: the folder or the manifest isn't there, holds none or other cuts, or names files that are missing.
        UnsupportedError: a package for it isn't installed.
    """
    folder = Path(folder)
    path = _manifest(folder, split)
    found = _Finder(folder)
    items = [_item(cut, path, found) for cut in read_objects(path, WHAT)]
    if not items:
        raise InputError(f"{path} has no cuts: tokenize more sounds, or give {split} a larger share of them")
    _check_files(items, path)
    for item in items:
        _check_kind(item, items[0].codebooks if codebooks is None else codebooks, frame_rate, path)
    if repeated := [name for name, count in Counter(item.id for item in items).items() if count > 1]:
        raise InputError(f"{path} has cut {repeated[0]!r} twice: make the folder anew")
    return items


def _manifest(folder: Path, split: str) -> Path:
    path = folder / manifest_name(split)
    if path.is_file():
        return path
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder} with manifests: make it with auricle tokenize SOUNDS --out {folder}"
        )
    others = ", ".join(one.name for one in manifests_in(folder))
    if others:
        raise InputError(f"{folder} has no {path.name} (it has {others}): tokenize with a share for {split}")
    if (folder / "plan.json").is_file():
        raise InputError(f"{folder} has no {path.name} yet: run its auricle tokenize again, which goes on")
    raise InputError(f"{folder} has no {path.name}: make it with auricle tokenize SOUNDS --out {folder}")


class _Finder:
    """Where the paths of a manifest lead; each is looked for once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.find = lru_cache(maxsize=None)(self._find)

    def _find(self, path: str, ours: bool) -> str:
        inside = self._folder / path
        if ours:  # it lies in the folder or is lost: of the same name elsewhere there may be codes of other sounds
            return str(inside)
        for tried in (inside, Path(path), self._folder / Path(path).name):
            if tried.exists():
                return str(tried)
        return str(inside)


def _item(cut: Any, path: Path, found: _Finder) -> Item:
    kind, name = kind_of(cut), getattr(cut, "id", "?")
    features = getattr(cut, "features", None)
    if kind not in ("MonoCut", "MultiCut"):
        raise InputError(f"{path} has {name!r}, a {kind}; codes are features of plain cuts: store those")
    if features is None:
        raise InputError(
            f"{path} has cut {name!r} without codes: tokenize what it names, auricle tokenize {path} --out DIR"
        )
    if features.is_in_memory or not isinstance(features.storage_key, str):
        raise InputError(f"{path} holds the codes of {name!r} itself: store them by lhotse's NumpyHdf5Writer")
    said = cut.custom or {}
    times = {"start": cut.start, "duration": cut.duration, "prompt_s": said.get("prompt_s", 0.0) or 0.0}
    sizes = {field: getattr(features, field) for field in ("start", "frame_shift", "num_frames", "num_features")}
    check_numbers({**times, **{f"features.{field}": value for field, value in sizes.items()}}, name, path)
    if not features.frame_shift > 0:
        raise InputError(f"{path} has cut {name!r} with a frame shift of {features.frame_shift}; it must be above 0")
    first = _frames(cut.start - features.start, features.frame_shift)
    frames = min(_frames(cut.duration, features.frame_shift), features.num_frames - first)
    if first < 0 or frames < 1:
        raise InputError(
            f"{path} has cut {name!r}, which lies outside its {features.num_frames} stored frames: mend it"
        )
    heard = None if said.get("prompt_s") is None else _frames(said["prompt_s"], features.frame_shift)
    if heard is not None and not 0 < heard < frames:
        raise InputError(f"{path} has cut {name!r} with prompt_s {said['prompt_s']}, which lies outside of it: mend it")
    return Item(
        id=name,
        source=str(said.get("source", features.recording_id or name)),
        frames=frames,
        codebooks=features.num_features,
        frame_rate=round(1 / features.frame_shift, 6),  # 0.02 and 1 / 50 differ in their last bit
        codec=said.get("codec"),
        last=bool(said.get("last", True)) and first + frames == features.num_frames,  # a crop keeps what was said
        place=Place(
            features.storage_type, found.find(str(features.storage_path), "sha256" in said), features.storage_key
        ),
        first=first,
        heard=heard,
    )


def _frames(seconds: float, shift: float) -> int:
    """Whole frames, half ones rounded up as lhotse does; what a cut says in seconds has been rounded before."""
    return math.floor(seconds / shift + 0.5 + 1e-6)


def _check_files(items: Sequence[Item], path: Path) -> None:
    files = {item.place.file: item.place for item in items}
    if missing := [file for file in files if not file.exists()]:
        raise InputError(
            f"{path} names {len(files)} files of codes, of which {len(missing)} are missing, such as {missing[0]}: put "
            "them back, or tokenize again"
        )
    for file, place in files.items():
        if place.is_archive and (wrong := check_archive(file)):
            raise InputError(
                f"{file}, which {path} names, is damaged ({wrong}): put a whole one back, or tokenize again"
            )


def _check_kind(item: Item, codebooks: int, frame_rate: float | None, path: Path) -> None:
    if item.codebooks != codebooks:
        raise InputError(
            f"{path} has {item.id!r} of {item.codebooks} codebooks, where {codebooks} are wanted: use one codec"
        )
    if frame_rate is not None and abs(item.frame_rate - frame_rate) > 0.01:
        raise InputError(
            f"{path} has {item.id!r} at {item.frame_rate:g} frames a second, where {frame_rate:g} are wanted: "
            "use one codec"
        )
