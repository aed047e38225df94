"""Audio-text-to-text models: asked about sounds, in the words of their own template."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from auricle.backends.transformers.base import TransformersBackend
from auricle.backends.transformers.generation import Generator, Job
from auricle.backends.transformers.loading import Loaded
from auricle.backends.transformers.prompts import Prompts
from auricle.backends.transformers.scoring import scored
from auricle.checkpoint import Checkpoint
from auricle.engine.constraint import Constraints, Held
from auricle.errors import PromptError, UnsupportedError
from auricle.models.text import TextCodec
from auricle.types import Ask, Chunk, Labels, Sampling, Scores


class AskedBackend(TransformersBackend):
    """See `backends.Backend`."""

    does = "answers questions"

    def __init__(self, loaded: Loaded, load_s: float) -> None:
        super().__init__(loaded, load_s)
        self.prompts = Prompts(loaded)
        self.generator = Generator(loaded.model, loaded.tokenizer, loaded.device)
        text = loaded.model.config.get_text_config()
        self.context: int | None = getattr(text, "max_position_embeddings", None)
        self._constraints: Constraints | None = None
        if not self.prompts.has_template:
            self.notes = (
                f"{loaded.name} has no chat template: it reads the question as it is, and goes on from there",
            )

    def stream(self, ask: Ask) -> Iterator[Chunk]:
        self.refuse_native_terms(ask)
        held = self._held(ask.sampling)
        return self.generator.stream(ask, lambda: self._job(ask, held))

    def transcribe_many(self, askings: Iterable[Callable[[], Ask]], language: str) -> None:
        return None  # it is asked to, with an instruction

    @property
    def own_labels(self) -> None:
        return None

    def classify(self, ask: Ask) -> Labels | None:
        return None

    def spelt(self, answer: str) -> tuple[int, ...]:
        tokenizer = self.loaded.tokenizer
        ids = tokenizer.encode(answer, add_special_tokens=False)
        written = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return tuple(ids) if written == answer else ()

    def score(self, ask: Ask, choices: Sequence[str]) -> Scores:
        self.refuse_native_terms(ask)
        return scored(self, ask, choices)

    def fitted(self, ask: Ask) -> tuple[dict[str, Any], tuple[Any, ...], int]:
        """Inputs and segments of a request, and how many tokens are left for an answer."""
        inputs, segments = self.prompts.inputs(ask.messages)
        length = inputs["input_ids"].shape[1]
        left = self.context - length if self.context is not None else ask.sampling.max_tokens
        if left <= 0:
            raise PromptError(
                f"the prompt has {length} tokens and the model's context holds {self.context}: use less sound, "
                "fewer turns, or a model with a longer context"
            )
        return inputs, segments, left

    def _job(self, ask: Ask, held: Held | None) -> Job:
        begun = time.perf_counter()
        inputs, segments, left = self.fitted(ask)
        self.synchronise()
        return Job(
            inputs=inputs,
            budget=min(ask.sampling.max_tokens, left),
            prompt_ids=inputs["input_ids"][0].tolist(),
            segments=segments,
            held=held,
            mel_s=time.perf_counter() - begun,
        )

    def _held(self, sampling: Sampling) -> Held | None:
        if not (sampling.choices or sampling.regex or sampling.json_schema):
            return None
        if self._constraints is None:
            folder = self.loaded.folder
            if not (folder / "tokenizer.json").is_file():
                raise UnsupportedError(
                    f"a constraint needs tokenizer.json, which {folder} does not have: ask without one, "
                    "or choose a model that has it"
                )
            vocabulary = self.loaded.model.get_output_embeddings().weight.shape[0]
            codec = TextCodec(Checkpoint(folder))
            self._constraints = Constraints(codec, vocabulary, self.generator.stop_ids)
        return self._constraints.start(sampling)
