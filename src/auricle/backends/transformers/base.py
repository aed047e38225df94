"""What all models of the transformers library share, and what none or only some of them can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

import torch

from auricle.backends.transformers.library import one_line
from auricle.backends.transformers.loading import Loaded
from auricle.errors import AuricleError, DeadlineError, UnsupportedError
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

NATIVE = "a native model, such as tiny or google/gemma-4-E2B-it, does"


class TransformersBackend:
    """See `backends.Backend`. A subclass answers what its models can do."""

    does = ""  # what such a model does, for messages about what it doesn't

    def __init__(self, loaded: Loaded, load_s: float) -> None:
        self.loaded = loaded
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

    def classify(self, ask: Ask) -> Labels | None:
        self.refuse("classify", "choose a model with a classification head, or one that can be asked")

    def score(self, ask: Ask, choices: Sequence[str]) -> Scores:
        self.refuse("score answers", "choose an audio-text-to-text model")

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

    def provenance(self) -> dict[str, str | None]:
        return {
            "backend": f"transformers {self.loaded.version}",
            "revision": None,
            "device": str(self.loaded.device),
            "dtype": str(self.loaded.dtype).removeprefix("torch."),
        }

    def cache_use(self) -> CacheUse:
        return CacheUse(0, 0, 0, 0, 0, 0, 0, 0, 0)

    def refuse(self, what: str, instead: str) -> NoReturn:
        raise UnsupportedError(f"transformers:{self.loaded.name} {self.does} and can't {what}: {instead}")

    def refuse_native_terms(self, ask: Ask) -> None:
        """What only our own engine can do with a request."""
        for option in ("zero_audio", "trace"):
            if getattr(ask, option):
                raise UnsupportedError(
                    f"{option} looks into the model, and transformers:{self.loaded.name} can't be looked into: {NATIVE}"
                )

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
