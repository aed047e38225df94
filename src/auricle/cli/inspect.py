"""`auricle inspect`: what is in a model's folder, from its headers alone."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from auricle.backends import BACKENDS
from auricle.checkpoint import Checkpoint, TensorInfo
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.contents import Contents, contents
from auricle.cli.options import Json, ModelArgument
from auricle.hub import ModelName, find
from auricle.layers import native
from auricle.models.summary import OTHER_USES, SUMMARIES, Summary

app = new_app()

Row = tuple[object, ...]

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

    Its configuration in short, what sound it takes, how large its parts are, and its tensors with shapes and types. Of
    a quantised one also how many bits a number takes, and the relative error measured when it was packed. Only headers
    are read, and nothing is downloaded.

    \b
    auricle inspect tiny
    auricle inspect google/gemma-4-E2B-it --tensors
    auricle inspect ./checkpoint --json
    """
    found = contents(Checkpoint(find(ModelName.parse(model, tuple(BACKENDS)), download=False)))
    if json:
        show.as_json(_record(model, found))
    else:
        _show(found, tensors)


def _show(found: Contents, every_tensor: bool) -> None:
    show.table("model", ("setting", "value"), _about(found), sys.stdout)
    for part, settings in found.summary.settings.items():
        show.table(part, ("setting", "value"), settings.items(), sys.stdout)
    if found.packing is not None:
        about = [("scheme", found.packing.scheme), *found.packing.provenance.items()]
        show.table("quantisation", ("setting", "value"), about, sys.stdout)
    if found.summary.model_type not in OTHER_USES:
        show.table("audio", ("limit", "value"), _limits(found.summary), sys.stdout)
    _table(found, "sizes", ("part", "tensors", "numbers", "size", "bits", "error"), _sizes(found))
    rows = _all(found) if every_tensor else _grouped(found)
    _table(found, "tensors", ("name", "count", "type", "shape", "bits", "error"), rows)


def _table(found: Contents, title: str, header: Row, rows: Iterable[Row]) -> None:
    """Without its last two columns, bits and error, when the model isn't packed."""
    columns = len(header) if found.packing is not None else -2
    show.table(title, [str(word) for word in header[:columns]], (row[:columns] for row in rows), sys.stdout)


def _about(found: Contents) -> Iterator[Row]:
    kind, missing = found.summary.model_type, native.missing()
    yield "folder", found.checkpoint.folder
    yield "type", kind if found.runs else f"{kind} (does not run here)"
    if kind in OTHER_USES:
        yield "for", OTHER_USES[kind]
    if found.unfit is not None:
        yield "quantisation", found.unfit
    yield "kernels", native.describe() if missing is None else f"torch's own operators; {missing}"


def _limits(summary: Summary) -> list[Row]:
    if summary.audio is None:
        return [("hears", "no" if summary.model_type in SUMMARIES else "unknown")]
    limits = summary.audio
    return [
        ("rate", f"{limits.rate} Hz"),
        ("shortest clip", f"{limits.min_samples} samples ({1000 * limits.min_samples / limits.rate:.1f} ms)"),
        ("longest clip", f"{limits.max_seconds:g} s; longer sound is cut at pauses"),
        ("tokens", f"{limits.tokens_per_second:g} a second"),
    ]


def _sizes(found: Contents) -> Iterator[Row]:
    for name, part in found.parts().items():
        bits, error = f"{part.bits:.2f}", show.percent(part.error)
        yield name, part.tensors, f"{part.numbers:,}", show.size(part.bytes), bits, error


def _all(found: Contents) -> Iterator[Row]:
    for name, info in found.checkpoint.tensors.items():
        yield name, 1, info.dtype, _shape(info), *_quality(found, [name])


def _grouped(found: Contents) -> Iterator[Row]:
    """One row for all that differ only in the number of their layer, and for a module's scalars; in order."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, info in found.checkpoint.tensors.items():
        pattern = _NUMBER.sub("*", name if info.shape else name.rpartition(".")[0] + ".*")
        groups[pattern, info.dtype, _shape(info)].append(name)
    for (pattern, dtype, shape), names in groups.items():
        yield pattern, len(names), dtype, shape, *_quality(found, names)


def _quality(found: Contents, names: list[str]) -> Row:
    """Bits and error of packed weights; of anything else nothing."""
    cost = found.cost(names)
    return (f"{cost.bits:.2f}", show.percent(cost.error)) if cost is not None else ("", "")


def _shape(info: TensorInfo) -> str:
    return " x ".join(map(str, info.shape)) or "scalar"


def _record(model: str, found: Contents) -> dict[str, Any]:
    summary, missing = found.summary, native.missing()
    return {
        "model": model,
        "folder": str(found.checkpoint.folder),
        "model_type": summary.model_type,
        "runs": found.runs,
        "kernels": native.describe() if missing is None else None,
        "kernels_missing": missing,
        "settings": {
            part: {name.replace(" ", "_").replace("-", "_"): value for name, value in settings.items()}
            for part, settings in summary.settings.items()
        },
        "audio": asdict(summary.audio) if summary.audio is not None else None,
        "quantisation": asdict(found.packing) if found.packing is not None else None,
        "sizes": {name: {**asdict(part), "bits": part.bits} for name, part in found.parts().items()},
        "tensors": [
            {
                "name": name,
                "type": info.dtype,
                "shape": info.shape,
                "bytes": info.bytes,
                "bits": found.costs[name].bits if name in found.costs else None,
                "error": found.costs[name].error if name in found.costs else None,
                "file": info.file.name,
            }
            for name, info in found.checkpoint.tensors.items()
        ],
    }
