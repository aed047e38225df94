"""A model on an OpenAI-compatible server, behind the protocol of all backends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from auricle.backends.openai.exchange import Exchange
from auricle.backends.openai.line import Line
from auricle.backends.openai.many import in_order
from auricle.backends.openai.server import open_server
from auricle.errors import AuricleError, OptionError, UnsupportedError
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
    Remote,
    Sampling,
    Scheduling,
    Scores,
    StageShape,
)

NATIVE = "a native model, such as tiny or google/gemma-4-E2B-it, does"


class OpenaiBackend:
    """See `backends.Backend`."""

    rate = 16_000  # what all families that are served so hear
    max_clip_seconds = 30.0  # what Gemma 4 and Qwen2-Audio hear at once; vLLM would cut a longer clip without a word
    order: Order = "text-first"  # how the model was trained, a server does not say

    def __init__(
        self,
        model: ModelName,
        *,
        remote: Remote | None = None,
        scheduling: Scheduling | None = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        **_: Any,  # caches are the server's
    ) -> None:
        begun = time.perf_counter()
        for name, value, neutral in (("device", device, "auto"), ("dtype", dtype, "auto"), ("threads", threads, None)):
            if value != neutral:
                raise OptionError(
                    f"{name} is {value!r}, and openai:{model.name} runs where its server runs: leave it out"
                )
        self.server = open_server(model, remote or Remote())
        self.max_running = (scheduling or Scheduling()).max_running
        self.notes: tuple[str, ...] = ()
        self.load_s = time.perf_counter() - begun

    def stream(self, ask: Ask) -> Iterator[Chunk]:
        return self._stream(ask, Line())

    def many(self, askings: Iterable[Callable[[], Ask]]) -> Iterator[Answer | AuricleError]:
        return in_order(askings, self._stream, self.max_running)

    def transcribe_many(self, askings: Iterable[Callable[[], Ask]], language: str) -> None:
        return None  # it is asked to, with an instruction

    def classify(self, ask: Ask) -> Labels | None:
        self._refuse("classify", "ask it with choices, or use a model with a classification head")

    def score(self, ask: Ask, choices: Sequence[str]) -> Scores:
        self._refuse("score answers", f"ask it with choices, or score where the weights are: {NATIVE}")

    def listen(self, text: str, listening: Listening, sampling: Sampling, *, each_clip: bool) -> NoReturn:
        self._refuse("listen live", NATIVE)

    @property
    def stages(self) -> Mapping[str, StageShape]:
        return {}

    def check(self, audio: Audio) -> None:
        self._refuse("be looked into", NATIVE)

    def embed(self, audios: Sequence[Audio], extraction: Extraction) -> list[Embedding]:
        self._refuse("be looked into", NATIVE)

    def hidden_states(self, ask: Ask, layers: Layers) -> HiddenStates:
        self._refuse("be looked into", NATIVE)

    def provenance(self) -> dict[str, str | None]:
        """Which weights a server has, on what and in what numbers, it does not say."""
        return {"backend": f"openai {version('openai')}", "revision": None, "device": None, "dtype": None}

    def cache_use(self) -> CacheUse:
        return CacheUse(0, 0, 0, 0, 0, 0, 0, 0, 0)

    def _stream(self, ask: Ask, line: Line) -> Iterator[Chunk]:
        for option in ("zero_audio", "trace"):
            if getattr(ask, option):
                raise UnsupportedError(
                    f"{option} looks into the model, and openai:{self.server.model} can't be looked into: {NATIVE}"
                )
        return Exchange(self.server, ask, line).chunks()

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise UnsupportedError(f"openai:{self.server.model} is asked on a server and can't {what}: {instead}")
