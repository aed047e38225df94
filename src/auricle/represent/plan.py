"""What is computed together, decided before anything is: from the list of sounds and their lengths alone.

A vector's last bits depend on what shares its batch. So batches are planned once and kept with the output: a run that
was killed goes on with the same ones, whatever is left, and ends with the same bits.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NoReturn, get_args

import av
import av.error

from auricle.api import Model
from auricle.engine.layers import layers_of, shape_of
from auricle.errors import InputError, OptionError, SoundError
from auricle.represent.inputs import Items, spelt
from auricle.sound.claims import read_claim
from auricle.sound.decode import CONTAINERS, Limits, decode
from auricle.sound.files import fingerprint, refuse_special
from auricle.sound.source import open_source
from auricle.types import Extraction

Format = Literal["safetensors", "npz", "memmap"]

BATCH_CLIPS = 16
SHARD_SECONDS = 1800.0
SHARD_BYTES = 256e6  # of vectors, which wait in memory until the shard is whole; a single sound may have more


@dataclass(frozen=True)
class Settings:
    """How vectors are computed and written."""

    format: Format = "safetensors"
    batch_seconds: float = 120.0  # of sound in a batch, with its padding
    shard_items: int = 256  # sounds in a shard, at most

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            raise OptionError(f"format is {self.format!r}; it must be {', '.join(get_args(Format))}")
        if not 0 < self.batch_seconds < math.inf:
            raise OptionError(f"batch_seconds is {self.batch_seconds}; it must be a number of seconds above 0")
        if self.shard_items < 1:
            raise OptionError(f"shard_items is {self.shard_items}; it must be at least 1")


@dataclass(frozen=True)
class Shard:
    """Consecutive sounds, written as one; its batches have items of like length."""

    number: int
    first: int
    end: int
    batches: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Plan:
    """What one output folder holds; `DIR/plan.json` is this."""

    settings: dict[str, Any]  # extraction, `Settings` and limits, layers as numbers
    provenance: dict[str, str | None]
    count: int  # of items
    digest: str  # of their paths, sizes, some of their bytes, and carried columns
    shards: tuple[tuple[int, int], ...]  # first item and the one after the last

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        read = json.loads(text)
        return cls(**{**read, "shards": tuple(tuple(shard) for shard in read["shards"])})

    def whole(self, lengths: Sequence[float]) -> list[Shard]:
        """The shards with their batches, from the length of each item in seconds."""
        batch_s = self.settings["batch_seconds"]
        return [
            Shard(number, first, end, tuple(batches_of(range(first, end), lengths, batch_s)))
            for number, (first, end) in enumerate(self.shards)
        ]

    def difference(self, other: Plan) -> str | None:
        """What this plan, which is kept, has other than one that is asked for; the first of it."""
        for name, wanted in other.settings.items():
            if (kept := self.settings.get(name)) != wanted:
                return f"{name} {_shown(kept)}, and not {_shown(wanted)}"
        for name, value in other.provenance.items():
            named = name == "model" and other.provenance["revision"] is not None  # a path may be spelled otherwise
            if (made := self.provenance.get(name)) != value and not named:
                return f"{'a model of ' if name == 'revision' else ''}{name} {_shown(made)}, and not {_shown(value)}"
        if self.count != other.count:
            return f"{self.count} sounds, and not {other.count}"
        return "other sounds, or files that have changed since" if self.digest != other.digest else None


def outline(model: Model, items: Items, extraction: Extraction, settings: Settings, limits: Limits) -> Plan:
    """The plan without its shards, for which lengths are needed.

    Raises:
        OptionError: a stage or layer that the model doesn't have.
    """
    layers = layers_of(extraction.layers, extraction.stage, shape_of(model.stages, extraction.stage))
    chosen = {**asdict(extraction), "layers": list(layers)}
    chosen["precision"] = chosen.pop("dtype")
    return Plan(
        {**chosen, **asdict(settings), **asdict(limits)}, model.provenance(), len(items.paths), _digest(items), ()
    )


def shards_of(lengths: Sequence[float], settings: Settings, bytes_per_s: float) -> Iterator[tuple[int, int]]:
    """Consecutive items, as many as fit a shard."""
    most_s = min(SHARD_SECONDS, SHARD_BYTES / bytes_per_s)
    first, seconds = 0, 0.0
    for i, length in enumerate(lengths):
        if i > first and (i - first == settings.shard_items or seconds + length > most_s):
            yield first, i
            first, seconds = i, 0.0
        seconds += length
    yield first, len(lengths)


def batches_of(numbers: Sequence[int], lengths: Sequence[float], batch_seconds: float) -> Iterator[tuple[int, ...]]:
    """Items of like length together, the shortest first; one that is longer than a batch is alone."""
    batch: list[int] = []
    for i in sorted(numbers, key=lambda i: (lengths[i], i)):
        if batch and (len(batch) == BATCH_CLIPS or (len(batch) + 1) * lengths[i] > batch_seconds):
            yield tuple(batch)
            batch = []
        batch.append(i)
    if batch:
        yield tuple(batch)


def bytes_per_second(model: Model, plan: Plan) -> float:
    """Of vectors, for a second of sound; of what is pooled there is less."""
    shape = model.stages[plan.settings["stage"]]
    return 4 * len(plan.settings["layers"]) * shape.width / shape.step_s


def measure(paths: Sequence[str], limits: Limits) -> list[float]:
    """The length of each sound in seconds, by its header where that tells; 0 of what can't be read."""
    lengths = []
    for path in paths:
        try:
            refuse_special(path)
            lengths.append(_probed(path, limits))
        except SoundError:
            lengths.append(0.0)  # reading it will say why
    return lengths


def _probed(path: str, limits: Limits) -> float:
    with open_source(path, limits.max_bytes) as source:
        try:
            with av.open(
                source, mode="r", metadata_errors="replace", options={"format_whitelist": CONTAINERS}, io_open=_refuse
            ) as container:
                stream = next(iter(container.streams.audio), None)
                seconds = None if stream is None else read_claim(source, container, stream).seconds
                if seconds is None and stream is not None and stream.duration and stream.time_base:
                    seconds = float(stream.duration * stream.time_base)
                if seconds is None and container.duration:
                    seconds = container.duration / 1e6
        except av.error.FFmpegError:
            source.raise_failure()
            return 0.0
    return decode(path, limits=limits).seconds if seconds is None else min(seconds, limits.max_seconds)


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError(f"a sound may not open other files: {url}")


def _digest(items: Items) -> str:
    found = hashlib.sha256()
    for path in items.paths:
        found.update(f"{spelt(path)}\0".encode() + fingerprint(path))
    if items.columns is not None:
        for row in items.columns.to_pylist():
            found.update(json.dumps(row, default=str, sort_keys=True).encode())
    return found.hexdigest()


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return repr(value) if isinstance(value, str) and " " in value else str(value)


def checked(kept: Plan, asked: Plan, folder: object) -> Plan:
    """The plan that a folder has.

    Raises:
        InputError: it is not the one that is asked for.
    """
    if difference := kept.difference(asked):
        raise InputError(f"{folder} was begun with {difference}: name another folder, or ask for what it has")
    return kept
