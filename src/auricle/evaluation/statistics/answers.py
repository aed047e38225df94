"""Which label was said to which: the table of counts, and the figures that are read off it.

A free answer may name no label: it is unknown, a column of its own. Whether that is a wrong answer or none at all
changes every figure, so the policy is always stated, and both can be had from one table. A row whose run failed is not
an answer at all: leave it out, and count it elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from auricle.errors import OptionError
from auricle.evaluation.statistics.rows import Codes, known, same_length
from auricle.evaluation.statistics.special import Array
from auricle.types.checks import require, require_one_of

Unknown = Literal["wrong", "dropped"]
"""What becomes of unknown answers.

wrong: they stay in every denominator, and are never right. This is what a user gets.
dropped: figures are of the answers that named a label only, which flatters a model that often names none.
"""


@dataclass(frozen=True)
class LabelFigures:
    """One label against all others; None where a figure has no denominator."""

    label: str
    support: int  # rows whose true label it is, without unknown answers if those are dropped
    said: int  # rows that it was the answer to
    right: int
    precision: float | None  # of those it was said to, the share that it is true of
    recall: float | None  # of those it is true of, the share that it was said to
    f1: float | None  # 2 right / (support + said)


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts, and figures under the policy that `unknown` names."""

    labels: tuple[str, ...]
    counts: NDArray[np.int64]  # (labels, labels + 1): true label by answer; the last column is unknown answers
    unknown: Unknown

    @property
    def rows(self) -> int:
        """All answers, unknown ones included whatever the policy."""
        return int(self.counts.sum())

    @property
    def unknown_rows(self) -> int:
        return int(self.counts[:, -1].sum())

    @property
    def missing(self) -> tuple[str, ...]:
        """Labels that are true of no row that counts: no recall, and no part of the balanced accuracy."""
        return tuple(one.label for one in self.by_label if not one.support)

    @property
    def accuracy(self) -> float | None:
        return known(accuracy(self.counts, self.unknown))

    @property
    def balanced_accuracy(self) -> float | None:
        """The mean of the recalls, so that a label with many clips counts no more than another."""
        return known(balanced_accuracy(self.counts, self.unknown))

    @property
    def macro_f1(self) -> float | None:
        """The mean F1 of the labels that are true of a row or were said to one."""
        return known(macro_f1(self.counts, self.unknown))

    @property
    def by_label(self) -> tuple[LabelFigures, ...]:
        right, support, said = _margins(self.counts, self.unknown)
        precision, recall, f1 = _share(right, said), _share(right, support), _share(2 * right, support + said)
        return tuple(
            LabelFigures(
                label, int(support[i]), int(said[i]), int(right[i]), known(precision[i]), known(recall[i]), known(f1[i])
            )
            for i, label in enumerate(self.labels)
        )

    def with_unknown(self, unknown: Unknown) -> Confusion:
        """The same counts under a policy."""
        require_one_of("unknown", unknown, get_args(Unknown))
        return replace(self, unknown=unknown)


def confusion(
    true: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str], unknown: Unknown = "wrong"
) -> Confusion:
    """Counts answers by what is true.

    Args:
        true: `(rows,)`, each one of `labels`.
        predicted: `(rows,)`, each one of `labels`, or None for an unknown answer.
        labels: at least two, in the order wanted of the table; of a binary task, the positive class first.
        unknown: the policy for unknown answers.

    Raises:
        OptionError: columns of different lengths, a label that isn't among `labels`, or fewer than two.
    """
    require_one_of("unknown", unknown, get_args(Unknown))
    names = tuple(labels)
    said = answer_codes(true, predicted, names)
    counts = np.bincount(said, minlength=len(names) * (len(names) + 1))
    return Confusion(names, counts.reshape(len(names), -1).astype(np.int64), unknown)


def answer_codes(true: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]) -> Codes:
    """Which cell of the table, row by row, each answer is counted in: `(rows,)`."""
    require(len(set(labels)) == len(labels) > 1, "labels", list(labels), "two or more different ones")
    same_length(true=true, predicted=predicted)
    rows, said = _codes("true", true, labels), _codes("predicted", predicted, [*labels, None])
    return rows * (len(labels) + 1) + said


def _codes(name: str, column: Sequence[str | None], allowed: Sequence[str | None]) -> Codes:
    # A label that is none of those asked for is a mistake of whoever calls; only None is a model's to give.
    place = {one: number for number, one in enumerate(allowed)}
    found = np.fromiter((place.get(one, -1) for one in column), dtype=np.int64, count=len(column))
    if len(wrong := np.flatnonzero(found < 0)):
        row = int(wrong[0])
        told = ", ".join("None for unknown" if one is None else repr(one) for one in allowed)
        raise OptionError(f"{name} is {column[row]!r} in row {row}; it must be one of {told}")
    return found


# The figures, over tables (..., labels, labels + 1), so that a bootstrap reads thousands at once; nan where undefined.


def accuracy(counts: NDArray[np.generic], unknown: Unknown) -> Array:
    right, support, _ = _margins(counts, unknown)
    return _share(right.sum(-1), support.sum(-1))


def balanced_accuracy(counts: NDArray[np.generic], unknown: Unknown) -> Array:
    right, support, _ = _margins(counts, unknown)
    return _mean(_share(right, support))


def macro_f1(counts: NDArray[np.generic], unknown: Unknown) -> Array:
    right, support, said = _margins(counts, unknown)
    return _mean(_share(2 * right, support + said))


def _margins(counts: NDArray[np.generic], unknown: Unknown) -> tuple[Array, Array, Array]:
    """Right answers, rows and answers of each label, each `(..., labels)`."""
    table = np.asarray(counts, dtype=np.float64)
    named = table[..., :-1]
    support = (table if unknown == "wrong" else named).sum(-1)
    return np.einsum("...ii->...i", named), support, named.sum(-2)


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _mean(values: Array) -> Array:
    """Over the labels that have a value."""
    there = ~np.isnan(values)
    return _share(np.where(there, values, 0.0).sum(-1), there.sum(-1).astype(np.float64))
