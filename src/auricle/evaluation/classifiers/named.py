"""From the name of a model or a baseline to a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from auricle.api import Model
from auricle.api.labelling import Orders
from auricle.errors import OptionError, UnsupportedError
from auricle.evaluation.classifiers.answers import Answers
from auricle.evaluation.classifiers.energy import Energy
from auricle.evaluation.classifiers.interface import Classifier
from auricle.evaluation.classifiers.models import Head, Likelihood
from auricle.evaluation.classifiers.silero import Silero

BASELINES: dict[str, Callable[[Sequence[str]], Classifier]] = {"silero": Silero, "energy": Energy}


def classifier_named(
    name: str,
    labels: Sequence[str],
    *,
    load: Callable[[], Model],
    prompt: str | Path | None = None,
    orders: Orders = "both",
    free: bool = False,
    names: Mapping[str, str] | None = None,
) -> Classifier:
    """A baseline, or a model in one of three ways: by its head, by likelihoods, or by the words of a free answer.

    Args:
        name: `silero`, `energy`, or a model's.
        labels: of two, the first is the positive class.
        load: gives the model; not called for a baseline.
        prompt, orders: how a model is asked.
        free: let it answer in its own words, and read a label out of them.
        names: from the labels of a head to these.

    Raises:
        OptionError: an option that means nothing here, or labels that won't do.
        UnsupportedError: the model can neither score answers nor tells labels apart.
    """
    if name in BASELINES:
        if prompt is not None or free or names:
            raise OptionError(f"{name} is not asked: leave prompt, free and map out")
        return BASELINES[name](labels)
    model = load()
    if model.backend.own_labels is not None:
        if prompt is not None or free:
            raise OptionError(f"{name} has labels of its own and is not asked: leave prompt and free out")
        return Head(model, labels, names or {label: label for label in labels})
    if names:
        raise OptionError(f"{name} has no labels of its own: leave map out")
    if free:
        return Answers(model, labels, prompt=prompt, orders=orders)
    try:
        return Likelihood(model, labels, prompt=prompt, orders=orders)
    except UnsupportedError as error:
        raise UnsupportedError(
            f"{name} gives no likelihoods of labels: let it answer in its own words with --free, or use another model"
        ) from error
