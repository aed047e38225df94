"""Pictures of a figure at each level of a factor, all runs in one; and of two factors crossed, a run each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from auricle.evaluation.analysis.conditions import AtLevel, ByFactor, Crossed
from auricle.evaluation.analysis.estimates import Estimate
from auricle.evaluation.analysis.factors import Factor
from auricle.evaluation.analysis.runs import Task
from auricle.evaluation.report import theme
from auricle.evaluation.report.drawing import SIZE, Picture, canvas, drawing, shorter

MOST_IN_A_MAP = 14  # levels along a side
GAP = 0.16  # of the axis, between numbers and what has none, such as a sound without noise
DODGE = 0.011  # of the axis, by which runs stand beside each other
CAPTION = "All other conditions put together. Bars are 95 % intervals."
FIGURE: dict[Task, str] = {"label": "accuracy", "answer": "accuracy", "transcribe": "WER"}


class Scale:
    """Where levels stand along an axis from 0 to 1, numbers by their value and what has no number behind a gap."""

    def __init__(self, factor: Factor, values: Sequence[float | None]) -> None:
        self.factor = factor
        self.turn: Callable[[float], float] = math.log10 if factor.scale == "log" else float
        numbers = sorted({value for value in values if value is not None})
        self.apart = None in values
        self.low = self.turn(numbers[0]) if numbers else 0.0
        self.high = self.turn(numbers[-1]) if numbers else 1.0
        self.room = 1 - GAP if self.apart and numbers else 1.0
        self.numbers = numbers

    def place(self, value: float | None) -> float:
        if value is None:
            return 1.0
        if self.high == self.low:
            return self.room / 2
        return self.room * (self.turn(value) - self.low) / (self.high - self.low)

    def ticks(self, apart: float = 0.07) -> tuple[list[float], list[str]]:
        """Of as many levels as have room for their names."""
        places: list[float] = []
        names: list[str] = []
        for value in self.numbers:
            place = self.place(value)
            if not places or place - places[-1] >= apart or value == self.numbers[-1]:
                if places and place - places[-1] < apart:
                    places.pop(), names.pop()
                places.append(place)
                names.append(self.factor.bare(value))
        if self.apart:
            places.append(1.0)
            names.append(self.factor.without)
        return places, names


def by_level(found: Mapping[str, ByFactor], task: Task, chance: float | None) -> Picture | None:
    """One factor, all runs. None where there is nothing to show.

    Args:
        found: by the name of the run, all of the same factor.
        chance: the share of right answers of a guesser, which is drawn as a line.
    """
    factors = [one.factor for one in found.values()]
    if not factors or not any(one.levels for one in found.values()):
        return None
    with drawing():
        draw = _names if factors[0].scale == "names" else _numbers
        return draw(found, factors[0], task, chance)


def _numbers(found: Mapping[str, ByFactor], factor: Factor, task: Task, chance: float | None) -> Picture:
    sheet = canvas()
    axes = sheet.axes
    scale = Scale(factor, [at.level.value for one in found.values() for at in one.levels])
    legend = []
    for number, (name, one) in enumerate(found.items()):
        shift = (number - (len(found) - 1) / 2) * DODGE
        numbers = [at for at in one.levels if at.level.value is not None]
        line = _errors(axes, numbers, scale, shift, number, joined=True)
        _errors(axes, [at for at in one.levels if at.level.value is None], scale, shift, number, joined=False)
        legend.append((line, name))
    if scale.apart and scale.numbers:
        axes.axvline(1 - GAP / 2, color=theme.LINE, linewidth=0.9, linestyle=(0, (3, 3)))
    _finish_values(sheet, found.values(), task, chance, "y")
    axes.set_xticks(*scale.ticks())
    axes.set_xlim(-0.04, 1.04)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(factor.name_and_unit)
    sheet.legend(legend)
    return sheet.finish(f"by-{_slug(factor)}", _title(task, factor), CAPTION)


def _errors(axes: Any, levels: Sequence[AtLevel], scale: Scale, shift: float, number: int, *, joined: bool) -> Any:
    there = [(scale.place(at.level.value) + shift, at.figure) for at in levels if at.figure.value is not None]
    return axes.errorbar(
        [place for place, _ in there],
        [figure.value for _, figure in there],
        yerr=_ends([figure for _, figure in there]),
        color=theme.colour(number),
        marker=theme.marker(number),
        linestyle=theme.dash(number) if joined else "none",
        elinewidth=1.1,
        capsize=2,
    )


def _ends(figures: Sequence[Estimate]) -> list[list[float]]:
    """How far intervals reach below and above; nowhere where there is none."""
    below, above = [], []
    for one in figures:
        value = one.value or 0.0
        below.append(max(0.0, value - (value if one.low is None else one.low)))
        above.append(max(0.0, (value if one.high is None else one.high) - value))
    return [below, above]


def _names(found: Mapping[str, ByFactor], factor: Factor, task: Task, chance: float | None) -> Picture:
    names = list(dict.fromkeys(at.level.name for one in found.values() for at in one.levels))
    height = max(2.2, 0.9 + 0.22 * len(names) * max(1.0, 0.55 * len(found)) + 0.3)
    sheet = canvas((SIZE[0], min(height, 14.0)))
    axes = sheet.axes
    legend = []
    for number, (run, one) in enumerate(found.items()):
        shift = (number - (len(found) - 1) / 2) * 0.6 / max(1, len(found))
        there = [at for at in one.levels if at.figure.value is not None]
        line = axes.errorbar(
            [at.figure.value for at in there],
            [names.index(at.level.name) + shift for at in there],
            xerr=_ends([at.figure for at in there]),
            color=theme.colour(number),
            marker=theme.marker(number),
            linestyle="none",
            elinewidth=1.1,
            capsize=2,
        )
        legend.append((line, run))
    axes.set_yticks(range(len(names)), [shorter(name, 24) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    _finish_values(sheet, found.values(), task, chance, "x")
    sheet.legend(legend)
    return sheet.finish(f"by-{_slug(factor)}", _title(task, factor), CAPTION)


def _title(task: Task, factor: Factor) -> str:
    figure = FIGURE[task]
    return f"{figure[0].upper()}{figure[1:]} by {factor.title}"


def _finish_values(sheet: Any, found: Any, task: Task, chance: float | None, axis: str) -> None:
    axes = sheet.axes
    getattr(axes, f"set_{axis}label")(FIGURE[task])
    if task == "transcribe":  # which may be above 1
        most = max([at.figure.high or at.figure.value or 0.0 for one in found for at in one.levels], default=1.0)
        getattr(axes, f"set_{axis}lim")(0, max(0.05, 1.08 * most))
        getattr(axes, f"{axis}axis").set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        return
    sheet.percents(axis)
    if chance is not None:
        line = axes.axhline if axis == "y" else axes.axvline
        line(chance, **theme.DOTTED)


def heat_map(name: str, number: int, cells: Crossed, down: Factor, across: Factor) -> Picture | None:
    """The share of right answers at each combination of two factors, whatever the label and the others.

    None where one has too many levels.
    """
    first, second = (1 + cells.factors.index(factor) for factor in (down, across))
    sums: dict[tuple[Any, Any], list[int]] = {}
    for cell in cells.cells:
        assert isinstance(cell.condition, tuple)
        entry = sums.setdefault((cell.condition[first], cell.condition[second]), [0, 0])
        entry[0] += cell.right
        entry[1] += cell.total
    rows, columns = (list(dict.fromkeys(key[side] for key in sums)) for side in (0, 1))
    rows, columns = (sorted(side, key=lambda one: (one is None, one)) for side in (rows, columns))
    if not sums or max(len(rows), len(columns)) > MOST_IN_A_MAP:
        return None
    with drawing():
        sheet = canvas((SIZE[0], 1.1 + 0.32 * len(rows)))
        _fill(sheet.axes, sums, rows, columns)
        axes = sheet.axes
        axes.set_yticks(range(len(rows)), [shorter(down.bare(level), 16) for level in rows])
        axes.set_xticks(range(len(columns)), [shorter(across.bare(level), 16) for level in columns])
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5))
        axes.set_ylabel(down.name_and_unit)
        axes.set_xlabel(across.name_and_unit)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        title = f"{name}: accuracy by {down.title} and {across.title}"
        return sheet.finish(f"map-{number}", title, "Percent right, all labels together; empty where there is no clip.")


def _fill(
    axes: Any, sums: Mapping[tuple[Any, Any], Sequence[int]], rows: Sequence[Any], columns: Sequence[Any]
) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    shades = colormaps["cividis"]
    for (down, across), (right, total) in sums.items():
        x, y, share = columns.index(across), rows.index(down), right / total
        red, green, blue, _ = shades(0.1 + 0.9 * share)
        axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=(red, green, blue), linewidth=0))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.52
        axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", color="#fefefe" if dark else "#010101")


def _slug(factor: Factor) -> str:
    return factor.name.replace("_", "-")
