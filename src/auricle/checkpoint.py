"""A checkpoint folder: its settings, and its tensors mapped from disk, never read before they are used.

The folder is an ordinary one of the hub: `config.json`, `model.safetensors` (or shards with an index), tokenizer files.
Headers are read by our own few lines, so that a damaged file is told from an unknown one and `inspect` needs no torch;
tensors are mapped by the safetensors library.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

PACKING_REPORT = "quantization.json"  # beside config.json in a quantised folder: what packing cost, tensor by tensor

_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
_BYTES |= {"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}

_BESIDE = (".json", ".jinja", ".model")  # settings, chat templates, SentencePiece tokenizers
_INDEX = "model.safetensors.index.json"
_OF_THE_WEIGHTS = ("config.json", _INDEX, PACKING_REPORT)


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies and what it is."""

    file: Path
    dtype: str  # as safetensors names it: "BF16", "F32", ...
    shape: tuple[int, ...]
    bytes: int


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
        """A tensor mapped from disk: pages are read when they are touched."""
        from safetensors import SafetensorError, safe_open  # brings torch with it

        info = self.tensors[name]
        try:
            if info.file not in self._open:
                self._open[info.file] = safe_open(info.file, framework="pt")
            tensor: Tensor = self._open[info.file].get_tensor(name)
        except SafetensorError as error:  # it checks more than our reading of the header does
            raise CheckpointError(f"{info.file} is damaged ({error}): fetch it again") from error
        return tensor

    @cached_property
    def _open(self) -> dict[Path, Any]:
        return {}

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
            end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
            tensors = {
                name: TensorInfo(
                    file,
                    entry["dtype"],
                    tuple(entry["shape"]),
                    entry["data_offsets"][1] - entry["data_offsets"][0],
                )
                for name, entry in entries.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise CheckpointError(f"{file} has a damaged safetensors header: fetch it again") from error
    if 8 + length + end != size:
        raise CheckpointError(
            f"{file} is damaged: its header promises {8 + length + end} bytes and it has {size}: fetch it again"
        )
    for name, info in tensors.items():
        items = 1
        for extent in info.shape:
            items *= extent
        if info.dtype in _BYTES and items * _BYTES[info.dtype] != info.bytes:
            raise CheckpointError(f"{file} is damaged: {name} is {info.shape} {info.dtype} but has {info.bytes} bytes")
    return tensors
