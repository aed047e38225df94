"""A decision threshold, chosen on dev and applied to the split that is reported; never the other way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from auricle.errors import InputError, OptionError
from auricle.evaluation.analysis.estimates import Estimate, estimate
from auricle.evaluation.analysis.runs import ALL, Answered, Row, Run
from auricle.evaluation.analysis.scores import Scored
from auricle.evaluation.statistics import DevThreshold, headline, threshold_from_dev

DEV = "dev"


@dataclass(frozen=True)
class Decision:
    """What the threshold does on the reported split; without one, `chosen` is None and the note says why."""

    note: str
    chosen: DevThreshold | None = None
    figures: dict[str, Estimate] | None = None

    def to_json(self) -> dict[str, Any]:
        if self.chosen is None or self.figures is None:
            return {"note": self.note}
        chosen = self.chosen
        return {
            "note": self.note,
            "threshold": chosen.value,
            "by": chosen.by,
            "equally_good": chosen.equally_good,
            "dev": {"rows": chosen.rows, "sources": len(chosen.sources), "balanced_accuracy": chosen.balanced_accuracy},
            **{name: figure.to_json() for name, figure in self.figures.items()},
        }


def with_dev_threshold(run: Run, split: str) -> Run:
    """The run with the labels of a split by the threshold from dev, instead of those that the run gave.

    Answers without probabilities, and other splits, stay as they are.

    Raises:
        InputError: there is no such threshold; the message says why.
    """
    decision = decide(run, split)
    if decision is None or decision.chosen is None:
        why = "it needs two labels and their probabilities" if decision is None else decision.note
        raise InputError(
            f"{run.folder} has no threshold from {DEV}: {why} (without --decide {DEV}, its own labels stand)"
        )
    positive, other = run.labels
    test = Scored.of(Answered.of(run, run.of(split)), run.labels)
    said = decision.chosen.apply(test.of_label(positive)[1], test.answered.sources)
    label_of = {
        row["segment_id"]: positive if one else other for row, one in zip(test.answered.rows, said, strict=True)
    }

    def decided(row: Row) -> Row:
        label = label_of.get(row["segment_id"])
        return row if label is None else {**row, "pred_label": label, "confidence": row[f"p_{label}"]}

    return replace(run, rows=tuple(map(decided, run.rows)))


def decide(run: Run, split: str) -> Decision | None:
    """None for tasks other than two labels, and for runs whose answers have no probabilities."""
    if run.task != "label" or len(run.labels) != 2:
        return None
    test = Scored.of(Answered.of(run, run.of(split)), run.labels)
    if not len(test.shares):
        return None
    if DEV not in run.splits():
        return Decision(f"no split is called {DEV}, and a threshold chosen on {split} would flatter it")
    if split in (DEV, ALL):
        return Decision(f"the figures are of {split}, which the threshold would be chosen on")
    dev = Scored.of(Answered.of(run, run.of(DEV)), run.labels)
    positive = run.labels[0]
    event, score = dev.of_label(positive)
    try:
        chosen = threshold_from_dev(event, score, dev.answered.sources)
    except OptionError as error:  # one class only, or one score: what dev can't tell
        return Decision(str(error))
    said = chosen.apply(test.of_label(positive)[1], test.answered.sources)
    found = headline(
        test.answered.column("true_label"),
        [run.labels[0] if one else run.labels[1] for one in said],
        run.labels,
        test.answered.sources,
    )
    rows = len(test.answered.rows)
    figures = {
        name: estimate(interval, rows)
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "d_prime", "criterion")
        if (interval := getattr(found, name)) is not None
    }
    return Decision(
        f"{positive} from a probability of {chosen.value:.3g} up, chosen on the {chosen.rows} rows of {DEV}",
        chosen,
        figures,
    )
