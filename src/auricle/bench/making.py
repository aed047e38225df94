"""Folders of random weights, made once and kept: dense in shards as released ones are, or quantised.

Tensors are drawn and written piece by piece, so that making 10 GB takes no more than a few hundred megabytes of memory.
A folder gets its name when it is whole; one that was interrupted is made anew.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from auricle.bench.presets import PRESETS
from auricle.bench.random_weights import IN_MEMORY, STAMP, RandomCheckpoint
from auricle.checkpoint import TensorInfo
from auricle.errors import InputError, OptionError
from auricle.layers.packing import VERSION
from auricle.quant.quantize import quantize
from auricle.quant.writer import Entry, Writer, new_folder, write_file

SCHEMES = ("bf16", "int8", "int4")
SHARD_BYTES = 2_000_000_000
BESIDE = 20_000_000  # bytes of tokenizer and settings, at most
BYTES_A_NUMBER = {"bf16": 2.0, "int8": 1.1, "int4": 0.7}  # at most, scales included

Progress = Callable[[int, int], None]  # bytes done, bytes in all


def default_work() -> Path:
    """Where folders of random weights are kept: in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "auricle" / "random"


def make(preset: str, scheme: str, work: Path, progress: Progress | None = None) -> Path:
    """The folder of a preset's random weights in a scheme, made if it is not there.

    Raises:
        OptionError: the preset or the scheme is unknown, or something else is at the folder's place.
        InputError: the disk hasn't enough room, or `work` can't be made.
        AuricleError: the disk filled up on the way, or can't be written to.
    """
    if preset not in PRESETS:
        raise OptionError(f"no random weights for {preset!r}: known are {', '.join(PRESETS)}")
    if scheme not in SCHEMES:
        raise OptionError(f"unknown scheme {scheme!r}: known are {', '.join(SCHEMES)}")
    folder = work / f"{preset}-{scheme}"
    source = RandomCheckpoint(preset, scratch=work)
    found = _stamp(folder)
    if found is not None and found == source.stamp and _is_of_this_version(folder, scheme):
        return folder
    _make_room(work, folder if found is not None else None, source, scheme)
    if scheme == "bf16":
        write_dense(source, folder, progress)
    else:
        quantize(source, scheme, folder, name=f"random weights, {preset}", progress=progress)
    return folder


def size_on_disk(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.iterdir())


def write_dense(source: RandomCheckpoint, folder: Path, progress: Progress | None = None) -> None:
    """Writes the checkpoint as an ordinary folder of the hub, in shards."""
    shards = list(_shards(source.tensors))
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    places = {tensor: file for file, tensors in zip(names, shards, strict=True) for tensor in tensors}
    total, done = sum(info.bytes for info in source.tensors.values()), 0
    index = {"metadata": {"total_size": total}, "weight_map": places}
    with new_folder(folder, total + BESIDE) as part:
        for file, tensors in zip(names, shards, strict=True):
            for written in _write_shard(part / file, source, tensors):
                done += written
                if progress is not None:
                    progress(done, total)
        for name, content in source.files():
            write_file(part / name, content)
        write_file(part / "model.safetensors.index.json", _json(index))
        write_file(part / "config.json", _json(source.config))


def _stamp(folder: Path) -> dict[str, Any] | None:
    """What a folder was made from; None of one that isn't ours, or isn't there."""
    path = folder / STAMP
    if not path.is_file():
        return None
    stamp: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return stamp


def _is_of_this_version(folder: Path, scheme: str) -> bool:
    """Whether packed weights are packed as they are read now."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return scheme == "bf16" or bool(config["quantization_config"]["version"] == VERSION)


def _make_room(work: Path, old: Path | None, source: RandomCheckpoint, scheme: str) -> None:
    """Makes the folder of folders, takes an outdated one away, and sees that the disk has room."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        if old is not None:
            shutil.rmtree(old)
    except OSError as error:
        raise InputError(f"{work} can't be used ({error.strerror}): name another place with --work") from error
    sizes = [info.bytes for info in source.tensors.values()]
    needed = sum(sizes) * BYTES_A_NUMBER[scheme] / 2 + BESIDE
    if scheme != "bf16" and max(sizes) > IN_MEMORY:
        needed += max(sizes)  # drawn into a file before it is packed
    free = shutil.disk_usage(work).free
    if free < needed:
        raise InputError(
            f"{source.preset} in {scheme} needs {needed / 1e9:.2g} GB of disk, and {work} has {free / 1e9:.2g} GB "
            "free: free some, or name another place with --work"
        )


def _shards(tensors: dict[str, TensorInfo]) -> Iterator[list[str]]:
    """Names in order, as many to a shard as it holds; a tensor is never split."""
    names: list[str] = []
    held = 0
    for name, info in tensors.items():
        if names and held + info.bytes > SHARD_BYTES:
            yield names
            names, held = [], 0
        names.append(name)
        held += info.bytes
    yield names


def _write_shard(path: Path, source: RandomCheckpoint, names: list[str]) -> Iterator[int]:
    """Yields the bytes of each piece written."""
    entries = {name: Entry.of("BF16", source.tensors[name].shape) for name in names}
    with Writer(path, entries) as writer:
        for name in names:
            for piece in source.pieces(name):
                writer.write(name, piece)
                yield piece.nbytes


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
