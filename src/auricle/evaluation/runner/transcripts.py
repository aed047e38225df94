"""The task `transcribe`: what is said, and how many of its words are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any

from auricle.api import Model
from auricle.errors import AuricleError, InputError
from auricle.evaluation.manifest import Clip
from auricle.evaluation.runner.tasks import Columns
from auricle.evaluation.runner.words import NORMALISERS, count_errors
from auricle.types import Audio
from auricle.types.checks import require_one_of

COLUMN = "text"  # of the manifest: what is said


class TranscribeTask:
    """`true_text` and `pred_text`, and the edits between them after a named normaliser."""

    def __init__(self, model: Model, *, language: str = "English", normaliser: str = "basic", column: str = COLUMN):
        require_one_of("normaliser", normaliser, tuple(NORMALISERS))
        self.model, self.language, self.normaliser, self.column = model, language, normaliser, column

    @property
    def rate(self) -> int:
        return self.model.backend.rate

    def plan(self) -> Mapping[str, Any]:
        terms = {"language": self.language, "normaliser": self.normaliser, "column": self.column}
        return {"task": "transcribe", **terms, **self.model.provenance()}

    def check(self, clips: Sequence[Clip]) -> list[str]:
        silent = sum(self.column not in clip.more for clip in clips)
        if silent == len(clips):
            raise InputError(f"no clip has a text: put what is said into the manifest's column {self.column!r}")
        remark = f"{silent} of {len(clips)} clips have no text: nothing is said there, so each word written is inserted"
        return [remark] if silent else []

    def ask(self, clips: Sequence[Clip], sounds: Sequence[Audio]) -> list[Columns | AuricleError]:
        begun = perf_counter()
        found = list(self.model.transcribe_many(sounds, language=self.language))
        each = 1000 * (perf_counter() - begun) / max(len(sounds), 1)
        return [
            one if isinstance(one, AuricleError) else {**self._columns(clip, one.text), "model_ms": each}
            for clip, one in zip(clips, found, strict=True)
        ]

    def empty(self, clip: Clip) -> Columns:
        return {"true_text": str(clip.more.get(self.column, "")), "pred_text": None, "normaliser": self.normaliser}

    def _columns(self, clip: Clip, text: str) -> Columns:
        known = self.empty(clip)
        errors = count_errors(known["true_text"], text, self.normaliser)
        rates = {"wer": errors.wer, "cer": errors.cer}
        return {**known, "pred_text": text, "raw_output": text, **asdict(errors), **rates, "preprocess_ms": 0.0}
