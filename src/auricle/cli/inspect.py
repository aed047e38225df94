"""`auricle inspect`: what is in a model's folder, from its headers alone."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from math import prod
from typing import Annotated, Any

import typer

from auricle.backends import BACKENDS
from auricle.checkpoint import Checkpoint, TensorInfo
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.options import Json, ModelArgument
from auricle.hub import ModelName, find
from auricle.models.summary import SUMMARIES, Summary, summarise

app = new_app()

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@app.command(cls=Command)
def inspect(
    model: ModelArgument,
    *,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="Every tensor by itself; otherwise those of all layers are one row.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what is in a model's folder.

    Its configuration in short, what sound it takes, how large its parts are, and its tensors with shapes and types.
    Only headers are read, and nothing is downloaded.

    \b
    auricle inspect tiny
    auricle inspect google/gemma-4-E2B-it --tensors
    auricle inspect ./checkpoint --json
    """
    checkpoint = Checkpoint(find(ModelName.parse(model, tuple(BACKENDS)), download=False))
    summary = summarise(checkpoint)
    if json:
        show.as_json(_record(model, checkpoint, summary))
    else:
        _show(checkpoint, summary, tensors)


def _show(checkpoint: Checkpoint, summary: Summary, every_tensor: bool) -> None:
    kind = summary.model_type if summary.runs else f"{summary.model_type} (does not run here)"
    show.table("model", ("setting", "value"), [("folder", checkpoint.folder), ("type", kind)], sys.stdout)
    for part, settings in summary.settings.items():
        show.table(part, ("setting", "value"), settings.items(), sys.stdout)
    show.table("audio", ("limit", "value"), _limits(summary), sys.stdout)
    show.table(
        "sizes",
        ("part", "tensors", "numbers", "size"),
        [(part, count, f"{numbers:,}", show.size(size)) for part, count, numbers, size in _parts(checkpoint)],
        sys.stdout,
    )
    rows = _all(checkpoint) if every_tensor else _grouped(checkpoint)
    show.table("tensors", ("name", "count", "type", "shape"), rows, sys.stdout)


def _limits(summary: Summary) -> list[tuple[str, object]]:
    if summary.audio is None:
        return [("hears", "no" if summary.model_type in SUMMARIES else "unknown")]
    limits = summary.audio
    return [
        ("rate", f"{limits.rate} Hz"),
        ("shortest clip", f"{limits.min_samples} samples ({1000 * limits.min_samples / limits.rate:.1f} ms)"),
        ("longest clip", f"{limits.max_seconds:g} s; longer sound is cut at pauses"),
        ("tokens", f"{limits.tokens_per_second:g} a second"),
    ]


def _parts(checkpoint: Checkpoint) -> Iterator[tuple[str, int, int, int]]:
    """Name, tensors, numbers and bytes of each part, as the first two words of tensors' names tell it; then of all."""
    parts: dict[str, list[TensorInfo]] = defaultdict(list)
    for name, info in checkpoint.tensors.items():
        parts[".".join(name.removeprefix("model.").split(".")[:2])].append(info)
    for part, infos in [*sorted(parts.items()), ("all", list(checkpoint.tensors.values()))]:
        yield part, len(infos), sum(prod(info.shape) for info in infos), sum(info.bytes for info in infos)


def _all(checkpoint: Checkpoint) -> Iterator[tuple[object, ...]]:
    for name, info in checkpoint.tensors.items():
        yield name, 1, info.dtype, _shape(info)


def _grouped(checkpoint: Checkpoint) -> Iterator[tuple[object, ...]]:
    """One row for all that differ only in the number of their layer, and for a module's scalars; in order."""
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    for name, info in checkpoint.tensors.items():
        pattern = _NUMBER.sub("*", name if info.shape else name.rpartition(".")[0] + ".*")
        counts[pattern, info.dtype, _shape(info)] += 1
    for (name, dtype, shape), count in counts.items():
        yield name, count, dtype, shape


def _shape(info: TensorInfo) -> str:
    return " x ".join(map(str, info.shape)) or "scalar"


def _record(model: str, checkpoint: Checkpoint, summary: Summary) -> dict[str, Any]:
    return {
        "model": model,
        "folder": str(checkpoint.folder),
        "model_type": summary.model_type,
        "runs": summary.runs,
        "settings": {
            part: {name.replace(" ", "_").replace("-", "_"): value for name, value in settings.items()}
            for part, settings in summary.settings.items()
        },
        "audio": asdict(summary.audio) if summary.audio is not None else None,
        "sizes": {
            part: {"tensors": count, "numbers": numbers, "bytes": size}
            for part, count, numbers, size in _parts(checkpoint)
        },
        "tensors": [
            {
                "name": name,
                "type": info.dtype,
                "shape": info.shape,
                "bytes": info.bytes,
                "file": info.file.name,
            }
            for name, info in checkpoint.tensors.items()
        ],
    }
