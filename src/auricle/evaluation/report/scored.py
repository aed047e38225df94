"""Pictures of probabilities: ROC, precision and recall, calibration; and of the time that answers took."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.analysis.scores import BINS, Scored
from auricle.evaluation.report import theme
from auricle.evaluation.report.drawing import Canvas, Picture, canvas, drawing, shorter
from auricle.evaluation.statistics import calibration, pr, roc

SQUARE = (4.3, 3.8)
MOST_POINTS = 600  # of a curve; more can't be seen, and make the page heavy


def roc_picture(runs: Mapping[str, Scored]) -> Picture | None:
    """All runs in one; None where none has both classes."""
    positive = next(iter(runs.values())).labels[0]
    with drawing():
        sheet, legend = canvas(SQUARE), []
        for number, (name, scored) in enumerate(runs.items()):
            found = roc(*scored.of_label(positive))
            if found.auc is None:
                continue
            legend.append((_line(sheet, number, found.false_alarm_rate, found.hit_rate), name))
        if not legend:
            return None
        sheet.axes.plot([0, 1], [0, 1], **theme.DOTTED)
        _name_shares(sheet, "false alarms: others that are called so", "hits: of the class, that are called so")
        sheet.legend(legend)
        caption = f"As the threshold on the probability of {positive} falls; dotted, a guesser."
        return sheet.finish("roc", f"ROC of {positive}", caption)


def pr_picture(runs: Mapping[str, Scored]) -> Picture | None:
    """All runs in one; None where none has a positive clip."""
    positive = next(iter(runs.values())).labels[0]
    with drawing():
        sheet, legend = canvas(SQUARE), []
        for number, (name, scored) in enumerate(runs.items()):
            found = pr(*scored.of_label(positive))
            if found.average_precision is None or found.prevalence is None:
                continue
            legend.append((_line(sheet, number, found.recall, found.precision, "steps-pre"), name))
            sheet.axes.axhline(found.prevalence, **theme.DOTTED)
        if not legend:
            return None
        _name_shares(sheet, "recall: of the class, that are called so", "precision: of those called so, the class")
        sheet.legend(legend)
        caption = f"As the threshold on the probability of {positive} falls; dotted, the share of {positive} clips."
        return sheet.finish("precision-recall", f"Precision and recall of {positive}", caption)


def calibration_picture(runs: Mapping[str, Scored]) -> Picture | None:
    """All runs in one; None where none has probabilities."""
    labels = next(iter(runs.values())).labels
    with drawing():
        sheet, legend = canvas((4.3, 4.2), 2, (4, 1)), []
        below = sheet.all[1]
        for number, (name, scored) in enumerate(runs.items()):
            event, probability = scored.events()
            bins = [one for one in calibration(event, probability, BINS).bins if one.rows]
            if not bins:
                continue
            seen = np.array([[one.probability, one.share, one.share_low, one.share_high] for one in bins], np.float64)
            line = sheet.axes.errorbar(
                seen[:, 0],
                seen[:, 1],
                yerr=np.maximum([seen[:, 1] - seen[:, 2], seen[:, 3] - seen[:, 1]], 0),
                color=theme.colour(number),
                marker=theme.marker(number),
                linestyle=theme.dash(number),
                elinewidth=1,
                capsize=2,
            )
            below.stairs(*np.histogram(probability, 20, (0, 1)), color=theme.colour(number), linewidth=1.3)
            legend.append((line, name))
        if not legend:
            return None
        sheet.axes.plot([0, 1], [0, 1], **theme.DOTTED)
        sheet.percents("x")
        sheet.percents("y")
        first = shorter(labels[0])
        what = f"probability of {first}" if len(labels) == 2 else "probability of the label that was said"
        below.set_xlabel(what)
        below.set_ylabel("clips")
        below.yaxis.set_major_locator(_few_ticks())
        sheet.axes.set_ylabel(f"are {first}" if len(labels) == 2 else "are right")
        sheet.legend(legend)
        caption = (
            f"Clips in {BINS} bins of equal width, each with Wilson's interval; on the dotted line a probability means "
            "what it says. Below, how many clips have which."
        )
        return sheet.finish("calibration", "Calibration", caption)


def times_picture(times: Mapping[str, NDArray[np.float64]]) -> Picture | None:
    """How large a share of answers took at most so long, all runs in one. None without times.

    Args:
        times: by the name of the run, `(rows,)` in milliseconds.
    """
    there = {name: np.sort(one[one > 0]) for name, one in times.items()}
    if not any(len(one) for one in there.values()):
        return None
    with drawing():
        sheet, legend = canvas(), []
        for number, (name, one) in enumerate(there.items()):
            if not len(one):
                continue
            share = np.arange(1, len(one) + 1) / len(one)
            legend.append((_line(sheet, number, one, share, "steps-post"), name))
        sheet.axes.set_xscale("log")
        low, high = sheet.axes.get_xlim()
        if high < 4 * low:  # or there would be no tick with a number on it
            sheet.axes.set_xlim(low / 2, 2 * high)
        sheet.axes.xaxis.set_major_locator(_one_two_five())
        sheet.axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        sheet.axes.xaxis.set_minor_formatter(lambda value, _: "")
        sheet.percents()
        sheet.axes.set_xlabel("time of an answer (ms)")
        sheet.axes.set_ylabel("answers that took at most so long")
        sheet.legend(legend)
        return sheet.finish("latency", "Latency", "Without loading; of batches, a clip's share of its batch.")


def _line(sheet: Canvas, number: int, x: NDArray[np.float64], y: NDArray[np.float64], steps: str = "default") -> object:
    """One run's curve, for the legend."""
    kept = _thinned(x)
    style = {"color": theme.colour(number), "linestyle": theme.dash(number), "drawstyle": steps}
    (line,) = sheet.axes.plot(x[kept], y[kept], **style)
    return line


def _name_shares(sheet: Canvas, x: str, y: str) -> None:
    """Two axes of per cent."""
    sheet.percents("x")
    sheet.percents("y")
    sheet.axes.set_xlabel(x)
    sheet.axes.set_ylabel(y)


def _thinned(along: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which points of a curve to draw: both ends, and not more than can be seen."""
    count = len(along)
    if count <= MOST_POINTS:
        return np.arange(count)
    return np.unique(np.round(np.linspace(0, count - 1, MOST_POINTS)).astype(np.int64))


def _one_two_five() -> object:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1.0, 2.0, 5.0))


def _few_ticks() -> object:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(2, integer=True)
