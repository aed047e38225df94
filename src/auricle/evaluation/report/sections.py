"""The parts of a page, in their order: which tables and pictures stand in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from auricle.evaluation.analysis.curves import Curve
from auricle.evaluation.analysis.factors import Factor
from auricle.evaluation.analysis.pairs import Pairs
from auricle.evaluation.analysis.runs import Answered
from auricle.evaluation.analysis.scores import Scored
from auricle.evaluation.analysis.summary import TIMES, Summary
from auricle.evaluation.report import contents, fits, levels, scored
from auricle.evaluation.report.drawing import Picture
from auricle.evaluation.report.tables import Table

Summaries = Mapping[str, Summary]
BY_DEV = (
    "Labels are by a threshold of each run, chosen on split dev: a sound is called by it, and not as the run gave it. "
    "Figures of other splits than the reported one are by the labels that the run gave."
)
MOST_LABELS = 24  # in a table of what was said to what; CSV has any number


@dataclass(frozen=True)
class Section:
    key: str
    title: str
    words: str = ""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    shaded: tuple[Table, ...] = ()  # side by side, their cells filled by share
    more_title: str = ""
    more_pictures: tuple[Picture, ...] = ()  # folded
    folded: tuple[Table, ...] = ()

    def every_table(self) -> tuple[Table, ...]:
        return self.tables + self.shaded + self.folded

    def every_picture(self) -> tuple[Picture, ...]:
        return self.pictures + self.more_pictures


def sections(
    runs: Summaries, pairs: Pairs | None, factors: tuple[Factor, ...], *, by_dev: bool = False
) -> list[Section]:
    """Those that have anything to show.

    Args:
        by_dev: the labels are by each run's threshold from dev, and not its own.
    """
    made = [
        Section(
            "figures",
            "Key figures",
            BY_DEV if by_dev else "",
            (contents.key_figures(runs),),
            folded=(contents.every_split(runs),),
        ),
        _comparison(pairs),
        _conditions(runs, factors),
        _curves(runs),
        _scores(runs),
        _labels(runs),
        _times(runs),
    ]
    return [one for one in made if one is not None]


def _comparison(pairs: Pairs | None) -> Section | None:
    table = contents.comparison(pairs)
    return None if table is None else Section("comparison", "Runs against each other", "", (table,))


def _conditions(runs: Summaries, factors: tuple[Factor, ...]) -> Section | None:
    if not factors:
        return None
    first = next(iter(runs.values()))
    chance = 1 / len(first.run.labels) if first.run.labels else None
    found = [{name: one.conditions[place] for name, one in runs.items()} for place in range(len(factors))]
    pictures = [levels.by_level(one, first.run.task, chance) for one in found]
    crossed = [factor for factor in factors if factor.crossed]
    maps: list[Picture | None] = []
    if len(crossed) > 1 and first.run.task != "transcribe":
        maps = [
            levels.heat_map(name, number, one.cells, crossed[1], crossed[0])
            for number, (name, one) in enumerate(runs.items())
        ]
    tables = [contents.by_level(runs, one) for one in found]
    cells = contents.every_cell(runs)
    return Section(
        "conditions",
        "By condition",
        "The dotted line is a guesser's share of right answers." if chance else "",
        pictures=_there([*pictures, *maps]),
        folded=(*tables, *([cells] if cells is not None else [])),
    )


def _curves(runs: Summaries) -> Section | None:
    pooled: dict[tuple[str, int], dict[str, Curve]] = {}
    at_levels: dict[tuple[int, str, int, str], list[Curve]] = {}
    for number, (name, one) in enumerate(runs.items()):
        for curve in one.curves:
            if curve.other is None:
                pooled.setdefault((curve.over.name, curve.place), {})[name] = curve
            else:
                key = (number, curve.over.name, curve.place, curve.other.name)
                at_levels.setdefault(key, []).append(curve)
    table = contents.thresholds(runs, pooled=True)
    if not pooled or table is None:
        return None
    names = list(runs)
    more = contents.thresholds(runs, pooled=False)
    return Section(
        "curves",
        "Psychometric functions",
        "How often clips of a class are heard as what they are. Each class is fitted apart: whoever prefers one answer "
        "is right more often on the one and less often on the other, which a curve over both would hide.",
        tables=(table,),
        pictures=tuple(fits.pooled(one) for one in pooled.values()),
        more_title="At each level of another factor",
        more_pictures=tuple(fits.level_by_level(names[key[0]], key[0], one) for key, one in at_levels.items()),
        folded=() if more is None else (more,),
    )


def _scores(runs: Summaries) -> Section | None:
    found = {
        name: Scored.of(Answered.of(one.run, one.run.of(one.split)), one.run.labels)
        for name, one in runs.items()
        if one.run.task == "label"
    }
    found = {name: one for name, one in found.items() if len(one.shares)}
    if not found:
        return None
    draw: list[Callable[[Mapping[str, Scored]], Picture | None]] = [scored.calibration_picture]
    if len(next(iter(found.values())).labels) == 2:
        draw = [scored.roc_picture, scored.pr_picture, *draw]
    table = contents.decisions(runs)
    missing = [name for name in runs if name not in found]
    words = f"Without probabilities, and so not here: {', '.join(missing)}." if missing else ""
    tables = () if table is None else (table,)
    return Section("scores", "Probabilities", words, tables, _there([one(found) for one in draw]))


def _labels(runs: Summaries) -> Section | None:
    table = contents.by_label(runs)
    if table is None:
        return None
    tables = contents.confusions(runs)
    small = tuple(one for one in tables if len(one.rows) <= MOST_LABELS)
    large = tuple(one for one in tables if len(one.rows) > MOST_LABELS)
    if len(table.rows) <= MOST_LABELS:
        return Section("labels", "What was said to what", "", (table,), shaded=small, folded=large)
    return Section("labels", "What was said to what", "", shaded=small, folded=(table, *large))


def _times(runs: Summaries) -> Section | None:
    table = contents.times(runs)
    if table is None:
        return None
    times = {
        name: np.array(
            [row[TIMES[2]] for row in one.run.of(one.split) if not row.get("error") and row.get(TIMES[2]) is not None],
            dtype=np.float64,
        )
        for name, one in runs.items()
    }
    return Section("latency", "Latency", "", (table,), _there([scored.times_picture(times)]))


def _there(pictures: Iterable[Picture | None]) -> tuple[Picture, ...]:
    return tuple(one for one in pictures if one is not None)
