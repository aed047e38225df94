"""Intervals from sources drawn anew: clips of one recording stand or fall together, so whole sources are drawn.

Twenty clips of one voice are not twenty voices. An interval that counts them as independent is too narrow by the square
root of how alike they are; drawing sources with all their clips keeps what they share (Field & Welsh 2007).

Where each source has clips of one class only, as speakers and noises do, a set has as many of either as somebody chose.
With `strata` every draw has that many, too: otherwise accuracy would move with the share of the easier class.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auricle.evaluation.statistics.intervals import require_confidence
from auricle.evaluation.statistics.rows import Codes, codes_of, known, numbers, same_length
from auricle.evaluation.statistics.special import Array, normal_cdf, normal_quantile
from auricle.types.checks import require, require_one_of

Method = Literal["percentile", "bca"]
"""percentile: the middle share of the draws.

bca: with their bias and skew put right (Efron 1987), better for few sources and for figures near an end, such as an AUC
of 0.98.
"""

FEW_SOURCES = 10  # fewer than these don't show how sources differ
UNDEFINED = 0.2  # of the draws, without a value: more, and those with one are no longer a fair picture


@dataclass(frozen=True)
class Interval:
    """A figure, and how far it would move with other sources; `low` and `high` are None where that can't be known."""

    value: float | None
    low: float | None
    high: float | None
    sources: int
    method: Method
    confidence: float
    resamples: int
    note: str = ""  # in a line: why there is no interval, or what to know about it


def bootstrap_by_source(
    statistic: Callable[..., float | None],
    columns: Sequence[ArrayLike],
    sources: Sequence[Hashable],
    *,
    strata: Sequence[Hashable] | None = None,
    method: Method = "bca",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The interval of any figure: `bootstrap_by_source(lambda p, s: roc(p, s).auc, (positive, score), source_id)`.

    Args:
        statistic: called with the columns, each with rows in the order of their sources; None or nan where undefined.
        columns: arrays `(rows, ...)`, handed to `statistic` in this order.
        sources: `(rows,)`, the recording that each row's clip was cut from.
        strata: `(rows,)`, such as the true labels: sources are drawn among those that have the same ones.

    Raises:
        OptionError: columns of different lengths, an option outside its range.
    """
    arrays = [np.asarray(column) for column in columns]
    same_length(**{f"column {i}": array for i, array in enumerate(arrays)}, sources=sources)
    source, count = codes_of(sources)

    def values(times: Codes) -> Array:
        return np.fromiter((_value(statistic, arrays, row[source]) for row in times), np.float64, count=len(times))

    return _interval(values, Kinds.of(source, count, strata), method, confidence, resamples, seed)


def bootstrap_totals(
    statistic: Callable[[Array], ArrayLike],
    columns: Sequence[ArrayLike],
    sources: Sequence[Hashable],
    *,
    strata: Sequence[Hashable] | None = None,
    method: Method = "bca",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The same for figures of totals, thousands of draws in one product: `statistic=lambda t: t[..., 0] / t[..., 1]`.

    Args:
        statistic: from totals `(draws, columns)` to figures `(draws,)`; nan where undefined.
        columns: numbers `(rows,)`, which are summed over rows.
    """
    table = [numbers(f"column {i}", column) for i, column in enumerate(columns)]
    same_length(**{f"column {i}": column for i, column in enumerate(table)}, sources=sources)
    source, count = codes_of(sources)
    # (sources, columns)
    sums = np.stack([np.bincount(source, column, count) for column in table], -1).astype(np.float64)

    def values(times: Codes) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is a figure without a value, and counted as such
            return np.asarray(statistic(times @ sums), dtype=np.float64)

    return _interval(values, Kinds.of(source, count, strata), method, confidence, resamples, seed)


@dataclass(frozen=True)
class Kinds:
    """Which sources are drawn for each other."""

    groups: tuple[Codes, ...]  # those with the same strata
    fewest: int  # sources that one of the strata has

    @classmethod
    def of(cls, source: Codes, count: int, strata: Sequence[Hashable] | None) -> Kinds:
        if strata is None or not count:
            return cls((np.arange(count),), count)
        same_length(sources=source, strata=strata)
        code, kinds = codes_of(strata)
        has = np.zeros((count, kinds), dtype=bool)
        has[source, code] = True
        group, number = codes_of(list(map(bytes, has)))
        return cls(tuple(np.flatnonzero(group == one) for one in range(number)), int(has.sum(0).min()))

    @property
    def sources(self) -> int:
        return sum(map(len, self.groups))

    def drawn(self, resamples: int, rng: np.random.Generator) -> Codes:
        """How often each source is in each draw, `(resamples, sources)`."""
        times = np.empty((resamples, self.sources), dtype=np.int64)
        for group in self.groups:
            times[:, group] = rng.multinomial(len(group), np.full(len(group), 1 / len(group)), resamples)
        return times

    def centred(self, without: Array) -> Array:
        """Each value less the mean of its group, of those that are defined; the others are left out."""
        found = [part[np.isfinite(part)] for part in (without[group] for group in self.groups)]
        return np.concatenate([part.mean() - part for part in found if len(part)] or [np.empty(0)])


def _value(
    statistic: Callable[..., float | None], arrays: Iterable[NDArray[np.generic]], times: NDArray[np.integer]
) -> float:
    rows = np.repeat(np.arange(len(times)), times)
    found = statistic(*(array[rows] for array in arrays))
    return np.nan if found is None else float(found)


def _interval(
    values: Callable[[Codes], Array],
    kinds: Kinds,
    method: Method,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """`values` gives the figure of each way to count sources, `(draws, sources)` of how often each is in."""
    require_one_of("method", method, get_args(Method))
    require_confidence(confidence)
    require(resamples >= 100, "resamples", resamples, "at least 100, and some thousands for figures that are shown")
    sources = kinds.sources
    (value,) = values(np.ones((1, sources), dtype=np.int64)) if sources else (np.nan,)

    def result(note: str, ends: tuple[float, float] | None = None) -> Interval:
        low, high = ends or (None, None)
        return Interval(known(value), low, high, sources, method, confidence, resamples, note)

    if not np.isfinite(value):
        return result("the figure has no value on these rows")
    if sources == 1:
        return result("all clips come from one source, so no interval can be had")
    drawn = values(kinds.drawn(resamples, np.random.default_rng(seed)))
    there = drawn[np.isfinite(drawn)]
    if len(there) < (1 - UNDEFINED) * resamples:
        return result(f"undefined in {resamples - len(there)} of {resamples} draws of sources: too few of some kind")
    if there.min() == there.max():
        # As when all answers are right: that no draw differs says nothing about other sources.
        return result("every draw of sources gives the same value, so no interval can be had: see Wilson's")
    sides = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        without = np.ones((sources, sources), dtype=np.int64) - np.eye(sources, dtype=np.int64)
        sides = _corrected(sides, float(value), there, kinds.centred(values(without)))
    low, high = np.quantile(there, sides)
    return result(_note(kinds, resamples - len(there), resamples), (float(low), float(high)))


def _corrected(sides: Array, value: float, drawn: Array, apart: Array) -> Array:
    """The quantiles that BCa reads instead (Efron & Tibshirani 1993, eqs. 14.10 to 14.15).

    Args:
        apart: how far the figure falls without each source in turn, from its mean, for the acceleration.
    """
    # Draws equal to the value count half: a share of few clips has many, and none of them is below it. And half a draw
    # is added on either side, so that the bias is finite.
    below = float(((drawn < value).sum() + 0.5 * (drawn == value).sum() + 0.5) / (len(drawn) + 1))
    bias = normal_quantile(below)
    spread = (apart**2).sum()
    acceleration = (apart**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + normal_quantile(sides)
    return normal_cdf(bias + shifted / (1 - acceleration * shifted))


def _note(kinds: Kinds, undefined: int, resamples: int) -> str:
    told = []
    if kinds.sources < FEW_SOURCES:
        told.append(f"only {kinds.sources} sources: the interval is rough, and rather too narrow")
    elif kinds.fewest < FEW_SOURCES:
        told.append(f"a class with only {kinds.fewest} source(s): the interval is rough, and rather too narrow")
    if undefined:
        told.append(f"{undefined} of {resamples} draws left out, where the figure has no value")
    return "; ".join(told)
