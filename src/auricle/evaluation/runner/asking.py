"""What a command asks for, as plain values: any process of a cluster can make the same task of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

from auricle import api
from auricle.api.labelling import check_labels
from auricle.errors import OptionError
from auricle.evaluation.classifiers import BASELINES, classifier_named
from auricle.evaluation.runner.answers import MAX_TOKENS, AnswerTask
from auricle.evaluation.runner.labels import LabelTask
from auricle.evaluation.runner.tasks import Task
from auricle.evaluation.runner.transcripts import COLUMN, TranscribeTask

TaskName = Literal["label", "transcribe", "answer"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
Load = Callable[[], api.Model]


@dataclass(frozen=True)
class Asking:
    """A task that is not made yet."""

    task: TaskName
    model: str
    loading: Mapping[str, Any] = field(default_factory=dict)  # arguments of `auricle.load`
    labels: tuple[str, ...] = ()
    how: Mapping[str, Any] = field(default_factory=dict)  # prompt, orders, ...: arguments of `classifier_named`
    question: str | None = None
    choices: tuple[str, ...] = ()
    normaliser: str = "basic"
    language: str = "English"
    text_column: str = COLUMN
    max_tokens: int = MAX_TOKENS

    def build(self, load: Load | None = None) -> Task:
        """Makes the task, which loads its model.

        Args:
            load: gives the model; unless given, `auricle.load` with the arguments in `loading`.

        Raises:
            OptionError: a baseline is to do more than tell labels apart, or labels can't be columns of a table.
        """
        if self.task == "label":
            check_labels(self.labels)
            if unfit := next((label for label in self.labels if not label.isprintable()), None):
                raise OptionError(f"labels has {unfit!r}, which can't be printed: give it without control characters")
        load = load or partial(api.load, self.model, **self.loading)
        if self.task == "label":
            return LabelTask(classifier_named(self.model, self.labels, load=load, **self.how))
        if self.model in BASELINES:
            raise OptionError(f"{self.model} only tells labels apart: --task label, or another model")
        if self.task == "transcribe":
            terms = {"language": self.language, "normaliser": self.normaliser, "column": self.text_column}
            return TranscribeTask(load(), **terms)
        return AnswerTask(
            load(),
            question=self.question,
            choices=self.choices,
            normaliser=self.normaliser,
            max_tokens=self.max_tokens,
        )
