"""Who answers: a backend turns messages into a stream of chunks. The registry maps a name to where it is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from auricle.errors import AuricleError
from auricle.hub import ModelName
from auricle.types import Answer, Ask, CacheUse, Chunk, Listening, Sampling, Scores

if TYPE_CHECKING:
    from auricle.engine.live import Session

# name -> "module:attribute" of a callable `(model: ModelName, **settings) -> Backend`; settings: those of `api.load`
BACKENDS = {"native": "auricle.backends.native:NativeBackend"}


class Backend(Protocol):
    """A loaded model. What a backend can't do is an error that says so."""

    rate: int  # of the sound it takes, in Hz
    max_clip_seconds: float
    load_s: float  # how long loading took
    notes: tuple[str, ...]  # what the user should know about how it runs here

    def stream(self, ask: Ask) -> Iterator[Chunk]:
        """Answers, as it comes; the last chunk carries the Answer. Closing the iterator cancels the request."""

    def many(self, askings: Iterable[Callable[[], Ask]]) -> Iterator[Answer | AuricleError]:
        """Answers any number of requests, several at a time, in order; each is made when its turn is near."""

    def score(self, ask: Ask, choices: Sequence[str]) -> Scores:
        """How likely each of these answers is."""

    def listen(self, text: str, listening: Listening, sampling: Sampling, *, each_clip: bool) -> Session:
        """A live session about an instruction; with `each_clip`, every clip is answered by itself."""

    def cache_use(self) -> CacheUse:
        """What is kept of earlier requests."""


def open_backend(model: ModelName, **settings: Any) -> Backend:
    """Loads a model with the backend that its name asks for."""
    module, _, attribute = BACKENDS[model.backend].partition(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)(model, **settings)
    return backend
