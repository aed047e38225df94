"""From a score to a decision: a threshold chosen on one set of sources, and applied to others only.

Chosen on the rows that it is then judged by, a threshold looks better than it is, and the more so the fewer rows there
are. So it is made from development rows, keeps their sources, and refuses any row of theirs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auricle.errors import OptionError
from auricle.evaluation.statistics.ranking import Steps, steps_of
from auricle.evaluation.statistics.rows import numbers, same_length
from auricle.evaluation.statistics.special import Array
from auricle.types.checks import require_one_of

By = Literal["balanced accuracy", "eer"]
"""balanced accuracy: as high as it gets. eer: miss and false alarm rate as near to each other as they get."""


@dataclass(frozen=True)
class DevThreshold:
    """A score from which on the positive class is said, and what it does on the rows that it was chosen on."""

    value: float  # halfway between two scores that were seen
    by: By
    balanced_accuracy: float  # on dev, so the best there: what it does elsewhere is for `apply` to find out
    miss_rate: float
    false_alarm_rate: float
    equally_good: int  # thresholds that dev doesn't tell apart by `by`, this one included
    rows: int
    sources: frozenset[Hashable]

    def apply(self, test_score: ArrayLike, test_sources: Sequence[Hashable]) -> NDArray[np.bool_]:
        """Whether each test row is called positive, `(rows,)`.

        Raises:
            OptionError: a test source is one of dev's, columns of different lengths, a score that is no finite number.
        """
        score = numbers("test_score", test_score)
        same_length(test_score=score, test_sources=test_sources)
        shared = [source for source in dict.fromkeys(test_sources) if source in self.sources]
        if shared:
            raise OptionError(
                f"{len(shared)} of the test sources are in dev, such as {shared[0]!r}, where the threshold was chosen: "
                "test on other sources"
            )
        return score >= self.value


def threshold_from_dev(
    dev_positive: ArrayLike,
    dev_score: ArrayLike,
    dev_sources: Sequence[Hashable],
    by: By = "balanced accuracy",
) -> DevThreshold:
    """The threshold that does best on dev, of those halfway between two neighbouring scores.

    Of those equally good by the one rule, the best by the other is taken, and of these the highest, which has the
    fewest false alarms.

    Args:
        dev_positive: `(rows,)`, whether the clip is of the positive class.
        dev_score: `(rows,)`, higher for the positive class.
        dev_sources: `(rows,)`, the recording that each clip was cut from.

    Raises:
        OptionError: columns of different lengths, dev rows of one class only, or all of one score.
    """
    require_one_of("by", by, get_args(By))
    steps = steps_of(dev_positive, dev_score)
    same_length(dev_score=np.asarray(dev_score), dev_sources=dev_sources)
    if not steps.positives or not steps.negatives:
        raise OptionError(
            f"dev has {steps.positives} positive and {steps.negatives} other rows; a threshold needs both: add some"
        )
    if len(steps.thresholds) < 3:  # inf, and one score
        raise OptionError(f"every dev score is {steps.thresholds[-1]:g}, so no threshold parts them: score otherwise")
    hit, false = steps.hits[1:-1], steps.false_alarms[1:-1]  # neither nothing nor everything is positive
    # In whole numbers, so that equally good ones are equal: (hit rate - false alarm rate) and the distance of both
    # error rates, times both classes' rows.
    good = hit * steps.negatives - false * steps.positives
    uneven = np.abs((steps.positives - hit) * steps.negatives - false * steps.positives)
    first, second = (-good, uneven) if by == "balanced accuracy" else (uneven, -good)
    best = int(np.lexsort((np.arange(len(good)), second, first))[0])
    miss, alarm = 1 - hit[best] / steps.positives, false[best] / steps.negatives
    return DevThreshold(
        float(_between(steps)[best]),
        by,
        float(1 - (miss + alarm) / 2),
        float(miss),
        float(alarm),
        int((first == first[best]).sum()),
        steps.positives + steps.negatives,
        frozenset(dev_sources),
    )


def _between(steps: Steps) -> Array:
    """Halfway from each score to the next lower one, `(scores - 1,)`, highest first."""
    upper, lower = steps.thresholds[1:-1], steps.thresholds[2:]
    middle = lower + (upper - lower) / 2
    return np.where(middle > lower, middle, upper)  # two neighbouring floats have nothing between them
