"""The figures that stand at the top of a report, with intervals over sources, from one product of matrices each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from auricle.evaluation.statistics.answers import Unknown, accuracy, answer_codes, balanced_accuracy, macro_f1
from auricle.evaluation.statistics.bootstrap import Interval, bootstrap_totals
from auricle.evaluation.statistics.rows import same_length
from auricle.evaluation.statistics.signals import criterion, d_prime
from auricle.evaluation.statistics.special import Array
from auricle.types.checks import require_one_of


@dataclass(frozen=True)
class Headline:
    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    d_prime: Interval | None  # of two labels only, the first being the signal
    criterion: Interval | None


def headline(
    true: Sequence[str],
    predicted: Sequence[str | None],
    labels: Sequence[str],
    sources: Sequence[Hashable],
    unknown: Unknown = "wrong",
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Headline:
    """The figures of `confusion` and of `detection`, each with its interval; the arguments are theirs.

    Sources are drawn among those of the same labels. With unknown answers counted as wrong, a signal that got one is
    missed, and of the others none is a false alarm.
    """
    require_one_of("unknown", unknown, get_args(Unknown))
    code = answer_codes(true, predicted, labels)
    same_length(true=true, sources=sources)
    size = len(labels)
    cells = [(code == cell).astype(np.float64) for cell in range(size * (size + 1))]

    def interval(figure: Callable[[Array], Array]) -> Interval:
        return bootstrap_totals(
            lambda totals: figure(totals.reshape(-1, size, size + 1)),
            cells,
            sources,
            strata=true,
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )

    def signals(counts: Array) -> Array:
        """Counts `(draws, 4)` as `d_prime` takes them."""
        kept = counts if unknown == "wrong" else counts[..., :-1]
        rows = kept.sum(-1)
        return np.stack([rows[:, 0], counts[:, 0, 0], rows[:, 1], counts[:, 1, 0]], -1)

    def at_edge(found: Interval) -> Interval:
        """Rates of 0 and 1 are kept finite by the correction alone, which moves with how many clips are drawn."""
        (total, hits, others, false_alarms), *_ = signals(np.sum(cells, -1).reshape(1, size, size + 1))
        edges = (hits in (0, total)) + (false_alarms in (0, others))
        if found.low is None or not edges:
            return found
        if edges == 2:
            return replace(found, low=None, high=None, note="both rates are 0 or 1, so no interval can be had")
        told = "one of the two rates is 0 or 1, so the interval is too narrow"
        return replace(found, note=f"{found.note}; {told}" if found.note else told)

    return Headline(
        interval(lambda counts: accuracy(counts, unknown)),
        interval(lambda counts: balanced_accuracy(counts, unknown)),
        interval(lambda counts: macro_f1(counts, unknown)),
        at_edge(interval(lambda counts: d_prime(signals(counts)))) if size == 2 else None,
        at_edge(interval(lambda counts: criterion(signals(counts)))) if size == 2 else None,
    )
