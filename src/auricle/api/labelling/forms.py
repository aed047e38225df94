"""How a model is asked for labels: a form for each order of them, with the answers that say each label."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from auricle.api.labelling.template import Template, read_template
from auricle.backends import Backend
from auricle.errors import OptionError
from auricle.types import AskedOrder, Scores
from auricle.types.checks import require_one_of

Orders: TypeAlias = Literal["both", "given"]
"""In which orders labels are named: as they are given and turned round, or only as they are given."""


NEGATIONS = ("non", "not", "no")  # what turns a label into its opposite: nonspeech, "not speech", no_speech


@dataclass(frozen=True)
class Form:
    """A prompt that names the labels in one order."""

    order: tuple[str, ...]
    prompt: str
    answers: dict[str, tuple[str, ...]]  # by label: those that say it, and no other

    @property
    def choices(self) -> list[str]:
        return [answer for said in self.answers.values() for answer in said]

    def read(self, scores: Scores, labels: Sequence[str]) -> AskedOrder:
        """What these scores say of each label. Answers exclude each other, so that their probabilities add up."""
        found = {one.choice: one.logprob for one in scores.choices}
        sums = tuple(_log_sum([found[answer] for answer in self.answers[label]]) for label in labels)
        return AskedOrder(self.order, self.prompt, sums)


def shares(orders: Sequence[AskedOrder]) -> list[float]:
    """Probabilities of the labels: of each the mean log-likelihood over the orders, through a softmax.

    So a liking for a place or a letter cancels out: what it adds to a label in one order it adds to the other label in
    the other.
    """
    means = [sum(found) / len(orders) for found in zip(*(one.logprobs for one in orders), strict=True)]
    total = _log_sum(means)
    return [math.exp(mean - total) for mean in means]


def forms_of(
    backend: Backend, labels: Sequence[str], question: str | None, prompt: str | Path | None, orders: Orders
) -> tuple[Template, list[Form]]:
    """The forms to fill in for a sound.

    Raises:
        OptionError: labels, prompt or orders can't be used, or two labels are said alike.
    """
    template, turned = template_and_orders(labels, question, prompt, orders)
    return template, [
        Form(order, template.asking(order, question), _answers(backend, template, order)) for order in turned
    ]


def template_and_orders(
    labels: Sequence[str], question: str | None, prompt: str | Path | None, orders: Orders
) -> tuple[Template, list[tuple[str, ...]]]:
    """How labels are asked for, and the orders that they are named in; errors as for `forms_of`."""
    check_labels(labels)
    require_one_of("orders", orders, get_args(Orders))
    template = read_template(default_prompt(labels, question) if prompt is None else prompt)
    given = tuple(labels)
    return template, list(dict.fromkeys([given, given[::-1]] if orders == "both" else [given]))


def default_prompt(labels: Sequence[str], question: str | None = None) -> str:
    """`options` for a label and its negation, which nobody says unless it is offered; `plain` for any others."""
    return "options" if question is None and len(labels) == 2 and _negate(*labels) else "plain"


def check_labels(labels: Sequence[str]) -> None:
    """
    Raises:
        OptionError: they are no list of labels, each once.
    """
    if isinstance(labels, str) or not labels:
        raise OptionError(f"labels is {labels!r}; it must be a list of labels, such as ['speech', 'music']")
    blank = next((label for label in labels if not isinstance(label, str) or not label.strip()), None)
    if blank is not None:
        raise OptionError(f"labels has {blank!r}, which is no label: give the words of one")
    if twice := next((label for label in labels if list(labels).count(label) > 1), None):
        raise OptionError(f"labels has {twice!r} more than once: give each label once")


def _negate(first: str, second: str) -> bool:
    """Whether one of two labels is the other's negation: nonspeech, no_speech, "not speech"."""
    one, other = (re.sub(r"[\W_]", "", label.casefold()) for label in (first, second))
    return any(a == prefix + b for a, b in ((one, other), (other, one)) for prefix in NEGATIONS)


def _answers(backend: Backend, template: Template, order: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Of each label the answers that say it, told apart by their tokens: what two labels share says neither."""
    spelt = {label: dict(_spelt(backend, template.saying(order, place))) for place, label in enumerate(order)}
    said = Counter(ids for answers in spelt.values() for ids in answers)
    own = {
        label: tuple(answer for ids, answer in answers.items() if said[ids] == 1) for label, answers in spelt.items()
    }
    for place, label in enumerate(order):
        if not spelt[label]:
            first = template.saying(order, place)[:1]
            raise OptionError(
                f"the model's tokenizer can't write {first[0] if first else label!r} for the label {label!r} "
                f"(prompt {template.name}): give the label in other words"
            )
        if not own[label]:
            raise OptionError(f"prompt {template.name} says the label {label!r} as it says another: use plain")
    return own


def _spelt(backend: Backend, answers: Sequence[str]) -> Iterator[tuple[tuple[int, ...], str]]:
    """The answers that the tokenizer can write, by their tokens, each once."""
    seen = set()
    for answer in answers:
        ids = backend.spelt(answer)
        if ids and ids not in seen:
            seen.add(ids)
            yield ids, answer


def _log_sum(logs: Sequence[float]) -> float:
    most = max(logs)
    return most + math.log(sum(math.exp(log - most) for log in logs)) if math.isfinite(most) else most
