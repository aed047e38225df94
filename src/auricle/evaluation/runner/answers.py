"""The task `answer`: a question about each clip, and whether its answer is the right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auricle.api import Model
from auricle.errors import AuricleError, InputError
from auricle.evaluation.manifest import Clip
from auricle.evaluation.runner.tasks import Columns
from auricle.evaluation.runner.words import NORMALISERS
from auricle.types import Answer, Audio, SamplingOptions
from auricle.types.checks import require_one_of

MAX_TOKENS = 64
SEPARATOR = "|"  # between choices in a manifest


class AnswerTask:
    """`question`, `true_answer`, `pred_answer` and `right`.

    The answer is right when both are the same words after the normaliser. Where there are choices, the model is held
    to them; they are the manifest's column `choices`, "yes|no", or the same for all clips.
    """

    def __init__(
        self,
        model: Model,
        *,
        question: str | None = None,
        choices: Sequence[str] = (),
        normaliser: str = "basic",
        max_tokens: int = MAX_TOKENS,
    ):
        require_one_of("normaliser", normaliser, tuple(NORMALISERS))
        self.model, self.question, self.choices = model, question, tuple(choices)
        self.normaliser, self.max_tokens = normaliser, max_tokens

    @property
    def rate(self) -> int:
        return self.model.backend.rate

    def plan(self) -> Mapping[str, Any]:
        asked = {"question": self.question, "choices": list(self.choices)}
        return {
            "task": "answer",
            **asked,
            "normaliser": self.normaliser,
            "max_tokens": self.max_tokens,
            **self.model.provenance(),
        }

    def check(self, clips: Sequence[Clip]) -> list[str]:
        if self.question is None and (missing := sum("question" not in clip.more for clip in clips)):
            raise InputError(
                f"{missing} of {len(clips)} clips have no question: fill the manifest's column 'question', or give one "
                "for all with --question"
            )
        if missing := sum("answer" not in clip.more for clip in clips):
            raise InputError(f"{missing} of {len(clips)} clips have no answer: fill the manifest's column 'answer'")
        for clip in clips:
            choices = self._choices(clip)
            if choices and self._normal(clip.more["answer"]) not in map(self._normal, choices):
                raise InputError(
                    f"clip {clip.clip_id} has the answer {clip.more['answer']!r}, which is none of its choices "
                    f"({', '.join(choices)}): mend the manifest"
                )
        return []

    def ask(self, clips: Sequence[Clip], sounds: Sequence[Audio]) -> list[Columns | AuricleError]:
        found: dict[int, Answer | AuricleError] = {}
        for choices in dict.fromkeys(map(self._choices, clips)):
            mine = [number for number, clip in enumerate(clips) if self._choices(clip) == choices]
            asks = [(sounds[number], self._question(clips[number])) for number in mine]
            options: SamplingOptions = {"max_tokens": self.max_tokens}
            if choices:
                options["choices"] = choices
            answers = self.model.ask_many(asks, **options)
            found.update(zip(mine, answers, strict=True))
        return [
            one if isinstance(one := found[number], AuricleError) else self._columns(clip, one)
            for number, clip in enumerate(clips)
        ]

    def empty(self, clip: Clip) -> Columns:
        known = {"question": self._question(clip), "true_answer": str(clip.more["answer"])}
        return {**known, "pred_answer": None, "right": None, "normaliser": self.normaliser}

    def _columns(self, clip: Clip, answer: Answer) -> Columns:
        known, times = self.empty(clip), answer.timings
        return {
            **known,
            "pred_answer": answer.text,
            "right": self._normal(answer.text) == self._normal(known["true_answer"]),
            "raw_output": answer.text,
            "finish_reason": answer.finish_reason,
            "preprocess_ms": 1000 * times.mel_s,
            "model_ms": 1000 * (times.encoder_s + times.prefill_s + times.decode_s),
        }

    def _question(self, clip: Clip) -> str:
        return str(clip.more["question"]) if self.question is None else self.question

    def _choices(self, clip: Clip) -> tuple[str, ...]:
        own = clip.more.get("choices")
        return self.choices if own is None else tuple(choice.strip() for choice in str(own).split(SEPARATOR))

    def _normal(self, text: object) -> str:
        return NORMALISERS[self.normaliser](str(text))
