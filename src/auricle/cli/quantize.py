"""`auricle quantize`: a model in fewer bits."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from auricle.backends import BACKENDS
from auricle.checkpoint import Checkpoint, part_of
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.options import Json, ModelArgument
from auricle.hub import BUILT_IN, ModelName, find
from auricle.layers.packing import AudioTower, Scheme
from auricle.quant.report import Cost, Report, total

app = new_app()


@app.command(cls=Command)
def quantize(
    model: ModelArgument,
    *,
    scheme: Annotated[Scheme, typer.Option(help="Bits of the decoder's weights.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write: not there yet, or empty.")],
    audio_tower: Annotated[AudioTower, typer.Option(help="What the audio encoder's weights become.")] = "int8",
    json: Json = False,
) -> None:
    """Write a model in fewer bits.

    Packs the weights, tensor by tensor, into an ordinary folder for --model: safetensors, config, tokenizer. int4 has
    groups of 32 with a half-precision scale each, 4.5 bits a weight; int8 a scale for each row. It tells what every
    part costs, in bits and in relative error. The folder appears when it is whole.

    \b
    auricle quantize google/gemma-4-E2B-it --scheme int4 --out e2b-int4
    auricle ask clip.wav "What is said?" --model e2b-int4
    auricle inspect e2b-int4
    """
    name = ModelName.parse(model, tuple(BACKENDS))
    source = Checkpoint(find(name))
    from auricle.quant import quantize as library  # brings torch with it

    with show.progress(f"packing {model}") as progress:
        report = library.quantize(
            source, scheme, out, audio=audio_tower, name=_source_name(name, source.folder), progress=progress
        )
    if json:
        show.as_json(_record(model, report))
    else:
        _show(model, report)


def _source_name(name: ModelName, folder: Path) -> str:
    """What provenance calls it: as on the hub with the commit, or the folder's own name, never where it lies."""
    if name.name in BUILT_IN:
        return name.name
    if Path(name.name).expanduser().is_dir():
        return folder.resolve().name
    return f"{name.name}@{folder.name}"


def _show(model: str, report: Report) -> None:
    rows = [
        (
            part,
            cost.scheme,
            f"{cost.bits:.2f}",
            show.size(cost.bytes_before),
            show.size(cost.bytes),
            show.percent(cost.error if cost.norm else None),
        )
        for part, cost in _parts(report).items()
    ]
    header = ("part", "scheme", "bits", "before", "after", "relative error")
    show.table(f"{model} in {report.scheme}: {report.folder}", header, rows, sys.stdout)
    for part, (count, size) in report.dropped.items():
        show.note(f"left out as not needed: {part} ({show.size(size)}, tensors: {count})")
    for remark in report.notes:
        show.note(remark)


def _parts(report: Report) -> dict[str, Cost]:
    """What each part costs, then all. A part's scheme and error are those of its packed tensors, if it has any."""
    parts: dict[str, list[Cost]] = defaultdict(list)
    for name, cost in report.tensors.items():
        parts[part_of(name)].append(cost)
    return {**{part: total(costs) for part, costs in sorted(parts.items())}, "all": total(report.tensors.values())}


def _record(model: str, report: Report) -> dict[str, Any]:
    return {
        "model": model,
        "folder": str(report.folder),
        "scheme": report.scheme,
        "bytes_before": report.bytes_before,
        "bytes": report.bytes,
        "parts": {
            part: {
                "scheme": cost.scheme,
                "bits": cost.bits,
                "numbers": cost.numbers,
                "bytes_before": cost.bytes_before,
                "bytes": cost.bytes,
                "error": cost.error if cost.norm else None,
            }
            for part, cost in _parts(report).items()
        },
        "dropped": {part: {"tensors": count, "bytes": size} for part, (count, size) in report.dropped.items()},
        "notes": report.notes,
    }
