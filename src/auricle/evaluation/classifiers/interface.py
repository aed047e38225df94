"""What the runner asks of whatever tells labels apart: a model with a prompt, a head, Silero, energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from auricle.errors import AuricleError
from auricle.types import Audio


@dataclass(frozen=True)
class Classified:
    """One sound's answer."""

    label: str | None  # one of the classifier's labels; None is unknown: a free answer that no rule reads
    probabilities: tuple[float, ...] | None  # in the order of the labels, sum 1, not calibrated; None of free answers
    logits: tuple[float, ...] | None  # log-likelihoods behind them: orders x labels; of a baseline its scores
    raw: str  # the model's own words; "" where there are none
    rule: str  # how the label was read: "likelihood", "threshold 0.5", "parser: <rule>", "head"
    preprocess_ms: float  # mel, resampling, padding; of a batch, its time by its size
    model_ms: float  # encoder, decoder, ...; likewise


class Classifier(Protocol):
    """Tells labels apart. The same sounds give the same labels, alone or in a batch."""

    labels: tuple[str, ...]  # of two, the first is the positive class

    def provenance(self) -> dict[str, Any]:
        """JSON: what made the numbers ("model", "revision", "backend", "device", "dtype", "auricle", "rule", ...)."""

    def classify(self, sounds: Sequence[Audio]) -> list[Classified | AuricleError]:
        """An answer for each sound, in order; what concerns one sound alone is returned as an error in its place."""
