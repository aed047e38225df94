"""Every table of a report, made from the figures of its runs."""

from __future__ import annotations

from collections.abc import Mapping

from auricle.evaluation.analysis.conditions import ByFactor
from auricle.evaluation.analysis.curves import Curve
from auricle.evaluation.analysis.estimates import Estimate
from auricle.evaluation.analysis.overall import NAMES
from auricle.evaluation.analysis.pairs import Pairs
from auricle.evaluation.analysis.summary import Summary, shown
from auricle.evaluation.report.levels import FIGURE
from auricle.evaluation.report.tables import Column, Kind, Part, Table

Summaries = Mapping[str, Summary]  # by the name of the run


def _columns(keys: list[str]) -> list[Column]:
    return [Column(NAMES[key][0], "share" if NAMES[key][1] else "number") for key in keys]


def key_figures(runs: Summaries) -> Table:
    """A row for each run, of the reported split."""
    reported = [one.reported for one in runs.values()]
    keys = shown(reported)
    first = next(iter(runs.values()))
    unknown = any(one.unknown for one in reported)
    counts = [Column("answers", "count"), *([Column("unknown", "count")] if unknown else []), Column("errors", "count")]
    columns = (Column("run"), *_columns(keys), *counts, Column("median time (ms)", "ms"))
    rows = []
    for name, one in runs.items():
        of = one.reported
        median = None if one.latency is None else one.latency.whole.p50
        tail = (of.rows - of.errors, *([of.unknown] if unknown else []), of.errors, median)
        rows.append((name, *(of.figures.get(key) for key in keys), *tail))
    split = "" if first.split == "all" else f" Split {first.split}."
    policy = f" Unknown answers {_counted(first.policy)}." if unknown else ""
    return Table("key-figures", "Key figures", f"95 % intervals over sources.{split}{policy}", columns, tuple(rows))


def _counted(policy: str) -> str:
    return {"wrong": "count as wrong", "dropped": "are dropped"}[policy]


def every_split(runs: Summaries) -> Table:
    """All figures by split and by what becomes of unknown answers."""
    found = [(name, one) for name, summary in runs.items() for one in summary.overall]
    have = [one for _, one in found]
    keys = [key for key in NAMES if any(key in one.figures for one in have)]
    unknown = any(one.unknown for one in have)
    title = "Every split, both policies for unknown answers" if unknown else "Every split"
    columns = [Column("run"), Column("split"), Column("rows", "count"), Column("sources", "count")]
    columns += [Column("unknown", "count"), Column("unknown answers")] if unknown else []
    columns += [Column("errors", "count"), *_columns(keys)]
    rows = []
    for name, one in found:
        counted = (one.unknown, _counted(one.policy) if one.unknown else "–") if unknown else ()
        figures = (one.figures.get(key) for key in keys)
        rows.append((name, one.split, one.rows, one.sources, *counted, one.errors, *figures))
    return Table("figures", title, "Errors are no answers: they are in no figure.", tuple(columns), tuple(rows))


def by_level(runs: Summaries, found: Mapping[str, ByFactor]) -> Table:
    """One factor: a row for each run and level."""
    summary = next(iter(runs.values()))
    factor = next(iter(found.values())).factor
    labels = [
        label for label in summary.run.labels if any(label in at.classes for one in found.values() for at in one.levels)
    ]
    binary = len(summary.run.labels) == 2
    extra = [Column("d′", "number"), Column("criterion c", "number")] if binary else []
    columns = (
        *(Column("run"), Column(factor.name_and_unit), Column("rows", "count"), Column("sources", "count")),
        *(Column(FIGURE[summary.run.task], "share"), *(Column(f"{label} right", "share") for label in labels), *extra),
    )
    rows = []
    for name, one in found.items():
        for at in one.levels:
            heard = (at.d_prime, at.criterion) if binary else ()
            classes = (at.classes.get(label) for label in labels)
            level = at.level.name.removesuffix(f" {factor.unit}")
            rows.append((name, level, at.figure.rows, at.figure.sources, at.figure, *classes, *heard))
    caption = (
        "Intervals are Wilson's where each row is of a source of its own, else the wider of that and over sources."
    )
    return Table(f"by-{factor.name.replace('_', '-')}", f"By {factor.title}", caption, columns, tuple(rows))


def every_cell(runs: Summaries) -> Table | None:
    """All combinations of levels, each label apart."""
    first = next(iter(runs.values()))
    if not first.cells.factors or not first.cells.cells:
        return None
    factors = first.cells.factors
    titles = (Column(factor.name_and_unit) for factor in factors)
    columns = (Column("run"), Column("label"), *titles, Column("rows", "count"), Column("right", "share"))
    rows, left_out = [], 0
    for name, summary in runs.items():
        left_out += summary.cells.left_out
        for cell in summary.cells.cells:
            assert isinstance(cell.condition, tuple)
            label, *levels = cell.condition
            spelt = (factor.bare(level) for factor, level in zip(factors, levels, strict=True))
            right = Estimate(cell.share, cell.low, cell.high, "wilson", cell.total, cell.sources)
            rows.append((name, "all" if label is None else label, *spelt, cell.total, right))
    caption = "Wilson's intervals." + (f" {left_out} more combinations are left out." if left_out else "")
    return Table("cells", "Every combination", caption, columns, tuple(rows))


POOR_FIT = 0.05  # of as much deviance: below, a threshold is to be read with the picture


def thresholds(runs: Summaries, *, pooled: bool) -> Table | None:
    """Of each fit: thresholds in words, since they may lie outside the tested range.

    Args:
        pooled: of the fits over all levels of other factors; else of those at single levels.
    """
    found = [
        (name, curve) for name, summary in runs.items() for curve in summary.curves if (curve.other is None) == pooled
    ]
    if not found:
        return None
    levels = [one.level for one in found[0][1].fit.thresholds]
    columns = (
        *(Column("run"), Column("clips of"), Column("over"), Column("at")),
        *(Column("midpoint" if level is None else f"{100 * level:g} % right") for level in levels),
        *(Column("remarks"), Column("width"), Column("guess", "share"), Column("lapse", "share")),
        *(Column("fit p", "p"), Column("sources", "count")),
    )
    rows = tuple(_threshold_row(name, curve) for name, curve in found)
    caption = (
        "Intervals of 95 %, over sources. A threshold outside what was tested is said to be so, without a number. "
        "Fit p: how often a curve of this shape would be as far from its points; small means another shape."
    )
    if pooled:
        return Table("thresholds", "Thresholds", caption, columns, rows)
    return Table("thresholds-by-level", "Thresholds at each level of another factor", "", columns, rows)


def _threshold_row(name: str, curve: Curve) -> tuple[object, ...]:
    fit, unit = curve.fit, curve.over.unit
    at = "all" if curve.other is None or curve.level is None else f"{curve.other.title} {curve.level.name}"
    told = [one.told(unit) for one in fit.thresholds]
    poor = fit.goodness is not None and fit.goodness.p < POOR_FIT
    told_of = ("" if fit.status == "fitted" else fit.status, "the points lie off the curve" if poor else "", fit.note)
    remarks = "; ".join(part for part in told_of if part)
    observer = fit.observer
    width = None
    if observer is not None:
        width = f"{observer.width:.2f} decades" if curve.over.scale == "log" else f"{observer.width:.3g} {unit}"
    shape = (width, None, None) if observer is None else (width, observer.guess, observer.lapse)
    whose = "all labels" if curve.label is None else curve.label
    p = None if fit.goodness is None else fit.goodness.p
    return (name, whose, curve.over.title, at, *told, remarks, *shape, p, fit.sources)


def decisions(runs: Summaries) -> Table | None:
    """The threshold from dev, and what it does on the reported split."""
    found = [(name, one.decision) for name, one in runs.items() if one.decision is not None]
    if not found:
        return None
    keys = [key for key in NAMES if any(one.figures and key in one.figures for _, one in found)]
    columns = (Column("run"), Column("threshold", "number"), *_columns(keys), Column("remarks"))
    rows = tuple(
        (name, one.chosen and one.chosen.value, *((one.figures or {}).get(key) for key in keys), one.note)
        for name, one in found
    )
    caption = "Chosen for the highest balanced accuracy on dev, then applied once to the reported split."
    return Table("decision", "With a threshold from dev", caption, columns, rows)


def by_label(runs: Summaries) -> Table | None:
    """Precision, recall and F1 of each label."""
    rows = tuple(
        (name, row.label, row.support, row.said, row.precision, row.recall, row.f1)
        for name, summary in runs.items()
        for row in summary.reported.labels
    )
    kinds: list[tuple[str, Kind]] = [("run", "text"), ("label", "text"), ("clips", "count"), ("said", "count")]
    kinds += [("precision", "share"), ("recall", "share"), ("F1", "share")]
    if not rows:
        return None
    return Table("labels", "By label", "95 % intervals over sources.", tuple(Column(*one) for one in kinds), rows)


def confusions(runs: Summaries) -> list[Table]:
    """What was said to what, a table for each run."""
    tables = []
    for number, (name, summary) in enumerate(runs.items()):
        table = summary.reported.table
        if table is None:
            continue
        unknown = bool(table.unknown_rows)
        said = [*table.labels, *(["unknown"] if unknown else [])]
        rows = tuple(
            (
                label,
                *(Part(int(count), count / counts.sum() if counts.sum() else None) for count in counts[: len(said)]),
            )
            for label, counts in zip(table.labels, table.counts, strict=True)
        )
        columns = (Column("true \\ said"), *(Column(label, "count") for label in said))
        tables.append(Table(f"confusion-{number}", name, "", columns, rows))
    return tables


def comparison(pairs: Pairs | None) -> Table | None:
    """Every two runs."""
    if pairs is None or not pairs.comparisons:
        return None
    columns = (
        *(Column("a"), Column("b"), Column("a less b", "share"), Column("p", "p"), Column("p by Holm", "p")),
        *(Column("a better on", "count"), Column("b better on", "count"), Column("remarks")),
    )
    rows = []
    for one in pairs.comparisons:
        gap = one.interval
        apart = Estimate(one.difference, gap.low, gap.high, "sources", one.rows, gap.sources, gap.note)
        remarks = "; ".join(part for part in (one.note, gap.note) if part)
        rows.append((one.a, one.b, apart, one.p, one.adjusted_p, one.a_better, one.b_better, remarks))
    left_out = f" {pairs.left_out} sounds that not all runs answered are left out." if pairs.left_out else ""
    caption = (
        f"Of {pairs.figure}, on the {pairs.rows} sounds that all runs answered.{left_out} Tested by swapping the runs "
        f"source by source ({pairs.comparisons[0].method}); p by Holm counts all pairs."
    )
    return Table("comparison", "Runs against each other", caption, columns, tuple(rows))


def times(runs: Summaries) -> Table | None:
    """Percentiles of each part of an answer's time."""
    rows: list[tuple[object, ...]] = []
    for name, one in runs.items():
        if (found := one.latency) is None:
            continue
        for part in ("preprocessing", "model", "whole"):
            of = getattr(found, part)
            rows.append((name, part, of.p50, of.p95, of.p99, of.mean, found.rows, found.note))
        if found.load_s is not None:
            rows.append((name, "loading, once", None, None, None, 1000 * found.load_s, None, ""))
    if not rows:
        return None
    kinds: list[tuple[str, Kind]] = [("run", "text"), ("part", "text")]
    kinds += [(f"{one} (ms)", "ms") for one in ("p50", "p95", "p99", "mean")]
    kinds += [("answers", "count"), ("remarks", "text")]
    caption = "Percentiles of parts don't add up to that of the whole: the slowest of each are other answers."
    return Table("latency", "Latency", caption, tuple(Column(*one) for one in kinds), tuple(rows))
