"""A checkpoint folder: its settings, and its tensors mapped from disk, never read before they are used.

The folder is an ordinary one of the hub: `config.json`, `model.safetensors` (or shards with an index), tokenizer files.
Headers are read by our own few lines, so that a damaged file is told from an unknown one and `inspect` needs no torch.
So are tensors mapped, a part of the model at a time: of a part that nobody uses not a byte is, which the safetensors
library, that maps whole files, can't do.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

PACKING_REPORT = "quantization.json"  # beside config.json in a quantised folder: what packing cost, tensor by tensor

_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
_BYTES |= {"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}
_TORCH = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
_TORCH |= {"I16": "int16", "U16": "uint16", "F16": "float16", "BF16": "bfloat16", "I32": "int32", "U32": "uint32"}
_TORCH |= {"F32": "float32", "I64": "int64", "U64": "uint64", "F64": "float64"}

_BESIDE = (".json", ".jinja", ".model")  # settings, chat templates, SentencePiece tokenizers
_INDEX = "model.safetensors.index.json"
_COMMIT = re.compile("[0-9a-f]{40}")

Run = tuple[Path, int, int]  # a stretch of a file: its first byte, and where it ends
_OF_THE_WEIGHTS = ("config.json", _INDEX, PACKING_REPORT)


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies and what it is."""

    file: Path
    dtype: str  # as safetensors names it: "BF16", "F32", ...
    shape: tuple[int, ...]
    bytes: int
    start: int = 0  # of these in the file


def part_of(name: str) -> str:
    """The part of a model that a tensor belongs to, as the first two words of its name tell it."""
    return ".".join(name.removeprefix("model.").split(".")[:2])


class Checkpoint:
    """One folder, opened.

    Raises:
        CheckpointError: the folder, a file in it, or its header can't be used; the message names it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise CheckpointError(f"{folder} is no checkpoint folder: {_what(folder)}")
        self.folder = folder
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"{folder} is no checkpoint folder: it has no config.json")
        self.config = self.json("config.json")
        if not isinstance(self.config.get("model_type"), str):
            raise CheckpointError(f"{folder}/config.json names no model_type: it is not a model's configuration")

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; `{}` when there is none of that name."""
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is not valid JSON ({error}): fetch the model again") from error
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} is not a JSON object: fetch the model again")
        return content

    @cached_property
    def tensors(self) -> dict[str, TensorInfo]:
        """Every tensor of the folder's safetensors files, by name; nothing but headers is read."""
        found: dict[str, TensorInfo] = {}
        for file in self._weight_files():
            found.update(_header(file))
        return found

    def tensor(self, name: str) -> Tensor:
        """A tensor mapped from disk: pages are read when they are touched, and never written to the file."""
        import torch

        info = self.tensors[name]
        dtype = getattr(torch, _TORCH.get(info.dtype, ""), None)
        if dtype is None:
            raise CheckpointError(
                f"{info.file} is damaged, or of a later format: {name} has numbers of an unknown type {info.dtype!r}"
            )
        if not info.bytes:
            return torch.empty(info.shape, dtype=dtype)
        first, mapped = self._mapped(self._runs[name])
        size = _BYTES[info.dtype]
        tensor = torch.frombuffer(mapped, dtype=dtype, count=info.bytes // size, offset=info.start - first)
        # The format lets tensors lie anywhere, and processors want numbers at multiples of their size.
        return (tensor if info.start % size == 0 else tensor.clone()).view(info.shape)

    def _mapped(self, run: Run) -> tuple[int, mmap.mmap]:
        """A stretch of a file, mapped: where that begins (on a page), and its bytes."""
        if run not in self._maps:
            file, start, end = run
            first = start // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            try:
                with file.open("rb") as stream:
                    mapped = mmap.mmap(stream.fileno(), end - first, access=mmap.ACCESS_COPY, offset=first)
            except (OSError, ValueError) as error:  # ValueError: the file has become shorter
                raise CheckpointError(f"{file} can't be mapped ({error}): see that it is whole and readable") from error
            self._maps[run] = first, mapped
        return self._maps[run]

    @cached_property
    def _maps(self) -> dict[Run, tuple[int, mmap.mmap]]:
        return {}

    @cached_property
    def _runs(self) -> dict[str, Run]:
        """The stretch of a file that a tensor is mapped with: it and its neighbours of the same part of the model.

        One for each tensor would do as well, but a mapping keeps a file descriptor, and a process may have but 1024.
        """
        runs: dict[str, Run] = {}
        placed = sorted(self.tensors.items(), key=lambda item: (str(item[1].file), item[1].start))
        for (file, _), neighbours in groupby(placed, key=lambda item: (item[1].file, part_of(item[0]))):
            members = list(neighbours)
            last = members[-1][1]
            runs |= {name: (file, members[0][1].start, last.start + last.bytes) for name, _ in members}
        return runs

    def revision(self) -> str:
        """Which weights these are: a commit, where the folder is a snapshot of the hub, else `sha256:` and a digest.

        That is one of config.json and, of each weight file, of its size, its header, and what stands at 64 places of
        it: another training of the same model differs at every place, and nobody has to read 10 GB for a name.
        """
        folder = self.folder.resolve()
        if folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name):
            return folder.name
        digest = hashlib.sha256((folder / "config.json").read_bytes())
        for file in self._weight_files():
            size = file.stat().st_size
            with file.open("rb") as stream:
                head = 8 + struct.unpack("<Q", stream.read(8))[0]
                stream.seek(0)
                digest.update(f"{file.name} {size} ".encode() + stream.read(head))
                for place in range(64):
                    stream.seek(head + (size - head) * place // 64)
                    digest.update(stream.read(512))
        return f"sha256:{digest.hexdigest()}"

    def files(self) -> Iterator[tuple[str, bytes]]:
        """What stands in the folder beside config.json and the weights, each name with its content.

        Tokenizer, chat template, settings and licence: what a folder made from this one needs, too.
        """
        for path in sorted(self.folder.iterdir()):
            beside = path.suffix in _BESIDE or path.name.startswith(("LICENSE", "NOTICE"))
            if beside and path.name not in _OF_THE_WEIGHTS and path.is_file():
                yield path.name, path.read_bytes()

    def _weight_files(self) -> list[Path]:
        index = self.json(_INDEX)
        if index:
            names = self._shards(index.get("weight_map"))
            missing = [name for name in names if not (self.folder / name).is_file()]
            if missing:
                raise CheckpointError(
                    f"{self.folder} lacks {len(missing)} of {len(names)} weight files, {missing[0]} first: "
                    "fetch the model again"
                )
            return [self.folder / name for name in names]
        single = self.folder / "model.safetensors"
        if not single.is_file():
            raise CheckpointError(
                f"{self.folder} has no model.safetensors (or model.safetensors.index.json): "
                "only safetensors weights can be loaded"
            )
        return [single]

    def _shards(self, weight_map: Any) -> list[str]:
        """The files that an index names: all of them in the folder itself."""
        files = weight_map.values() if isinstance(weight_map, dict) else ()
        if not files or not all(isinstance(file, str) and Path(file).name == file for file in files):
            raise CheckpointError(f"{self.folder}/{_INDEX} names no weight files of this folder: fetch it again")
        return sorted(set(files))


def _what(path: Path) -> str:
    return "it is a file" if path.exists() else "there is no such folder"


def _header(file: Path) -> dict[str, TensorInfo]:
    """Reads a safetensors header: 8 bytes of length, JSON, then the tensors' bytes (https://github.com/huggingface/safetensors)."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= size - 8:
            raise CheckpointError(f"{file} is no safetensors file, or is cut off ({size} bytes): fetch it again")
        try:
            header = json.loads(stream.read(length))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            tensors = {name: _info(file, 8 + length, **entry) for name, entry in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise CheckpointError(f"{file} has a damaged safetensors header: fetch it again") from error
    end = max((info.start + info.bytes for info in tensors.values()), default=8 + length)
    if end != size:
        raise CheckpointError(f"{file} is damaged: its header promises {end} bytes and it has {size}: fetch it again")
    end = 8 + length
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].bytes)):
        if info.start != end:
            raise CheckpointError(
                f"{file} is damaged: {name} begins at byte {info.start}, and what is before it ends at {end}: "
                "fetch it again"
            )
        end += info.bytes
    for name, info in tensors.items():
        items = 1
        for extent in info.shape:
            items *= extent
        if info.dtype in _BYTES and items * _BYTES[info.dtype] != info.bytes:
            raise CheckpointError(f"{file} is damaged: {name} is {info.shape} {info.dtype} but has {info.bytes} bytes")
    return tensors


def _info(file: Path, head: int, *, dtype: str, shape: list[int], data_offsets: list[int]) -> TensorInfo:
    """An entry of a header that is so many bytes long; one that is none is a TypeError or ValueError."""
    first, end = data_offsets
    if not isinstance(dtype, str) or any(
        type(number) is not int or number < 0 for number in (*shape, first, end - first)
    ):
        raise ValueError("it holds what is no number, or a negative one")
    return TensorInfo(file, dtype, tuple(shape), end - first, head + first)
