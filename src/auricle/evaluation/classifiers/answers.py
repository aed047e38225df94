"""A model that answers in its own words, which a parser reads: for servers that give no likelihoods, and to compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from auricle.api import Model
from auricle.api.labelling import LETTERS, Orders, Template, template_and_orders
from auricle.errors import AuricleError
from auricle.evaluation.classifiers.interface import Classified
from auricle.evaluation.classifiers.parser import Reading, read_label
from auricle.types import Answer, Audio

MAX_TOKENS = 40
BETWEEN = " | "  # the answers of both orders


class Answers:
    """Asks with each order of the labels; answers that say different labels say none."""

    def __init__(
        self,
        model: Model,
        labels: Sequence[str],
        *,
        prompt: str | Path | None = None,
        orders: Orders = "both",
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        """
        Raises:
            OptionError: labels or prompt won't do.
        """
        self.model, self.labels, self.max_tokens = model, tuple(labels), max_tokens
        template, self._orders = template_and_orders(labels, None, prompt, orders)
        self._template = template
        self._prompts = [template.asking(order) for order in self._orders]
        self._said = {
            "rule": "parser",
            "prompt_id": template.id,
            "label_order": orders,
            "prompts": self._prompts,
            "max_tokens": max_tokens,
        }

    def provenance(self) -> dict[str, Any]:
        return {**self.model.provenance(), **self._said}

    def classify(self, sounds: Sequence[Audio]) -> list[Classified | AuricleError]:
        """All prompts about all sounds, several at a time."""
        begun = perf_counter()
        asks = [(sound, prompt) for sound in sounds for prompt in self._prompts]
        answers = list(self.model.ask_many(asks, max_tokens=self.max_tokens))
        each_ms = 1000 * (perf_counter() - begun) / max(len(sounds), 1)
        count = len(self._prompts)
        return [self._classified(answers[n * count : (n + 1) * count], each_ms) for n in range(len(sounds))]

    def _classified(self, answers: Sequence[Answer | AuricleError], each_ms: float) -> Classified | AuricleError:
        given: list[Answer] = []
        for answer in answers:
            if isinstance(answer, AuricleError):
                return answer
            given.append(answer)
        pairs = zip(given, self._orders, strict=True)
        read = [_read(self._template, answer.text, order) for answer, order in pairs]
        before_ms = min(1000 * sum(answer.timings.mel_s for answer in given), each_ms)
        label, rule = _agreed(read)
        raw = BETWEEN.join(answer.text for answer in given)
        return Classified(label, None, None, raw, f"parser: {rule}", before_ms, each_ms - before_ms)


def _read(template: Template, answer: str, order: Sequence[str]) -> Reading:
    """Reads an answer to the prompt with labels in this order."""
    forms = {label: template.saying(order, place) for place, label in enumerate(order)}
    letters = dict(zip(LETTERS, order, strict=False)) if template.lettered else None
    asked = [{form.casefold() for form in forms[label]} for label in order]
    yes_no = (order[0], order[1]) if len(order) == 2 and "yes" in asked[0] and "no" in asked[1] else None
    return read_label(answer, order, forms=forms, letters=letters, yes_no=yes_no)


def _agreed(read: Sequence[Reading]) -> tuple[str | None, str]:
    rule = ", ".join(dict.fromkeys(one.rule for one in read))
    said = {one.label for one in read}
    if len(said) > 1:
        return None, f"{rule} (the orders disagree)"
    return said.pop(), rule
