"""Two systems on the same clips: how far apart they are, and whether chance alone would put them so.

Not McNemar's test, which counts every clip as independent: clips of one source are won or lost together, and a hundred
of them prove no more than the one source does. Here a source is one piece of evidence, with however many clips.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from auricle.evaluation.statistics.bootstrap import Interval, bootstrap_totals
from auricle.evaluation.statistics.rows import Codes, codes_of, numbers, same_length, shares
from auricle.evaluation.statistics.special import Array
from auricle.types.checks import require

EXACT = 16  # sources that differ: up to these, every way to swap them is gone through, 65,536 at most
CHUNK = 4_000_000  # signs that are drawn at once
ROUNDING = 1e-12  # of the sum of all differences: less is no difference


@dataclass(frozen=True)
class Comparison:
    """How much better `a` is than `b`."""

    a: str
    b: str
    difference: float | None  # mean score of a less that of b; above 0, a is better. None without rows
    interval: Interval  # of the difference, over sources
    p: float | None  # two-sided; of a difference this large if the systems were the same. None with a single source
    adjusted_p: float | None  # by Holm, over all comparisons that were made together; else the same as p
    rows: int
    a_better: int  # rows on which a has the higher score
    b_better: int
    method: str
    note: str = ""


def compare_pairs(
    right_a: ArrayLike,
    right_b: ArrayLike,
    sources: Sequence[Hashable],
    *,
    classes: Sequence[Hashable] | None = None,
    names: tuple[str, str] = ("a", "b"),
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """A paired test by sign flips over sources, and the interval of the difference by a bootstrap over sources.

    If the systems were the same, which one gave which answers to a source would be chance. So they are swapped source
    by source, in every way if at most 16 sources differ and in `resamples` random ones otherwise, and p is the share of
    ways that put them at least as far apart (Fisher 1935; Winkler et al. 2014 for whole blocks).

    Args:
        right_a: `(rows,)`, whether a was right on each clip; or any score of a clip, higher for better.
        right_b: the same of b, of the same clips in the same order.
        sources: `(rows,)`, the recording that each clip was cut from.
        classes: `(rows,)`, the true labels, to compare balanced accuracy: each class then counts the same.
        names: of a and b.

    Raises:
        OptionError: columns of different lengths, a score that is no finite number, an option outside its range.
    """
    require(resamples >= 100, "resamples", resamples, "at least 100, and some thousands for figures that are shown")
    a, b = numbers("right_a", right_a), numbers("right_b", right_b)
    kinds, kind_count = codes_of(np.zeros(len(a), dtype=np.int64) if classes is None else classes)
    kind_count = max(kind_count, 1)
    same_length(right_a=a, right_b=b, sources=sources, classes=kinds)
    source, count = codes_of(sources)
    apart = a - b
    # Each class weighs the same, and within a class each clip: so the difference is a sum over rows, and over sources.
    weight = 1 / (np.bincount(kinds)[kinds] * kind_count)
    by_source = np.bincount(source, apart * weight, count).astype(np.float64)
    by_source[np.abs(by_source) <= ROUNDING * np.abs(apart * weight).sum()] = 0.0  # wins and losses that make up
    p, method = _flipped(by_source, resamples, np.random.default_rng(seed)) if count > 1 else (None, "none")
    return Comparison(
        *names,
        float(by_source.sum()) if len(a) else None,
        _interval(apart, kinds, kind_count, sources, confidence, resamples, seed),
        p,
        p,
        len(a),
        int((apart > 0).sum()),
        int((apart < 0).sum()),
        method,
        _note(count, int((by_source != 0).sum())),
    )


def compare_systems(
    right: Mapping[str, ArrayLike],
    sources: Sequence[Hashable],
    *,
    classes: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Every pair of systems on the same clips, with p adjusted for their number by Holm's method."""
    options = {"classes": classes, "confidence": confidence, "resamples": resamples, "seed": seed}
    found = [
        compare_pairs(right[a], right[b], sources, names=(a, b), **options)  # type: ignore[arg-type]
        for a, b in combinations(right, 2)
    ]
    tested = [i for i, one in enumerate(found) if one.p is not None]
    adjusted = holm([p for one in found if (p := one.p) is not None])
    for i, value in zip(tested, adjusted, strict=True):
        found[i] = replace(found[i], adjusted_p=value)
    return tuple(found)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p, in the order given: reject those at most alpha, and no true one is rejected more often (Holm 1979).

    Raises:
        OptionError: one is not from 0 to 1.
    """
    found = shares("p_values", p_values)
    order = np.argsort(found, kind="stable")
    steps = found[order] * (len(found) - np.arange(len(found)))
    adjusted = np.empty(len(found))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return tuple(adjusted.tolist())


def _flipped(by_source: Array, resamples: int, rng: np.random.Generator) -> tuple[float, str]:
    """p of the sum of `(sources,)` differences, whose signs are chance."""
    differing = by_source[by_source != 0]
    size = len(differing)
    # Sums of the same terms in another order differ by rounding, and have to count as equal.
    least = abs(differing.sum()) - ROUNDING * np.abs(differing).sum()
    if size <= EXACT:
        signs = 1 - 2 * (np.arange(2**size)[:, None] >> np.arange(size) & 1)
        return float((np.abs(signs @ differing) >= least).mean()), f"sign flips over sources, all {2**size}"
    far = 0
    every = max(1, CHUNK // size)
    for first in range(0, resamples, every):
        signs = 1 - 2 * rng.integers(0, 2, (min(every, resamples - first), size), dtype=np.int8)
        far += int((np.abs(signs @ differing) >= least).sum())
    # What was seen counts as one of the ways, so that no p is 0 (Phipson & Smyth 2010).
    return (1 + far) / (1 + resamples), f"sign flips over sources, {resamples} drawn"


def _interval(
    apart: Array, kinds: Codes, count: int, sources: Sequence[Hashable], confidence: float, resamples: int, seed: int
) -> Interval:
    member = [(kinds == kind).astype(np.float64) for kind in range(count)]

    def difference(totals: Array) -> Array:
        means = totals[..., :count] / totals[..., count:]  # a class that wasn't drawn makes it undefined
        return np.asarray(means.mean(-1))

    columns = [*(apart * one for one in member), *member]
    return bootstrap_totals(
        difference, columns, sources, strata=kinds.tolist(), confidence=confidence, resamples=resamples, seed=seed
    )


def _note(sources: int, differing: int) -> str:
    if sources == 1:
        return "all clips come from one source, which can't tell the systems apart from chance"
    if 0 < differing <= 5:
        return f"the systems differ on {differing} source(s), so p can't be below {2 / 2**differing:.2g}: add sources"
    return ""
