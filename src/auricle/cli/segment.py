"""`auricle segment`: from annotated recordings to clips."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.options import Json, Reading, with_options
from auricle.errors import InputError
from auricle.evaluation.manifest import NAME
from auricle.evaluation.numbers import parse_levels
from auricle.evaluation.segments import Cut, Cutting, Recordings, parse_labels, read_annotations, segment
from auricle.evaluation.segments.annotations import Format
from auricle.jobs.parts import how_far
from auricle.jobs.splits import empty_splits, parse_splits
from auricle.sound.decode import Limits

app = new_app()

WHOLE = "whole"


@dataclass(frozen=True)
class Choosing:
    """Which clips are taken."""

    PANEL: ClassVar = "Choice"

    count: Annotated[
        int | None,
        typer.Option(metavar="N", help="Clips of each label and duration (and split).  [default: all]"),
    ] = None
    per_source: Annotated[
        int | None, typer.Option(metavar="N", help="Of these, of one source at most.  [default: no limit]")
    ] = None
    balance: Annotated[bool, typer.Option("--balance", help="As many clips of every label.")] = False
    splits: Annotated[
        str | None,
        typer.Option(metavar="NAME=SHARE,...", help="Put each source into one split, by a hash of its name."),
    ] = None
    min_level: Annotated[float, typer.Option(metavar="DB", help="Leave out clips that are softer.")] = -70.0
    seed: Annotated[int, typer.Option(metavar="N", help="Of the random choices.")] = 0


@app.command(name="segment", cls=Command)
@with_options
def segment_command(
    annotations: Annotated[
        list[str], typer.Argument(metavar="ANNOTATION...", help="Files with annotations, and folders of them.")
    ],
    *,
    audio: Annotated[Path, typer.Option(metavar="DIR", help="Where the recordings are, however deep.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write here; a run that was broken off goes on.")],
    format: Annotated[Format, typer.Option(help="Of the annotations; auto looks into them.")] = "auto",
    durations: Annotated[
        str, typer.Option(metavar="MS,...", help="Of clips, or whole: stretches as they are.")
    ] = "20,40,60,80,100,200,500,1000",
    margin: Annotated[float, typer.Option(metavar="S", help="Keep away from where a label begins or ends.")] = 0.1,
    labels: Annotated[
        str | None,
        typer.Option(metavar="WORD=LABEL,...", help="From the annotation's words to labels; * is all others."),
    ] = None,
    gaps: Annotated[str | None, typer.Option(metavar="LABEL", help="Label what no annotation covers.")] = None,
    offset: Annotated[float, typer.Option(metavar="S", help="Add this to all times of the annotations.")] = 0.0,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="What the collection is called.")] = None,
    choosing: Choosing,
    rate: Annotated[int, typer.Option(metavar="HZ", help="Samples a second of the clips.")] = 16_000,
    write_audio: Annotated[
        bool, typer.Option("--audio-files/--no-audio", help="Write the clips, or only where they are.")
    ] = True,
    reading: Reading,
    json: Json = False,
) -> None:
    """Cut annotated recordings into clips, with a manifest.

    Annotations are AVA-Speech's CSV, RTTM as VoxConverse has it, ESC-50's CSV, labels that Audacity exports, or a
    table with a header: start, end, label and file. Clips of one recording never overlap. What is left out is
    counted. A recording that can't be read is reported, and the exit status is 2.

    \b
    auricle segment ava_speech_labels_v1.csv --audio movies --out ava --labels "NO_SPEECH=nonspeech,*=speech" --count 40
    auricle segment voxconverse/dev --audio voxconverse/audio --out vox --labels SPEECH=speech --gaps nonspeech
    auricle segment esc50.csv --audio ESC-50/audio --out esc --durations 200,1000 --labels "dog=animal,cat=animal"
    auricle segment talk.txt --audio . --out talk --durations whole --no-audio
    """
    cutting = Cutting(
        durations=() if durations == WHOLE else parse_levels("durations", durations),
        margin_s=margin,
        labels=None if labels is None else parse_labels(labels),
        gaps=gaps,
        count=choosing.count,
        per_source=choosing.per_source,
        balance=choosing.balance,
        min_level_db=choosing.min_level,
        splits=None if choosing.splits is None else parse_splits(choosing.splits),
        dataset=dataset,
        rate=rate,
        seed=choosing.seed,
        audio=write_audio,
    )
    limits = Limits(reading.max_seconds, reading.max_bytes)
    spans = read_annotations(annotations, format, offset)
    recordings = Recordings(audio)
    try:
        with show.progress("reading recordings") as progress:
            found = segment(spans, recordings, out, cutting, limits=limits, progress=progress)
    except KeyboardInterrupt:
        if so_far := how_far(out):
            show.note(so_far)
        raise
    if json:
        show.as_json(_record(found, out))
    else:
        _show(found, out)
    for name in empty_splits(cutting.splits, (row[0] for row in found.counts)):
        show.note(f"no source fell into split {name}: give more sources, or other shares")
    for failure in found.failures:
        show.complain(failure["reason"])
    if found.failures:
        raise typer.Exit(InputError.exit_status)


def _show(found: Cut, out: Path) -> None:
    """What came out to stdout, what didn't to stderr."""
    split = any(row[0] for row in found.counts)
    header = ("split", "label", "ms", "sources", "clips")[0 if split else 1 :]
    rows = [(*row[:2], row[2] or WHOLE, *row[3:])[0 if split else 1 :] for row in found.counts]
    show.table(f"{len(found.rows)} clips: {out / NAME}", header, rows, sys.stdout)
    for reason, count in sorted(found.skipped.items()):
        show.note(f"left out, {reason}: {count}")


def _record(found: Cut, out: Path) -> dict[str, object]:
    names = ("split", "label", "duration_ms", "sources", "clips")
    return {
        "manifest": str(out / NAME),
        "clips": len(found.rows),
        "counts": [dict(zip(names, row, strict=True)) for row in found.counts],
        "left_out": dict(found.skipped),
        "failures": list(found.failures),
    }
