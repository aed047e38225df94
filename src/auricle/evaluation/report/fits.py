"""Pictures of psychometric functions: of each class apart, all runs in one; and of one run, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from auricle.evaluation.analysis.curves import Curve
from auricle.evaluation.analysis.factors import Factor
from auricle.evaluation.report import theme
from auricle.evaluation.report.drawing import Canvas, Picture, canvas, colormap, drawing
from auricle.evaluation.report.levels import Scale
from auricle.evaluation.statistics import Psychometric

POINTS = 160  # along a curve


def pooled(curves: Mapping[str, Curve]) -> Picture:
    """The curves of all runs for one class, over all levels of other factors.

    Args:
        curves: by the name of the run; all of one label and one factor.
    """
    first = next(iter(curves.values()))
    with drawing():
        sheet = canvas()
        scale = _scale(first.over, list(curves.values()))
        legend = [
            (_draw(sheet.axes, one.fit, scale, theme.colour(i), theme.marker(i), theme.dash(i), band=True), name)
            for i, (name, one) in enumerate(curves.items())
        ]
        for i, one in enumerate(curves.values()):
            _draw_thresholds(sheet.axes, one.fit, scale, i)
        _finish(sheet, first.over, scale)
        sheet.legend(legend)
        return sheet.finish(
            f"curve-{_slug(first)}",
            f"{_whose(first)}: right answers by {first.over.title}",
            "Points are what was seen, with Wilson's intervals; lines the fitted functions, with 95 % bands. "
            "At the foot, the threshold and its interval.",
        )


def level_by_level(name: str, number: int, curves: Sequence[Curve]) -> Picture:
    """The curves of one run and one class at each level of another factor, from dark to light."""
    first = curves[0]
    assert first.other is not None
    with drawing():
        sheet = canvas()
        scale = _scale(first.over, curves)
        legend = []
        for place, one in enumerate(curves):
            shade = theme.step(colormap(), place, len(curves))
            line = _draw(sheet.axes, one.fit, scale, shade, theme.marker(place), "-", band=False)
            legend.append((line, "" if one.level is None else one.level.name))
        _finish(sheet, first.over, scale)
        sheet.legend(legend)
        return sheet.finish(
            f"levels-{number}-{_slug(first)}-at-{first.other.name.replace('_', '-')}",
            f"{name}, {_whose(first)}: by {first.over.title} at each {first.other.title}",
            "All other conditions put together. Where no function can be fitted, points are joined by dots.",
        )


def _scale(over: Factor, curves: Sequence[Curve]) -> Scale:
    return Scale(over, [_level(cell.condition) for one in curves for cell in one.fit.points])


def _draw(axes: Any, fit: Psychometric, scale: Scale, colour: str, marker: str, dash: Any, *, band: bool) -> Any:
    places = [scale.place(_level(cell.condition)) for cell in fit.points]
    points = axes.errorbar(
        places,
        [cell.share for cell in fit.points],
        yerr=[[cell.share - cell.low for cell in fit.points], [cell.high - cell.share for cell in fit.points]]
        if band
        else None,
        color=colour,
        marker=marker,
        linestyle="none",
        elinewidth=0.9,
        alpha=0.9,
    )
    if fit.curves is None:  # flat, all right, ...: what the table of thresholds says; the points alone are joined
        axes.plot(places, [cell.share for cell in fit.points], color=colour, linewidth=0.8, linestyle=(0, (1, 2)))
        return points
    low, high = _level(fit.points[0].condition), _level(fit.points[-1].condition)
    levels = np.geomspace(low, high, POINTS) if scale.factor.scale == "log" else np.linspace(low, high, POINTS)
    along = [scale.place(float(level)) for level in levels]
    (line,) = axes.plot(along, fit.curve(levels), color=colour, linestyle=dash)
    if band and fit.intervals != "none":
        axes.fill_between(along, *fit.band(levels), color=colour, alpha=0.15, linewidth=0)
    return (points, line)


def _draw_thresholds(axes: Any, fit: Psychometric, scale: Scale, number: int) -> None:
    """From the axis up to the curve; at its foot the interval, to the edge where it ends outside the tested range."""
    colour, foot = theme.colour(number), 0.02 + 0.03 * number
    for one in fit.thresholds:
        if one.level is None or not isinstance(one.value, float):
            continue
        place = scale.place(one.value)
        axes.plot([place, place], [foot, one.level], color=colour, linewidth=0.8, alpha=0.7)
        axes.plot(place, foot, color=colour, marker=theme.marker(number), markersize=4, linestyle="none")
        if one.low is not None and one.high is not None:
            low = scale.place(one.low) if isinstance(one.low, float) else -0.04
            high = scale.place(one.high) if isinstance(one.high, float) else 1.04
            axes.plot([low, high], [foot, foot], color=colour, linewidth=2.2, alpha=0.6, solid_capstyle="butt")


def _finish(sheet: Canvas, over: Factor, scale: Scale) -> None:
    sheet.percents()
    axes = sheet.axes
    axes.set_ylabel("right answers")
    axes.set_xlabel(over.name_and_unit)
    axes.set_xticks(*scale.ticks())
    axes.set_xlim(-0.04, 1.04)
    axes.grid(visible=False, axis="x")


def _level(condition: object) -> float:
    assert isinstance(condition, float)
    return condition


def _whose(one: Curve) -> str:
    return "all labels" if one.label is None else one.label


def _slug(one: Curve) -> str:
    """The label's name may hold anything, so it is in the title only."""
    return f"{one.over.name.replace('_', '-')}-{one.place}"
