"""`auricle report`: a page with curves, tables and worst cases of what `auricle eval` measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.options import Json, with_options
from auricle.evaluation.analysis import read_run
from auricle.evaluation.analysis.runs import Policy
from auricle.evaluation.numbers import parse_levels
from auricle.evaluation.report import Decide, Settings, check_name, make_report, write_report

app = new_app()


@dataclass(frozen=True)
class Figures:
    """What is computed: fields of `Settings`."""

    PANEL: ClassVar = "Figures"

    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Report on this split, or all.  [default: test, the only one, or all]",
            show_default=False,
        ),
    ] = None
    unknown: Annotated[
        Policy, typer.Option(help="Answers that name no label: wrong, or dropped. The overall table has both.")
    ] = "wrong"
    decide: Annotated[
        Decide, typer.Option(help="Labels as the run gave them, or by a threshold chosen on split dev for each run.")
    ] = "own"
    at: Annotated[str, typer.Option(metavar="X,...", help="Shares of right answers whose thresholds are wanted.")] = (
        "0.75"
    )
    fits: Annotated[bool, typer.Option("--fits/--no-fits", help="Fit psychometric functions.")] = True
    resamples: Annotated[
        int, typer.Option(metavar="N", help="Of each fit: data sets drawn anew for its intervals.")
    ] = Settings.resamples


@dataclass(frozen=True)
class Page:
    """What is in the page: fields of `Settings`."""

    PANEL: ClassVar = "Page"

    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Instead of one made from the labels.")] = None
    worst: Annotated[int, typer.Option(metavar="N", help="Show the N most confident mistakes of each run.")] = (
        Settings.worst
    )
    sound_bytes: Annotated[
        int, typer.Option(metavar="N", help="Bytes of the page that their players may take; 0 leaves players out.")
    ] = Settings.sound_bytes
    files: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Pictures as PNG and tables as CSV go here.  [default: PAGE_files]", show_default=False
        ),
    ] = None


@app.command(cls=Command)
@with_options
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that auricle eval wrote.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page; it needs no other file, and no network.")] = Path(
        "report.html"
    ),
    figures: Figures,
    page: Page,
    json: Json = False,
) -> None:
    """Make a page of what was measured: curves, tables, the worst mistakes to listen to, and what was run.

    Several runs stand in one picture, and are compared on the sounds that all of them answered. A run that isn't
    complete is reported as far as it is, which the page says. With --json, all figures are printed too.

    \b
    auricle report runs/tiny
    auricle report runs/tiny runs/silero runs/energy --out study.html
    auricle report runs/tiny --no-fits --worst 50 --json > figures.json
    """
    check_name(out)
    settings = Settings(
        figures.split,
        figures.unknown,
        figures.decide,
        figures.fits,
        parse_levels("at", figures.at),
        figures.resamples,
        page.worst,
        page.sound_bytes,
        page.title,
    )
    files = out.with_name(f"{out.stem}_files") if page.files is None else page.files
    with show.progress(f"measuring {len(runs)} run{'s' if len(runs) > 1 else ''}") as progress:
        made = make_report([read_run(run) for run in runs], settings, files=str(files.name), progress=progress)
    write_report(made, out, files)
    for note in made.notes:
        show.note(note)
    if json:
        show.as_json({"page": str(out), "files": str(files), **made.record})
    else:
        show.line(f"{out}: {show.size(len(made.page.encode('utf-8', 'replace')))}, {made.players} sounds; {files}")
