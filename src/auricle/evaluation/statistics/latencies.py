"""How long answers took, as percentiles: the slow ones are what a user remembers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from auricle.evaluation.statistics.rows import numbers, same_length
from auricle.evaluation.statistics.special import Array
from auricle.types.checks import require


@dataclass(frozen=True)
class Percentiles:
    """Of times in milliseconds; None without any. Each is a time that was measured (nearest rank)."""

    p50: float | None
    p95: float | None
    p99: float | None
    mean: float | None


@dataclass(frozen=True)
class Latency:
    """Where the time of an answer went."""

    rows: int
    load_s: float | None  # once for all answers, so that it is in none of the rest; None if not measured
    preprocessing: Percentiles  # decoding, resampling, padding, mel
    model: Percentiles
    whole: Percentiles  # from the sound to the answer, with what is in neither
    note: str = ""


def latency(
    preprocess_ms: ArrayLike, model_ms: ArrayLike, latency_ms: ArrayLike, load_s: float | None = None
) -> Latency:
    """p50, p95 and p99 of each part.

    Percentiles of parts don't add up to that of the whole: the slowest preprocessing isn't the slowest answer's.
    Of batches, the times are a batch's by its size: what a clip costs, not how long its answer is waited for.

    Args:
        preprocess_ms, model_ms, latency_ms: `(rows,)`, of answers that were had; those of errors are left out.

    Raises:
        OptionError: columns of different lengths, a time below 0 or not finite.
    """
    times = {"preprocess_ms": preprocess_ms, "model_ms": model_ms, "latency_ms": latency_ms}
    columns = {name: numbers(name, column) for name, column in times.items()}
    rows = same_length(**columns)
    for name, column in columns.items():
        require(not rows or column.min() >= 0, name, column.min(initial=np.inf), "at least 0 in every row")
    note = f"p99 of {rows} is the slowest of them" if 0 < rows < 100 else ""
    preprocessing, model, whole = (_percentiles(column) for column in columns.values())
    return Latency(rows, load_s, preprocessing, model, whole, note)


def _percentiles(times: Array) -> Percentiles:
    if not len(times):
        return Percentiles(None, None, None, None)
    p50, p95, p99 = np.quantile(times, [0.5, 0.95, 0.99], method="inverted_cdf")
    return Percentiles(float(p50), float(p95), float(p99), float(times.mean()))
