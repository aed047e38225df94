"""What all models of the transformers library share, and what none or only some of them can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch

from auricle.backends import Scoring
from auricle.backends.refusing import Refusing
from auricle.backends.transformers.library import one_line
from auricle.backends.transformers.loading import Loaded
from auricle.errors import AuricleError, DeadlineError
from auricle.types import (
    Answer,
    Ask,
    Audio,
    Chunk,
    Labels,
    Order,
    Scores,
)


class TransformersBackend(Refusing):
    """See `backends.Backend`. A subclass answers what its models can do."""

    does = ""  # what such a model does, for messages about what it doesn't

    def __init__(self, loaded: Loaded, load_s: float) -> None:
        self.loaded, self.name = loaded, f"transformers:{loaded.name}"
        self.rate = loaded.rate
        self.max_clip_seconds = loaded.clip_seconds
        self.order: Order = "text-first"  # what a config does not say
        self.load_s = load_s
        self.notes: tuple[str, ...] = ()

    def stream(self, ask: Ask) -> Iterator[Chunk]:
        self.refuse("be asked", "choose an audio-text-to-text model")

    def many(self, askings: Iterable[Callable[[], Ask]]) -> Iterator[Answer | AuricleError]:
        """One after the other: `generate` has no way to take in requests while it runs."""
        return one_by_one(askings, self.stream)

    def transcribe_many(
        self, askings: Iterable[Callable[[], Ask]], language: str
    ) -> Iterator[Answer | AuricleError] | None:
        self.refuse("transcribe", "choose a model such as Whisper")

    @property
    def own_labels(self) -> tuple[str, ...] | None:
        self.refuse("classify", "choose a model with a classification head, or one that can be asked")

    def classify(self, ask: Ask) -> Labels | None:
        self.refuse("classify", "choose a model with a classification head, or one that can be asked")

    def score(self, ask: Ask, choices: Sequence[str]) -> Scores:
        self.refuse("score answers", "choose an audio-text-to-text model")

    def score_many(self, askings: Iterable[Scoring]) -> Iterator[Scores | AuricleError]:
        for asking, choices in askings:
            try:
                scores = self.score(asking(), choices)
            except AuricleError as error:
                yield error
            else:
                yield scores

    def provenance(self) -> dict[str, str | None]:
        return {
            "backend": f"transformers {self.loaded.version}",
            "revision": None,
            "device": str(self.loaded.device),
            "dtype": str(self.loaded.dtype).removeprefix("torch."),
        }

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Whatever a model of the library raises, as an error of ours."""
        try:
            yield
        except Exception as error:
            raise AuricleError(f"transformers failed on this request ({one_line(error)})") from error

    def refuse_late(self, ask: Ask, spent_s: float) -> None:
        """A model that hears a clip in one pass can't be stopped within: it is looked at afterwards."""
        if ask.timeout_s is not None and spent_s >= ask.timeout_s:
            raise overdue(ask.timeout_s)

    def synchronise(self) -> None:
        """Waits for the device, so that a time that is measured is true."""
        if self.loaded.device.type == "cuda":
            torch.cuda.current_stream(self.loaded.device).synchronize()


def one_by_one(
    askings: Iterable[Callable[[], Ask]], stream: Callable[[Ask], Iterator[Chunk]]
) -> Iterator[Answer | AuricleError]:
    """Each request's answer, or the error that it met, in its place."""
    for asking in askings:
        try:
            answer = None
            for chunk in stream(asking()):
                answer = chunk.answer
            assert answer is not None, "a stream ends with its answer"
        except AuricleError as error:
            yield error
        else:
            yield answer


def overdue(timeout_s: float) -> DeadlineError:
    return DeadlineError(
        f"the request was not done within its {timeout_s:g} s: give it more (timeout_s), "
        "ask for less, or send fewer requests at once"
    )


def clips_of(ask: Ask) -> list[Audio]:
    """The clips of a request, in the order of its messages."""
    return [part for message in ask.messages for part in message.parts if isinstance(part, Audio)]
