"""Signal detection: how well two classes are told apart, and which one is preferred, as two numbers.

Accuracy mixes them: who says "speech" to everything hears nothing, and is right on half of the clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from auricle.evaluation.statistics.rows import flags, known, same_length
from auricle.evaluation.statistics.special import Array, normal_quantile

LOG_LINEAR = "log-linear: half an answer added to hits and to false alarms, one clip to each class (Hautus 1995)"


@dataclass(frozen=True)
class Detection:
    """Answers to clips of two classes, the positive one being the signal."""

    signals: int
    hits: int  # signals that were called so
    others: int
    false_alarms: int  # others that were called signals
    d_prime: float | None  # 0 is guessing; None where a class has no clip
    criterion: float | None  # above 0 the signal is said too seldom, below 0 too often
    correction: str = LOG_LINEAR

    @property
    def hit_rate(self) -> float | None:
        """As counted, without the correction."""
        return self.hits / self.signals if self.signals else None

    @property
    def false_alarm_rate(self) -> float | None:
        return self.false_alarms / self.others if self.others else None


def detection(positive: ArrayLike, said: ArrayLike) -> Detection:
    """d' and the criterion c, for equal variances (Macmillan & Creelman 2005, eqs. 1.5 and 2.1).

        d' = z(H) - z(F)        c = -(z(H) + z(F)) / 2

    The hit rate H and the false alarm rate F are corrected always, and not only at 0 and 1, where z has no value:
    correcting some cells only would make them disagree with the others (Hautus 1995).

    Args:
        positive: `(rows,)`, whether the clip is of the positive class.
        said: `(rows,)`, whether the answer was that class; an unknown answer is either left out or not that class.

    Raises:
        OptionError: columns of different lengths, or something else than true and false.
    """
    signal, yes = flags("positive", positive), flags("said", said)
    same_length(positive=signal, said=yes)
    counts = np.array([signal.sum(), (signal & yes).sum(), (~signal).sum(), (~signal & yes).sum()])
    signals, hits, others, false_alarms = (int(count) for count in counts)
    return Detection(signals, hits, others, false_alarms, known(d_prime(counts)), known(criterion(counts)))


def d_prime(counts: ArrayLike) -> Array:
    """`(...)` of counts `(..., 4)`: signals, hits, others, false alarms; nan where a class has no clip."""
    hit, false_alarm = _quantiles(counts)
    return hit - false_alarm


def criterion(counts: ArrayLike) -> Array:
    """As `d_prime`."""
    hit, false_alarm = _quantiles(counts)
    return -(hit + false_alarm) / 2


def _quantiles(counts: ArrayLike) -> tuple[Array, Array]:
    signals, hits, others, false_alarms = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    there = (signals > 0) & (others > 0)
    hit = normal_quantile((hits + 0.5) / (signals + 1))
    false_alarm = normal_quantile((false_alarms + 0.5) / (others + 1))
    return np.where(there, hit, np.nan), np.where(there, false_alarm, np.nan)
