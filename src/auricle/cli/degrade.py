"""`auricle degrade`: from clean clips to a factorial set of harder ones."""

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
from auricle.evaluation.degrade import Factors, Outcome, Padding, Plan, Settings, degrade, gather, survey
from auricle.evaluation.degrade.chain import Over, Tail
from auricle.evaluation.degrade.pieces import Filling, Place, Side
from auricle.evaluation.degrade.plan import Short
from auricle.evaluation.degrade.run import FAILURES
from auricle.evaluation.manifest import NAME
from auricle.evaluation.numbers import parse_levels, parse_snr
from auricle.jobs.parts import how_far
from auricle.jobs.splits import empty_splits, parse_splits
from auricle.sound.decode import Limits

app = new_app()


@dataclass(frozen=True)
class Levels:
    """Levels of the factors: fields of `Factors`."""

    PANEL: ClassVar = "Factors: every combination is made"

    durations: Annotated[
        str | None, typer.Option(metavar="MS,...", help="Cut a piece of each length.  [default: clips stay whole]")
    ] = None
    rt60: Annotated[str, typer.Option(metavar="S,...", help="Reverberation: seconds to decay by 60 dB; 0 is none.")] = (
        "0"
    )
    snr: Annotated[
        str, typer.Option(metavar="DB,...", help="Sound above noise, over the active part; clean is no noise.")
    ] = "clean"
    noise: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="KIND",
            help="white, pink, speech (its long-term spectrum), or a folder or file of noise; may be repeated.",
        ),
    ] = ("white",)
    filters: Annotated[
        str, typer.Option("--filter", metavar="F,...", help="none, lowpass:HZ, highpass:HZ, bandpass:HZ-HZ.")
    ] = "none"
    gains: Annotated[str, typer.Option("--gain", metavar="DB,...", help="Of clip and noise together.")] = "0"
    codecs: Annotated[
        str,
        typer.Option(
            "--codec", metavar="C,...", help="none, mp3:32k, opus:16k, aac:24k, amr-nb:12.2k, g722, mulaw, alaw."
        ),
    ] = "none"

    def factors(self, rate: int) -> Factors:
        return Factors(
            durations=() if self.durations is None else parse_levels("durations", self.durations),
            rt60=parse_levels("rt60", self.rt60),
            snr=parse_snr(self.snr),
            noise=tuple(self.noise),
            filters=_words(self.filters),
            gains=parse_levels("gain", self.gains),
            codecs=_words(self.codecs),
            rate=rate,
        )


@dataclass(frozen=True)
class Manner:
    """How each step is done: fields of `Settings`."""

    PANEL: ClassVar = "How"

    cut: Annotated[Place, typer.Option(help="Where in a clip a piece is taken.")] = "centre"
    ramp: Annotated[float, typer.Option(metavar="MS", help="Fade a piece in and out.")] = 0.0
    level: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Set the active part to this level first, such as -30.  [default: as it is]"),
    ] = None
    drr: Annotated[float, typer.Option(metavar="DB", help="Of a room: direct to reverberant energy.")] = 0.0
    tail: Annotated[Tail, typer.Option(help="What sounds on after the clip: left out, or kept.")] = "cut"
    over: Annotated[Over, typer.Option(help="Sound beyond full scale: refuse it, or lower it and say so.")] = "refuse"
    seed: Annotated[int, typer.Option(metavar="N", help="Of the random choices.")] = 0


@dataclass(frozen=True)
class Container:
    """What stands around a clip: fields of `Padding`."""

    PANEL: ClassVar = "Padding"

    pad: Annotated[Filling, typer.Option(help="With nothing, silence, or low noise.")] = "none"
    pad_to: Annotated[float, typer.Option(metavar="MS", help="Length of the whole.")] = Padding.to_ms
    pad_at: Annotated[Side, typer.Option(help="Where in it the clip is.")] = Padding.at
    pad_noise: Annotated[float, typer.Option(metavar="X", help="Standard deviation of the low noise.")] = (
        Padding.noise_rms
    )


@app.command(name="degrade", cls=Command)
@with_options
def degrade_command(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH...", help="Clean clips, and folders of them.")
    ] = None,
    *,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A list instead: .parquet, .csv, .tsv or .jsonl with a column 'path'."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write here; a run that was broken off goes on.")],
    source: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Its first group, in a clip's id, is the recording it comes from."),
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option(metavar="NAME=SHARE,...", help="Put each source into one split, by a hash of its name."),
    ] = None,
    shared_noise: Annotated[
        bool, typer.Option("--shared-noise", help="Allow the same clips of noise in all splits.")
    ] = False,
    short: Annotated[Short, typer.Option(help="Clips shorter than a duration: refuse them, or skip those.")] = "refuse",
    rate: Annotated[int, typer.Option(metavar="HZ", help="Samples a second of what is written.")] = 16_000,
    levels: Levels,
    manner: Manner,
    container: Container,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    reading: Reading,
    json: Json = False,
) -> None:
    """Make clean clips harder to hear, in every combination of some levels.

    Each clip is cut, reverberates, gets noise, is filtered, amplified, coded and padded, in this order. A manifest says
    of every file which clip, source, split and label it has, and what was asked for and measured. Random choices
    depend on --seed and the sound alone, so the same command gives the same bits. A file that can't be made is
    reported, and the exit status is 2.

    \b
    auricle degrade clips/ --out set --durations 20,40,60,80,100,200,500,1000 --pad noise --pad-to 2000
    auricle degrade --manifest clips/manifest.parquet --out noisy --snr clean,-10:20:5 --noise pink --level -30
    auricle degrade clips/ --out rooms --rt60 0,0.3,1,2.5 --filter none,bandpass:300-3400 --codec none,opus:16k
    auricle degrade clips/ --out set --durations 20:1000:20 --snr=-10:20:5 --dry-run
    """
    factors = levels.factors(rate)
    padding = Padding(container.pad, container.pad_to, container.pad_at, container.pad_noise)
    settings = Settings(
        manner.cut, manner.ramp, manner.level, manner.drr, manner.tail, manner.over, padding, manner.seed
    )
    shares = None if splits is None else parse_splits(splits)
    clips = gather(paths or [], manifest, source=source, splits=shares, without=out)
    limits = Limits(reading.max_seconds, reading.max_bytes)
    with show.progress(f"reading {len(clips)} clips") as progress:
        plan = survey(
            clips, factors, settings, short=short, shared_noise=shared_noise, limits=limits, progress=progress
        )
    for name in empty_splits(shares, (one.clip.split for one in plan.clips)):
        show.note(f"no source fell into split {name}: give more sources, or other shares")
    if dry_run:
        _show_plan(plan, json)
        return
    try:
        with show.progress(f"writing {plan.files} files") as progress:
            done = degrade(plan, out, progress)
    except KeyboardInterrupt:
        if so_far := how_far(out, len(plan.parts)):
            show.note(so_far)
        raise
    _show_done(plan, done, out, json)
    if done.failures:
        show.complain(
            f"{len(done.failures)} of {plan.files + len(plan.unreadable)} files could not be made, the first: "
            f"{done.failures[0]['reason']}; all are in {out / FAILURES}"
        )
        raise typer.Exit(InputError.exit_status)


def _show_plan(plan: Plan, json: bool) -> None:
    size = show.size(plan.bytes)
    if json:
        record = {"clips": len(plan.clips), "conditions": len(plan.conditions), "files": plan.files}
        show.as_json({**record, "bytes": plan.bytes, "skipped": plan.skipped, "unreadable": list(plan.unreadable)})
    else:
        made = f"{len(plan.clips)} clips under {len(plan.conditions)} conditions"
        show.line(f"{made}: {plan.files} files, {size} would be written")
        show.table("clips", ("split", "label", "sources", "clips"), plan.counts(), sys.stdout)
    _remarks(plan)
    for one in plan.unreadable:
        show.complain(one["reason"])
    if plan.unreadable:
        raise typer.Exit(InputError.exit_status)


def _show_done(plan: Plan, done: Outcome, out: Path, json: bool) -> None:
    where = str(out / NAME) if done.files else None
    if json:
        record = {"files": done.files, "computed": done.computed, "skipped": done.skipped, "lowered": done.lowered}
        show.as_json({"manifest": where, **record, "failures": len(done.failures)})
    else:
        made = f"{done.files} files of {len(plan.clips)} clips under {len(plan.conditions)} conditions"
        show.line(f"{made}: {where or 'no manifest'}")
    _remarks(plan)
    if done.lowered:
        show.note(
            f"{done.lowered} files were lowered to fit full scale, by up to {done.most_lowered_db:.1f} dB: see scale_db"
        )


def _remarks(plan: Plan) -> None:
    if plan.skipped:
        show.note(f"{plan.skipped} combinations are left out, because the clip is shorter than the duration")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))
