"""`auricle tokenize`: sounds to the codes that an AudioLM is trained on."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from auricle.audiolm.codecs import DEFAULT
from auricle.audiolm.data.outcome import FAILURES, Outcome
from auricle.audiolm.data.sounds import SHARES, gather
from auricle.audiolm.data.tokenize import Settings, tokenize
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.options import Json, Reading, with_options
from auricle.errors import InputError
from auricle.jobs.parts import how_far
from auricle.jobs.splits import empty_splits, parse_splits
from auricle.sound.decode import Limits

app = new_app()


@dataclass(frozen=True)
class Work:
    """Who does it; it makes no difference to what is written."""

    PANEL: ClassVar = "Work"

    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Processes, of one thread each.  [default: as many as cores, 8 at most, fewer for little sound]",
        ),
    ] = None
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on Ray: local, auto, or HOST:PORT of a cluster.")
    ] = None
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda (or cuda:1, ...), mps.")] = "auto"


@app.command(name="tokenize", cls=Command)
@with_options
def tokenize_command(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Sounds, folders of them, lhotse's manifests (.jsonl.gz)."),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write here; a run that was broken off goes on.")],
    codec: Annotated[
        str, typer.Option(metavar="NAME", help="Built in, a folder, or of the hub: facebook/encodec_32khz.")
    ] = DEFAULT,
    splits: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=SHARE,...",
            help="Put each source into one split, by a hash of its name.  [default: "
            f"{','.join(f'{name}={share}' for name, share in SHARES.items())}, or as manifests say]",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Its first group, in a sound's id, is the recording it comes from."),
    ] = None,
    clip: Annotated[
        float, typer.Option(metavar="S", help="Cut the codes of a longer sound into items of like length; 0: don't.")
    ] = Settings.clip,
    shard: Annotated[int, typer.Option(metavar="N", help="Items of a file, about.")] = Settings.shard,
    work: Work,
    reading: Reading,
    json: Json = False,
) -> None:
    """Turn sounds into the codes that an AudioLM is trained on.

    Sounds of any format and rate, their channels mixed, go through a codec. DIR gets lhotse's manifests
    cuts_train.jsonl.gz, cuts_validation.jsonl.gz and cuts_test.jsonl.gz, whose features (frames, codebooks) lie beside
    them; it can be moved. A folder of manifests of these names keeps its splits. Nothing of a long sound is left out:
    it is encoded as a whole, then cut. A sound that can't be read is reported, the others are done, and the exit status
    is 2.

    \b
    auricle tokenize music/ --out tokens
    auricle tokenize talks/ --out tokens --source "^([^/]+)/" --clip 10 --splits train=0.8,validation=0.1,test=0.1
    auricle tokenize recordings.jsonl.gz --out tokens --codec facebook/encodec_32khz --workers 2
    """
    shares = None if splits is None else parse_splits(splits)
    limits = Limits(reading.max_seconds, reading.max_bytes)
    settings = Settings(codec, clip, shard, work.device, limits)
    sounds = gather(paths, source=source, splits=shares, without=out, note=show.note)
    try:
        with show.progress(f"tokenizing {show.counted(len(sounds), 'sound')}") as progress:
            done = tokenize(sounds, out, settings, workers=work.workers, cluster=work.cluster, progress=progress)
    except KeyboardInterrupt:
        if so_far := how_far(out):
            show.note(so_far)
        raise
    _show(done, out, json)
    _remarks(done, settings, list(dict.fromkeys(sound.split for sound in sounds)), shares)
    if done.failures:
        show.complain(
            f"{len(done.failures)} of {done.sounds} sounds could not be read, the first: {done.failures[0]['reason']}; "
            f"all are in {out / FAILURES}: mend them or take them away, and run the same command again"
        )
        raise typer.Exit(InputError.exit_status)


def _show(done: Outcome, out: Path, json: bool) -> None:
    if json:
        record = {"out": str(out), "sounds": done.sounds, "computed": done.computed, "items": done.items}
        splits = {
            one.split: {name: value for name, value in asdict(one).items() if name != "split"} for one in done.splits
        }
        more = {"cut": done.cut, "mixed": done.mixed, "copies": [list(pair) for pair in done.copies]}
        show.as_json({**record, "splits": splits, **more, "failures": len(done.failures)})
        return
    rows = [(one.split, one.sources, one.sounds, one.items, round(one.seconds, 2)) for one in done.splits]
    show.table(
        f"{show.counted(done.items, 'item')}: {out}",
        ("split", "sources", "sounds", "items", "seconds"),
        rows,
        sys.stdout,
    )


def _remarks(done: Outcome, settings: Settings, asked: list[str | None], shares: dict[str, float] | None) -> None:
    """What came out other than one may think."""
    if done.cut:
        show.note(
            f"{show.counted(done.cut, 'sound')} longer than {settings.clip:g} s: codes are cut into items of like "
            "length"
        )
    if done.mixed:
        show.note(f"{show.counted(done.mixed, 'sound')} of several channels, which are mixed")
    for name in empty_splits(shares or SHARES, asked):
        show.note(f"no source fell into split {name}: give more sources, or other shares")
    if done.copies:
        first, second = done.copies[0]
        show.note(
            f"{show.counted(len(done.copies), 'sound')} in two splits under two names, such as {first} and {second}: "
            "leave one out, or what is learnt from one is tested on the other"
        )
