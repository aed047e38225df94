"""What becomes of each tensor of a dense checkpoint: packed, rounded, or copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from auricle.layers.packing import BF16, DENSE, Packing
from auricle.models.weights import STORED_AS, WholeModel
from auricle.quant.packed import PackedLinear
from auricle.quant.table import PackedTable
from auricle.quant.writer import Entry

FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # as safetensors and torch say it

Pack = Callable[[Tensor], tuple[dict[str, Tensor], Tensor]]  # rows -> what is written, by name; what that stands for


@dataclass(frozen=True)
class Task:
    """A tensor of the source, and what becomes of it."""

    stored: str  # its name in the source
    name: str  # in the result; of a packed one, that of its weight
    scheme: str
    copies: bool  # a second use of the tensor: the head's, of the embedding table
    entries: dict[str, Entry]  # what is written
    pack: Pack


def tasks_of(outline: WholeModel, packing: Packing, source: Checkpoint) -> Iterator[Task]:
    """What is to be done for each tensor of the result.

    Args:
        outline: of the result: its packed modules know the shapes.

    Raises:
        CheckpointError: a tensor to be packed holds no floating-point numbers.
    """
    packed: set[str] = set()
    for name in outline.state_dict():
        path, _, part = name.rpartition(".")
        module, scheme = outline.get_submodule(path), packing.scheme_of(path)
        if not isinstance(module, PackedLinear | PackedTable) or part not in module.exact:
            rounded = scheme == BF16 and part == "weight" and hasattr(module, "replaced")
            yield _copying(outline.checkpoint_name(name), source, BF16 if rounded else DENSE)
        elif path not in packed:
            packed.add(path)
            yield _packing(outline, path, module, scheme, source)


def _packing(
    outline: WholeModel, path: str, module: PackedLinear | PackedTable, scheme: str, source: Checkpoint
) -> Task:
    stored = outline.checkpoint_name(f"{outline.origin(path)}.weight")
    names = {part: outline.checkpoint_name(f"{path}.{part}") for part in module.exact}
    if source.tensors[stored].dtype not in FLOATS:
        raise CheckpointError(
            f"{source.folder}: {stored} is stored as {source.tensors[stored].dtype}, and can't be packed"
        )

    def pack(rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        parts = module.pack(rows.float(), stored)
        restored = module.unpack(parts["weight"], parts["scales"], *rows.shape)
        return {names[part]: tensor for part, tensor in parts.items()}, restored

    shapes = {part: module.get_buffer(part) for part in module.exact}
    entries = {names[part]: Entry.of(STORED_AS[held.dtype], tuple(held.shape)) for part, held in shapes.items()}
    return Task(stored, names["weight"], scheme, outline.origin(path) != path, entries, pack)


def _copying(name: str, source: Checkpoint, scheme: str) -> Task:
    info = source.tensors[name]
    if scheme == DENSE or info.dtype == "BF16":
        entry = Entry(info.dtype, info.shape, info.bytes)
        return Task(name, name, DENSE, False, {name: entry}, lambda rows: ({name: rows}, rows))

    def round_(rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return {name: rows.bfloat16()}, rows.bfloat16()

    return Task(name, name, scheme, False, {name: Entry.of("BF16", info.shape)}, round_)
