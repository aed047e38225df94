"""The task `label`: which of some labels each clip has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from auricle.errors import AuricleError, InputError
from auricle.evaluation.classifiers import Classified, Classifier
from auricle.evaluation.manifest import Clip
from auricle.evaluation.runner.tasks import Columns
from auricle.types import Audio

RATE = 16_000  # what all models of ours take


def labels_of(clips: Sequence[Clip]) -> tuple[str, ...]:
    """The labels that clips have, in order of appearance.

    Raises:
        InputError: none of them has one, or all have the same.
    """
    found = tuple(dict.fromkeys(clip.label for clip in clips if clip.label is not None))
    if len(found) < 2:
        shown = f"only {found[0]!r}" if found else "none"
        raise InputError(f"the manifest's column 'label' has {shown}: name at least two labels with --labels")
    return found


class LabelTask:
    """`true_label` and `pred_label`, `confidence`, a column `p_LABEL` for each label, `logits`, `parse_rule`."""

    def __init__(self, classifier: Classifier, rate: int = RATE) -> None:
        self.classifier, self.rate = classifier, rate
        self.said = dict(classifier.provenance())

    def plan(self) -> Mapping[str, Any]:
        return {"task": "label", "labels": list(self.classifier.labels), **self.said}

    def check(self, clips: Sequence[Clip]) -> list[str]:
        known = set(self.classifier.labels)
        counts = Counter(clip.label for clip in clips)
        if missing := counts.get(None):
            raise InputError(f"{missing} of {len(clips)} clips have no label: fill the manifest's column 'label'")
        if others := [label for label in counts if label not in known]:
            shown = ", ".join(self.classifier.labels)
            raise InputError(
                f"{counts[others[0]]} clips have the label {others[0]!r}, which is none of {shown}: name it in --labels"
            )
        return [f"no clip has the label {label!r}" for label in self.classifier.labels if label not in counts]

    def ask(self, clips: Sequence[Clip], sounds: Sequence[Audio]) -> list[Columns | AuricleError]:
        found = self.classifier.classify(sounds)
        return [self._answered(clip, one) for clip, one in zip(clips, found, strict=True)]

    def empty(self, clip: Clip) -> Columns:
        shared: Columns = {name: self.said[name] for name in ("prompt_id", "label_order") if name in self.said}
        return {"true_label": clip.label, "pred_label": None, **shared}

    def _answered(self, clip: Clip, one: Classified | AuricleError) -> Columns | AuricleError:
        if isinstance(one, AuricleError):
            return one
        if one.probabilities and not all(map(math.isfinite, one.probabilities)):
            shown = ", ".join(map(str, one.probabilities))
            return AuricleError(f"the labels' probabilities are no numbers ({shown}): try --dtype float32")
        return {**self.empty(clip), **self._columns(one)}

    def _columns(self, one: Classified) -> Columns:
        shares = dict(zip(self.classifier.labels, one.probabilities, strict=True)) if one.probabilities else {}
        return {
            "pred_label": one.label,
            "confidence": shares.get(one.label) if one.label is not None else None,
            **{f"p_{label}": share for label, share in shares.items()},
            "logits": list(one.logits) if one.logits is not None else None,
            "raw_output": one.raw,
            "parse_rule": one.rule,
            "preprocess_ms": one.preprocess_ms,
            "model_ms": one.model_ms,
        }
