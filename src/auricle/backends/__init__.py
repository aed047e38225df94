"""Who answers: a backend turns messages into a stream of chunks. The registry maps a name to where it is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from auricle.errors import AuricleError
from auricle.hub import ModelName
from auricle.types import (
    Answer,
    Ask,
    Audio,
    CacheUse,
    Chunk,
    Embedding,
    Extraction,
    HiddenStates,
    Labels,
    Layers,
    Listening,
    Order,
    Sampling,
    Scores,
    StageShape,
)

if TYPE_CHECKING:
    from auricle.engine.live import Session

# name -> "module:attribute" of a callable `(model: ModelName, **settings) -> Backend`; settings: those of `api.load`
BACKENDS = {
    "native": "auricle.backends.native:NativeBackend",
    "transformers": "auricle.backends.transformers.backend:open_transformers",
    "openai": "auricle.backends.openai.backend:OpenaiBackend",
}

Scoring: TypeAlias = tuple[Callable[[], Ask], Sequence[str]]
"""What makes a request, and the answers to score."""


class Backend(Protocol):
    """A loaded model. What a backend can't do is an error that says so."""

    hears: bool  # whether it can take sound; what can't be known of a server is taken to be so
    rate: int  # of the sound it takes, in Hz
    max_clip_seconds: float
    order: Order  # what stands first in a prompt unless somebody says so: as the model was trained
    load_s: float  # how long loading took
    notes: tuple[str, ...]  # what the user should know about how it runs here

    def stream(self, ask: Ask) -> Iterator[Chunk]:
        """Answers, as it comes; the last chunk carries the Answer. Closing the iterator cancels the request."""

    def many(self, askings: Iterable[Callable[[], Ask]]) -> Iterator[Answer | AuricleError]:
        """Answers any number of requests, several at a time, in order; each is made when its turn is near."""

    def transcribe_many(
        self, askings: Iterable[Callable[[], Ask]], language: str
    ) -> Iterator[Answer | AuricleError] | None:
        """As `many`, of requests of one clip each and no text: what is said in it.

        None, before anything is taken, means that the model has no way of its own to transcribe: it is asked to.
        """

    @property
    def own_labels(self) -> tuple[str, ...] | None:
        """Those of a classification head; None where there is none, and the model is asked."""

    def classify(self, ask: Ask) -> Labels | None:
        """The model's own labels for a request of one clip and no text; None when it has none, and is asked."""

    def spelt(self, answer: str) -> tuple[int, ...]:
        """The tokens that an answer to score is made of; none where the tokenizer can't write it to the letter."""

    def score(self, ask: Ask, choices: Sequence[str]) -> Scores:
        """How likely each of these answers is."""

    def score_many(self, askings: Iterable[Scoring]) -> Iterator[Scores | AuricleError]:
        """As `score`, of any number of requests, several at a time, in order; each is made when its turn is near."""

    def listen(self, text: str, listening: Listening, sampling: Sampling, *, each_clip: bool) -> Session:
        """A live session about an instruction; with `each_clip`, every clip is answered by itself."""

    @property
    def stages(self) -> Mapping[str, StageShape]:
        """Where `embed` can take vectors from; none where the backend can't look inside the model."""

    def check(self, audio: Audio) -> None:
        """A sound at the model's rate that is too short to embed is a SoundError."""

    def embed(self, audios: Sequence[Audio], extraction: Extraction) -> list[Embedding]:
        """Vectors of sounds at the model's rate, of any length, computed together."""

    def hidden_states(self, ask: Ask, layers: Layers) -> HiddenStates:
        """What the decoder's layers give in one forward pass over a request's prompt."""

    def provenance(self) -> dict[str, str | None]:
        """What made its numbers: "backend", "revision" (which weights), "device", "dtype"; None what it can't know."""

    def cache_use(self) -> CacheUse:
        """What is kept of earlier requests."""


def open_backend(model: ModelName, **settings: Any) -> Backend:
    """Loads a model with the backend that its name asks for."""
    module, _, attribute = BACKENDS[model.backend].partition(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)(model, **settings)
    return backend
