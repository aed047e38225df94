"""One figure with its interval, whatever it was made by, and the words for it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from auricle.evaluation.statistics import Interval, bootstrap_totals, wilson

How = Literal["wilson", "sources", "none"]
"""What an interval was made by.

wilson: each row counts as independent, as each is of a source of its own; or no draw of sources differs from another.
sources: whole sources drawn anew; of a share in a table, each end is the wider one of that and of Wilson's.
none: there is no interval, and the note says why.
"""
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure; `value` is None where it has none."""

    value: float | None
    low: float | None
    high: float | None
    how: How
    rows: int
    sources: int
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def share(right: Sequence[bool] | ArrayLike, sources: Sequence[Hashable], resamples: int = RESAMPLES) -> Estimate:
    """A share of right answers, `(rows,)`, in a table of many: its interval is there also where all are right."""
    answers = np.asarray(right, dtype=np.float64)
    rows, different = len(answers), len(set(sources))
    if not rows:
        return Estimate(None, None, None, "none", 0, 0, "no rows")
    low, high = wilson(float(answers.sum()), float(rows))
    value = float(answers.mean())
    if different == rows:
        return Estimate(value, low, high, "wilson", rows, different)
    drawn = mean(answers, np.ones(rows), sources, resamples)
    if drawn.low is None or drawn.high is None:
        return Estimate(value, low, high, "wilson", rows, different, f"Wilson's interval: {drawn.note}")
    # With few sources all of which agree, draws hardly differ; the interval never is narrower than independent rows'.
    return Estimate(value, min(low, drawn.low), max(high, drawn.high), "sources", rows, different, drawn.note)


def mean(part: ArrayLike, whole: ArrayLike, sources: Sequence[Hashable], resamples: int = RESAMPLES) -> Estimate:
    """A ratio of two sums over rows, such as errors to words, with an interval over sources."""
    found = bootstrap_totals(
        lambda totals: totals[..., 0] / totals[..., 1], [part, whole], sources, resamples=resamples
    )
    return estimate(found, len(np.asarray(part)))


def estimate(found: Interval, rows: int) -> Estimate:
    """A bootstrap's interval as an estimate."""
    how: How = "none" if found.low is None else "sources"
    return Estimate(found.value, found.low, found.high, how, rows, found.sources, found.note)


def exactly(value: float | None, rows: int, sources: int, note: str = "") -> Estimate:
    """A figure whose interval was not asked for."""
    return Estimate(value, None, None, "none", rows, sources, note)


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{number(100 * value, digits)} %"


def number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")  # + 0.0: there is no -0 to read


def told(figure: Estimate | None, kind: Literal["share", "number"] = "share") -> str:
    """`85.3 % (81.0–88.9)`; a figure without an interval stands alone."""
    if figure is None or figure.value is None:
        return "–"
    one = percent if kind == "share" else number
    if figure.low is None or figure.high is None:
        return one(figure.value)
    low, high = (one(end).removesuffix(" %") for end in (figure.low, figure.high))
    return f"{one(figure.value)} ({low} to {high})"
