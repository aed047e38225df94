"""Models that write down what is said, and can't be asked: Whisper and other speech-seq2seq models, and CTC."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from auricle.backends.transformers.base import TransformersBackend, clips_of, one_by_one
from auricle.backends.transformers.generation import Generator, Job
from auricle.backends.transformers.hearing import heard
from auricle.backends.transformers.loading import Loaded
from auricle.errors import AuricleError, OptionError, UnsupportedError
from auricle.types import Answer, Ask, Chunk, Sampling, Segment, Timings

WHISPER_START = 4  # tokens that its answer begins with: start, language, task, no time stamps


class _SpeechBackend(TransformersBackend):
    """Transcribes clip by clip; a subclass says how one is."""

    does = "only transcribes"

    def transcribe_many(
        self, askings: Iterable[Callable[[], Ask]], language: str
    ) -> Iterator[Answer | AuricleError] | None:
        options, note = self.language(language)
        first = [(note,) if note else ()]

        def stream(ask: Ask) -> Iterator[Chunk]:
            self.refuse_native_terms(ask)
            self.refuse_constraints(ask.sampling)
            return self.written(ask, options, first.pop() if first else ())

        return one_by_one(askings, stream)

    def language(self, language: str) -> tuple[dict[str, Any], str]:
        """Options of `generate` that set the language spoken, and what the user should know of it."""
        note = (
            f"{self.loaded.name} takes no language: it writes what it was trained on, whether that is {language} or not"
        )
        return {}, "" if language == "English" else note  # which is what nobody asked for

    def written(self, ask: Ask, options: dict[str, Any], notes: tuple[str, ...]) -> Iterator[Chunk]:
        """One clip, written down."""
        raise NotImplementedError

    def refuse_constraints(self, sampling: Sampling) -> None:
        for option in ("choices", "regex", "json_schema"):
            if getattr(sampling, option):
                self.refuse(f"be held to {option}", "choose an audio-text-to-text model")


class SeqToSeqBackend(_SpeechBackend):
    """See `backends.Backend`."""

    def __init__(self, loaded: Loaded, load_s: float) -> None:
        super().__init__(loaded, load_s)
        self.generator = Generator(loaded.model, loaded.tokenizer, loaded.device)
        self._settings = loaded.model.generation_config

    def language(self, language: str) -> tuple[dict[str, Any], str]:
        """Whisper's option where the checkpoint has it: names as in English, or codes as "de"."""
        known: dict[str, int] = getattr(self._settings, "lang_to_id", None) or {}
        if not known:
            if getattr(self._settings, "is_multilingual", None) is False and language.lower() not in ("english", "en"):
                raise OptionError(
                    f"{self.loaded.name} knows English only, and language is {language!r}: choose another"
                )
            return super().language(language)
        from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

        name = language.lower()
        code = TO_LANGUAGE_CODE.get(name, name)
        if f"<|{code}|>" not in known:
            names = [LANGUAGES.get(token.strip("<|>"), token.strip("<|>")) for token in sorted(known)]
            some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise OptionError(f"{self.loaded.name} has no language {language!r} among its {len(names)}: {some}")
        return {"language": code, "task": "transcribe"}, ""

    def written(self, ask: Ask, options: dict[str, Any], notes: tuple[str, ...]) -> Iterator[Chunk]:
        return self.generator.stream(ask, lambda: self._job(ask, options, notes))

    def _job(self, ask: Ask, options: dict[str, Any], notes: tuple[str, ...]) -> Job:
        begun = time.perf_counter()
        (clip,) = clips_of(ask)
        inputs = heard(self.loaded, clip)
        limit = getattr(self.loaded.model.config, "max_target_positions", None)
        budget = ask.sampling.max_tokens if limit is None else min(ask.sampling.max_tokens, limit - WHISPER_START)
        segment = Segment(
            clip.source, clip.start_s, clip.start_s + clip.seconds, 0
        )  # heard beside the prompt, not in it
        spent = time.perf_counter() - begun
        return Job(inputs, budget, [], (segment,), notes, options=options, mel_s=spent)


class CtcBackend(_SpeechBackend):
    """See `backends.Backend`. All is written at once: a frame's letter does not depend on those before it."""

    def __init__(self, loaded: Loaded, load_s: float) -> None:
        super().__init__(loaded, load_s)
        if not hasattr(loaded.tokenizer, "batch_decode"):
            raise UnsupportedError(f"{loaded.folder} has no tokenizer, so that it can't write: fetch the model again")

    def written(self, ask: Ask, options: dict[str, Any], notes: tuple[str, ...]) -> Iterator[Chunk]:
        if ask.sampling.temperature > 0 or ask.sampling.stop:
            self.refuse("sample or take stop strings", "leave them out")
        started = time.perf_counter()
        (clip,) = clips_of(ask)
        inputs = heard(self.loaded, clip)
        featured = time.perf_counter()
        with torch.inference_mode(), self.failing():
            ids = self.loaded.model(**inputs).logits.argmax(dim=-1)  # (1, frames)
            text = self.loaded.processor.batch_decode(ids)[0].strip()
        now = time.perf_counter()
        self.refuse_late(ask, now - started)
        frames = tuple(ids[0].tolist())
        segment = Segment(clip.source, clip.start_s, clip.start_s + clip.seconds, len(frames))
        timings = Timings(
            mel_s=featured - started, encoder_s=now - featured, ttft_s=now - started, total_s=now - started
        )
        answer = Answer(text, frames, "stop", 0, (segment,), timings, notes)
        yield Chunk(text)
        yield Chunk("", answer)
