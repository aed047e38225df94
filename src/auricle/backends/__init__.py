"""Who answers: a backend turns messages into a stream of chunks. The registry maps a name to where it is."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Protocol

from auricle.hub import ModelName
from auricle.types import Chunk, Message, Sampling

# name -> "module:attribute" of a callable `(model: ModelName, device, dtype) -> Backend`
BACKENDS = {"native": "auricle.backends.native:NativeBackend"}


class Backend(Protocol):
    """A loaded model."""

    rate: int  # of the sound it takes, in Hz
    max_clip_seconds: float
    load_s: float  # how long loading took
    notes: tuple[str, ...]  # what the user should know about how it runs here

    def stream(
        self,
        messages: list[Message],
        sampling: Sampling,
        *,
        zero_audio: bool,
        trace: bool,
    ) -> Iterator[Chunk]:
        """See `engine.generate.stream`."""


def open_backend(model: ModelName, **settings: Any) -> Backend:
    """Loads a model with the backend that its name asks for."""
    module, _, attribute = BACKENDS[model.backend].partition(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)(model, **settings)
    return backend
