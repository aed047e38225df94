"""From a dense checkpoint to a packed one: tensor by tensor, and a large tensor by some rows at a time.

Nothing is held but the piece at hand: a table of two billion numbers goes through in megabytes. The source is mapped:
what a monitor shows beyond that is the file in the system's cache.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auricle.checkpoint import PACKING_REPORT, Checkpoint
from auricle.errors import CheckpointError
from auricle.layers.packing import METHOD, Packing
from auricle.models.weights import match
from auricle.quant.packed import pieces
from auricle.quant.policy import policy_of, rules_of
from auricle.quant.report import Cost, Report
from auricle.quant.tasks import FLOATS, Task, tasks_of
from auricle.quant.writer import Entry, Writer, new_folder, write_file

PIECE = 1 << 18  # numbers packed at a time: what is made of them stays in a processor's cache, twice as fast as 1 << 22

Progress = Callable[[int, int], None]  # bytes of the source done, and in all


def quantize(
    source: Checkpoint,
    scheme: str,
    out: Path,
    *,
    audio: str = "int8",
    name: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Packs a checkpoint into a new folder, which is there whole or not at all.

    Args:
        scheme: "int4" or "int8"; `auricle.quant.policy` says what it means for each tensor.
        out: the folder, not there yet or empty.
        audio: what the linears of the audio tower become: "int8" or "bf16".
        name: what provenance calls the source; its folder's name unless given.
        progress: called after every piece.

    Raises:
        CheckpointError: the source is quantised already, damaged, of a model type without a policy, or holds numbers
            that can't be packed; the message names the tensor.
        OptionError: a scheme is unknown, or `out` is taken.
        AuricleError: the disk is too full, or can't be written to. Nothing is left at `out`.
    """
    _refuse_packed(source)
    policy = policy_of(source.config, source.folder)
    dense = policy.outline(source.config)
    needed = set(match(dense, source).values())
    rules, notes = rules_of(policy, scheme, audio, dense)
    packing = Packing(scheme, rules, _provenance(source, needed, name))
    tasks = list(tasks_of(policy.outline(source.config, packing), packing, source))
    files = {
        **dict(source.files()),
        "config.json": _json({**source.config, "quantization_config": packing.as_config()}),
    }
    entries = {name: entry for task in tasks for name, entry in task.entries.items()}
    size = sum(entry.bytes for entry in entries.values())
    with new_folder(out, size + _header_bound(entries) + sum(map(len, files.values()))) as part:
        for file, content in files.items():
            write_file(part / file, content)
        with Writer(part / "model.safetensors", entries) as writer:
            costs = _write(tasks, source, writer, progress)
        report = Report(
            folder=out,
            scheme=scheme,
            tensors=costs,
            dropped=_dropped(source, needed),
            notes=tuple(notes),
            bytes_before=sum(info.bytes for info in source.tensors.values()),
            bytes=size,
        )
        write_file(part / PACKING_REPORT, _json(report.as_json()))
    return report


def _refuse_packed(source: Checkpoint) -> None:
    settings = source.config.get("quantization_config")
    if settings is None:
        return
    settings = settings if isinstance(settings, dict) else {}
    made_by = settings.get("quant_method")
    how = settings.get("scheme") if made_by == METHOD else f"by {made_by!r}"
    raise CheckpointError(
        f"{source.folder} is quantised already ({how}): quantise the dense model that it was made from"
    )


def _provenance(source: Checkpoint, needed: set[str], name: str | None) -> dict[str, str]:
    dtypes = {source.tensors[stored].dtype for stored in needed}
    return {
        "source": name or source.folder.name,
        "source_dtype": ", ".join(sorted(FLOATS.get(dtype, dtype) for dtype in dtypes)),
        "auricle": version("auricle"),
        "date": datetime.now(UTC).date().isoformat(),
    }


@torch.inference_mode()
def _write(tasks: list[Task], source: Checkpoint, writer: Writer, progress: Progress | None) -> dict[str, Cost]:
    """Does the tasks in turn; what each has cost."""
    whole = sum(source.tensors[task.stored].bytes for task in tasks)
    costs, done = {}, 0
    for task in tasks:
        tensor = source.tensor(task.stored)
        rows = tensor.reshape(-1, tensor.shape[-1]) if tensor.dim() else tensor.reshape(1, 1)
        squares = errors = 0.0
        for cut in pieces(rows.shape[0], rows.shape[1], PIECE):
            piece = rows[cut]
            parts, restored = task.pack(piece)
            for name, part in parts.items():
                writer.write(name, part)
            if restored is not piece:
                squares += _norm(piece.float()) ** 2
                errors += _norm(restored.float() - piece.float()) ** 2
            done += piece.nbytes
            if progress is not None:
                progress(done, whole)
        costs[task.name] = _cost(task, tensor, squares, errors)
    return costs


def _norm(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))


def _cost(task: Task, tensor: Tensor, squares: float, errors: float) -> Cost:
    return Cost(
        scheme=task.scheme,
        numbers=tensor.numel(),
        bytes_before=0 if task.copies else tensor.nbytes,
        bytes=sum(entry.bytes for entry in task.entries.values()),
        error=math.sqrt(errors / squares) if squares else 0.0,
        norm=math.sqrt(squares),
    )


def _dropped(source: Checkpoint, needed: set[str]) -> dict[str, tuple[int, int]]:
    """What of the source isn't needed, by part."""
    parts: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for name in source.tensors.keys() - needed:
        part = name.removeprefix("model.").partition(".")[0]
        count, size = parts[part]
        parts[part] = (count + 1, size + source.tensors[name].bytes)
    return dict(sorted(parts.items()))


def _header_bound(entries: dict[str, Entry]) -> int:
    """More bytes than the file's header and the report have."""
    return sum(2 * len(name) + 600 for name in entries) + 4096


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
