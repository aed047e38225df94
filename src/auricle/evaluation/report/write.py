"""A report: one page that needs nothing else, and its pictures and tables as files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from auricle.errors import OptionError
from auricle.evaluation.analysis import Pairs, Run, Summary, check_alike, compare, named, summarise
from auricle.evaluation.analysis.curves import AT, Progress
from auricle.evaluation.analysis.decisions import with_dev_threshold
from auricle.evaluation.analysis.factors import varied
from auricle.evaluation.analysis.runs import POLICIES, Policy
from auricle.evaluation.report import words
from auricle.evaluation.report.rendering import render
from auricle.evaluation.report.sections import sections
from auricle.evaluation.report.tables import Column, Table
from auricle.evaluation.report.worst import Budget, Mistake, failures, mistakes
from auricle.jobs.folder import replaced, told_when_full
from auricle.types.checks import require, require_one_of

Decide = Literal["own", "dev"]


@dataclass(frozen=True)
class Settings:
    split: str | None = None  # that the page is of; unless given, test, the only one, or all
    unknown: Policy = "wrong"  # what becomes of unknown answers in figures that are given once
    decide: Decide = "own"  # labels as the run gave them, or by a threshold from dev
    fits: bool = True
    at: tuple[float, ...] = AT  # shares of right answers whose thresholds are wanted
    resamples: int = 1000  # of the fits
    worst: int = 20  # mistakes of each run
    sound_bytes: int = 20_000_000  # of the page that players may take
    title: str | None = None

    def __post_init__(self) -> None:
        require_one_of("unknown", self.unknown, POLICIES)
        require_one_of("decide", self.decide, get_args(Decide))
        require(self.resamples >= 100, "resamples", self.resamples, "at least 100")
        require(self.worst >= 0, "worst", self.worst, "at least 0")
        require(self.sound_bytes >= 0, "sound_bytes", self.sound_bytes, "at least 0; 0 leaves players out")
        for share in self.at:
            require(0 < share < 1, "at", share, "shares between 0 and 1, such as 0.75")


@dataclass(frozen=True)
class Report:
    """What was made, before it is written."""

    page: str
    files: Mapping[str, bytes]  # by name: pictures as PNG, tables as CSV
    record: Mapping[str, Any]  # all figures, for JSON
    players: int
    notes: tuple[str, ...]  # what whoever asked for it should know


def make_report(
    folders: Sequence[Run],
    settings: Settings | None = None,
    *,
    files: str = "report_files",
    progress: Progress = lambda done, whole: None,
) -> Report:
    """Computes the figures of some runs and draws them.

    Args:
        files: what the folder of pictures and tables is called in the page.
        progress: called with how many fits are done, and of how many.

    Raises:
        InputError: runs that can't stand in one page: of other tasks, labels or sounds; a split that isn't there.
    """
    settings = settings or Settings()
    runs = named(folders)
    check_alike(runs)
    summaries, pairs = _figures(runs, settings, progress)
    first = next(iter(summaries.values()))
    parts = sections(summaries, pairs, first.factors, by_dev=settings.decide == "dev")
    budget = Budget(settings.sound_bytes)
    worst = [one for name, found in summaries.items() for one in _worst(name, found, settings, budget)]
    broken = failures({name: (one.run, one.run.of(one.split)) for name, one in summaries.items()})
    kinds = (Column("run"), Column("error"), Column("sounds", "count"), Column("such as"))
    errors = Table("errors", "Errors", "", kinds, tuple(broken))
    page = render(summaries, pairs, parts, worst, errors, title=settings.title, most_worst=settings.worst, files=files)
    tables = [table for part in parts for table in part.every_table()]
    written = {f"{one.key}.csv": one.csv() for one in (*tables, _worst_table(worst), errors) if one.rows}
    record = {
        "runs": {name: one.to_json() for name, one in summaries.items()},
        "comparison": None if pairs is None else pairs.to_json(),
    }
    return Report(
        page,
        {
            **{f"{one.key}.png": one.png for part in parts for one in part.every_picture()},
            **{name: text.encode("utf-8", "replace") for name, text in written.items()},
        },
        record,
        sum(one.player is not None for one in worst),
        (*words.warnings(summaries, pairs), *_sound_notes(budget, settings)),
    )


def write_report(report: Report, out: Path, files: Path) -> None:
    """Writes the page, and its pictures and tables into a folder.

    Raises:
        OptionError: `out` is a folder, or isn't called .html.
        InputError: it can't be written there; AuricleError: the disk is full.
    """
    check_name(out)
    with told_when_full(out.parent, "nothing is half written"):
        files.mkdir(parents=True, exist_ok=True)
        for name, content in report.files.items():
            replaced(files / name, content)
        out.parent.mkdir(parents=True, exist_ok=True)
        replaced(out, report.page.encode("utf-8", "replace"))


def check_name(out: Path) -> None:
    """
    Raises:
        OptionError: a page can't be called so.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"out is {str(out)!r}; its name must end in .html")
    if out.is_dir():
        raise OptionError(f"out is {str(out)!r}, which is a folder: name a file")


def _figures(
    runs: Mapping[str, Run], settings: Settings, progress: Progress
) -> tuple[dict[str, Summary], Pairs | None]:
    first = next(iter(runs.values()))
    split = first.reported(settings.split)
    if settings.decide == "dev":
        runs = {name: with_dev_threshold(run, run.reported(split)) for name, run in runs.items()}
    rows = [row for run in runs.values() for row in run.of(run.reported(split))]
    factors = varied(rows)
    found = {}
    for before, (name, run) in enumerate(runs.items()):

        def of_all(done: int, whole: int, before: int = before) -> None:
            progress(before * whole + done, len(runs) * whole)

        found[name] = summarise(
            run,
            split=split,
            unknown=settings.unknown,
            fits=settings.fits,
            at=settings.at,
            resamples=settings.resamples,
            factors=factors,
            progress=of_all,
        )
    return found, compare(runs, split, settings.unknown)


def _worst(name: str, one: Summary, settings: Settings, budget: Budget) -> list[Mistake]:
    return mistakes(name, one.run, one.run.of(one.split), one.factors, settings.worst, budget)


def _worst_table(worst: Sequence[Mistake]) -> Table:
    columns = ("run", "sound", "true", "said", "confidence", "condition", "words")
    rows = tuple(tuple(getattr(one, name) for name in columns) for one in worst)
    return Table("worst", "Worst cases", "", tuple(map(Column, columns)), rows)


def _sound_notes(budget: Budget, settings: Settings) -> list[str]:
    notes = []
    if budget.cut and settings.sound_bytes:
        notes.append(
            f"{budget.cut} worst cases have no player, since sounds may take {settings.sound_bytes} bytes of the page"
        )
    if budget.broken:
        notes.append(f"{len(budget.broken)} worst cases have no player, the first because: {budget.broken[0]}")
    return notes
