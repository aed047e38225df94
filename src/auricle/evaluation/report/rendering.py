"""From the parts of a report to one page of HTML. Everything in it is escaped but what we draw and write ourselves."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup  # comes with jinja2

from auricle.evaluation.analysis import Pairs, Summary
from auricle.evaluation.analysis.estimates import number, percent
from auricle.evaluation.report import theme, words
from auricle.evaluation.report.drawing import colormap, printable
from auricle.evaluation.report.sections import Section
from auricle.evaluation.report.tables import Table
from auricle.evaluation.report.worst import Mistake

PARTS = Path(__file__).with_name("page")
MOST_ROWS = 400  # of a table in the page


def render(
    runs: Mapping[str, Summary],
    pairs: Pairs | None,
    parts: Sequence[Section],
    worst: Sequence[Mistake],
    errors: Table,
    *,
    title: str | None,
    most_worst: int,
    files: str,
) -> str:
    """The page as HTML.

    Args:
        title: instead of one made from the labels.
        most_worst: how many mistakes of a run were asked for.
        files: what the folder of pictures and tables is called.
    """
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
        title=title or words.title(runs),
        lead=words.lead(runs, first.factors),
        warnings=list(words.warnings(runs, pairs)),
        sections=[_safe(part) for part in parts],
        runs=list(runs),
        single=len(runs) == 1,
        worst=[{**vars(one), "share": _confidence(one, transcribes)} for one in worst],
        worst_words=_worst_words(first, most_worst),
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
    return printable(value) if isinstance(value, str) else value


def _confidence(one: Mistake, transcribes: bool) -> str:
    if one.confidence is None:
        return "–"
    return percent(one.confidence, 0) if transcribes else number(one.confidence, 3)


def _worst_words(first: Summary, most: int) -> str:
    if first.run.task == "transcribe":
        return f"The transcripts with the highest WER, at most {most} of each run."
    ordered = (
        "the most confident first" if any(row.get("confidence") is not None for row in first.run.rows) else "in order"
    )
    return f"Wrong answers, {ordered}, at most {most} of each run."


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
