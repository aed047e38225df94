"""What a backend that is not our own engine can't do, said as errors: it overrides what it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from auricle.errors import UnsupportedError
from auricle.types import (
    Ask,
    Audio,
    CacheUse,
    Embedding,
    Extraction,
    HiddenStates,
    Layers,
    Listening,
    Sampling,
    StageShape,
)

NATIVE = "a native model, such as tiny or google/gemma-4-E2B-it, does"


class Refusing:
    """The part of `backends.Backend` that needs the weights in our own hands."""

    name: str  # as it was asked for: "openai:NAME"
    does: str  # what it is for, in a few words
    hears = True

    def listen(self, text: str, listening: Listening, sampling: Sampling, *, each_clip: bool) -> NoReturn:
        self.refuse("listen live", NATIVE)

    @property
    def stages(self) -> Mapping[str, StageShape]:
        return {}

    def check(self, audio: Audio) -> None:
        self.refuse("be looked into", NATIVE)

    def embed(self, audios: Sequence[Audio], extraction: Extraction) -> list[Embedding]:
        self.refuse("be looked into", NATIVE)

    def hidden_states(self, ask: Ask, layers: Layers) -> HiddenStates:
        self.refuse("be looked into", NATIVE)

    def cache_use(self) -> CacheUse:
        return CacheUse(0, 0, 0, 0, 0, 0, 0, 0, 0)

    def spelt(self, answer: str) -> tuple[int, ...]:
        self.refuse("score answers", NATIVE)

    def refuse(self, what: str, instead: str) -> NoReturn:
        raise UnsupportedError(f"{self.name} {self.does} and can't {what}: {instead}")

    def refuse_native_terms(self, ask: Ask) -> None:
        """What only our own engine can do with a request."""
        for option in ("zero_audio", "trace"):
            if getattr(ask, option):
                raise UnsupportedError(f"{option} looks into the model, and {self.name} can't be looked into: {NATIVE}")
        if ask.sampling.logprobs is not None:
            self.refuse("say how likely its tokens were (logprobs)", NATIVE)
