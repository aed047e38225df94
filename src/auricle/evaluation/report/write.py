"""A report: one page that needs nothing else, and its pictures and tables as files beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup  # comes with jinja2

from auricle.errors import OptionError
from auricle.evaluation.analysis import Pairs, Run, Summary, check_alike, compare, named, summarise
from auricle.evaluation.analysis.curves import AT, Progress
from auricle.evaluation.analysis.estimates import number, percent
from auricle.evaluation.analysis.factors import varied
from auricle.evaluation.analysis.runs import POLICIES, Policy
from auricle.evaluation.report import theme, words
from auricle.evaluation.report.drawing import colormap
from auricle.evaluation.report.sections import Section, sections
from auricle.evaluation.report.tables import Column, Table
from auricle.evaluation.report.worst import Budget, Mistake, failures, mistakes
from auricle.jobs.folder import replaced, told_when_full
from auricle.types.checks import require, require_one_of

PARTS = Path(__file__).with_name("page")
MOST_ROWS = 400  # of a table in the page
# What is no character in a page: a browser would drop it, or take it for something else.
_CONTROL = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")}, "\ufffd")


@dataclass(frozen=True)
class Settings:
    split: str | None = None  # that the page is of; unless given, test, the only one, or all
    unknown: Policy = "wrong"  # what becomes of unknown answers in figures that are given once
    fits: bool = True
    at: tuple[float, ...] = AT  # shares of right answers whose thresholds are wanted
    resamples: int = 1000  # of the fits
    worst: int = 20  # mistakes of each run
    sound_bytes: int = 20_000_000  # of the page that players may take
    title: str | None = None

    def __post_init__(self) -> None:
        require_one_of("unknown", self.unknown, POLICIES)
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
    parts = sections(summaries, pairs, first.factors)
    budget = Budget(settings.sound_bytes)
    worst = [one for name, found in summaries.items() for one in _worst(name, found, settings, budget)]
    broken = failures({name: (one.run, one.run.of(one.split)) for name, one in summaries.items()})
    kinds = (Column("run"), Column("error"), Column("sounds", "count"), Column("such as"))
    errors = Table("errors", "Errors", "", kinds, tuple(broken))
    page = _page(summaries, pairs, parts, worst, errors, settings, files)
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


def _page(
    runs: Mapping[str, Summary],
    pairs: Pairs | None,
    parts: Sequence[Section],
    worst: Sequence[Mistake],
    errors: Table,
    settings: Settings,
    files: str,
) -> str:
    from auricle import __version__

    script = (PARTS / "page.js").read_text(encoding="utf-8")
    first = next(iter(runs.values()))
    transcribes = first.run.task == "transcribe"
    how = []
    for name, one in runs.items():
        facts, texts = words.facts(one)
        how.append({"name": name, "facts": facts, "texts": texts})
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=_clean, keep_trailing_newline=True
    )
    return environment.from_string((PARTS / "page.html").read_text(encoding="utf-8")).render(
        title=settings.title or words.title(runs),
        lead=words.lead(runs, first.factors),
        warnings=list(words.warnings(runs, pairs)),
        sections=[_safe(part) for part in parts],
        runs=list(runs),
        single=len(runs) == 1,
        worst=[{**vars(one), "share": _confidence(one, transcribes)} for one in worst],
        worst_words=_worst_words(first, settings),
        confidence="WER" if transcribes else "probability",
        failures=errors,
        how=how,
        method=words.method(first),
        swatches=len(theme.SERIES),
        most_rows=MOST_ROWS,
        files=files,
        version=__version__,
        style=Markup(_style()),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _safe(part: Section) -> dict[str, Any]:
    """A section for the template; of everything in it, only drawings are HTML already."""

    def drawn(pictures: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"key": p.key, "title": p.title, "caption": p.caption, "svg": Markup(p.svg)} for p in pictures]

    return {**vars(part), "pictures": drawn(part.pictures), "more_pictures": drawn(part.more_pictures)}


def _clean(value: Any) -> Any:
    return value.translate(_CONTROL) if isinstance(value, str) else value


def _confidence(one: Mistake, transcribes: bool) -> str:
    if one.confidence is None:
        return "–"
    return percent(one.confidence, 0) if transcribes else number(one.confidence, 3)


def _worst_words(first: Summary, settings: Settings) -> str:
    if first.run.task == "transcribe":
        return f"The transcripts with the highest WER, at most {settings.worst} of each run."
    ordered = (
        "the most confident first" if any(row.get("confidence") is not None for row in first.run.rows) else "in order"
    )
    return f"Wrong answers, {ordered}, at most {settings.worst} of each run."


def _style() -> str:
    """The style sheet, with the colours of pictures and page as variables: dark where the reader's system is."""
    colours = theme.variables(colormap())
    light = " ".join(f"--{name}: {pair[0]};" for name, pair in colours.items())
    dark = " ".join(f"--{name}: {pair[1]};" for name, pair in colours.items())
    swatches = " ".join(f".swatch-{i} {{ background: var(--run-{i}); }}" for i in range(len(theme.SERIES)))
    return (
        f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"{(PARTS / 'page.css').read_text(encoding='utf-8')}{swatches}\n"
    )
