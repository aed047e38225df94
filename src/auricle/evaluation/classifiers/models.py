"""Models as classifiers: those that are asked, by the likelihoods of the labels, and those with labels of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from auricle.api import Model
from auricle.api.labelling import Orders, forms_of
from auricle.errors import AuricleError, OptionError
from auricle.evaluation.classifiers.interface import Classified
from auricle.types import Audio, Labels


class Likelihood:
    """A model that is asked, and scores every label as its answer: `Model.classify`."""

    def __init__(
        self, model: Model, labels: Sequence[str], *, prompt: str | Path | None = None, orders: Orders = "both"
    ) -> None:
        """
        Raises:
            OptionError: labels or prompt won't do; UnsupportedError: the model gives no likelihoods.
        """
        self.model, self.labels, self.prompt, self.orders = model, tuple(labels), prompt, orders
        template, forms = forms_of(model.backend, self.labels, None, prompt, orders)
        self._said = {
            "rule": "likelihood",
            "prompt_id": template.id,
            "label_order": orders,
            "prompts": [form.prompt for form in forms],
            "answers": [{label: list(said) for label, said in form.answers.items()} for form in forms],
        }

    def provenance(self) -> dict[str, Any]:
        return {**self.model.provenance(), **self._said}

    def classify(self, sounds: Sequence[Audio]) -> list[Classified | AuricleError]:
        """All forms about all sounds, several at a time."""
        begun = perf_counter()
        found = list(self.model.classify_many(sounds, self.labels, prompt=self.prompt, orders=self.orders))
        each_ms = 1000 * (perf_counter() - begun) / max(len(sounds), 1)
        return [one if isinstance(one, AuricleError) else self._classified(one, each_ms) for one in found]

    def _classified(self, found: Labels, each_ms: float) -> Classified:
        assert found.asked is not None, "it was asked"
        shares = tuple(found.probabilities[label] for label in self.labels)
        logits = tuple(logprob for order in found.asked.orders for logprob in order.logprobs)
        return Classified(found.best, shares, logits, "", "likelihood", *_times(found, each_ms))


class Head:
    """A model with labels of its own, of which each may count for one of ours: several of its labels add up."""

    def __init__(self, model: Model, labels: Sequence[str], names: Mapping[str, str]) -> None:
        """
        Args:
            names: from the model's labels to ours; of those that are in none, the probability is left out.

        Raises:
            OptionError: the model has no such label, or one of ours has none of its.
        """
        self.model, self.labels, self.names = model, tuple(labels), dict(names)
        own = set(model.backend.own_labels or ())
        if missing := next((name for name in self.names if name not in own), None):
            shown = ", ".join(sorted(own)[:10])
            raise OptionError(f"{model.name} has no label {missing!r} among its {len(own)} ({shown}, ...): see --map")
        if missing := next((label for label in self.labels if label not in self.names.values()), None):
            raise OptionError(f"no label of {model.name} stands for {missing!r}: say which with --map OWN={missing}")

    def provenance(self) -> dict[str, Any]:
        return {**self.model.provenance(), "rule": "head", "names": self.names}

    def classify(self, sounds: Sequence[Audio]) -> list[Classified | AuricleError]:
        begun = perf_counter()
        found = list(self.model.classify_many(sounds))
        each_ms = 1000 * (perf_counter() - begun) / max(len(sounds), 1)
        return [one if isinstance(one, AuricleError) else self._classified(one, each_ms) for one in found]

    def _classified(self, found: Labels, each_ms: float) -> Classified:
        sums = dict.fromkeys(self.labels, 0.0)
        for name, probability in found.probabilities.items():
            if (label := self.names.get(name)) is not None:
                sums[label] += probability
        whole = sum(sums.values())
        shares = tuple(share / whole if whole else 1 / len(sums) for share in sums.values())
        best = max(zip(shares, self.labels, strict=True), key=lambda one: one[0])[1]
        return Classified(best, shares, tuple(sums.values()), found.best, "head", *_times(found, each_ms))


def _times(found: Labels, each_ms: float) -> tuple[float, float]:
    """A sound's share of a batch, before the model and in it: what ran side by side is not counted twice."""
    before_ms = min(1000 * found.timings.mel_s, each_ms)
    return before_ms, each_ms - before_ms
