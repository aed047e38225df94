"""A model on an OpenAI-compatible server, behind the protocol of all backends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

from auricle.backends import Scoring
from auricle.backends.openai.exchange import Exchange
from auricle.backends.openai.line import Line
from auricle.backends.openai.many import in_order
from auricle.backends.openai.server import open_server
from auricle.backends.refusing import NATIVE, Refusing
from auricle.errors import AuricleError, OptionError
from auricle.hub import ModelName
from auricle.types import (
    Answer,
    Ask,
    Chunk,
    Labels,
    Order,
    Remote,
    Scheduling,
    Scores,
)


class OpenaiBackend(Refusing):
    """See `backends.Backend`."""

    does = "is asked on a server"
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
        self.name = f"openai:{model.name}"
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

    @property
    def own_labels(self) -> None:
        return None

    def spelt(self, answer: str) -> tuple[int, ...]:
        self.refuse("classify", "ask it with choices, or use a model with a classification head")

    def classify(self, ask: Ask) -> Labels | None:
        self.refuse("classify", "ask it with choices, or use a model with a classification head")

    def score(self, ask: Ask, choices: Sequence[str]) -> Scores:
        self.refuse("score answers", f"ask it with choices, or score where the weights are: {NATIVE}")

    def score_many(self, askings: Iterable[Scoring]) -> Iterator[Scores | AuricleError]:
        self.refuse("score answers", f"ask it with choices, or score where the weights are: {NATIVE}")

    def provenance(self) -> dict[str, str | None]:
        """Which weights a server has, on what and in what numbers, it does not say."""
        return {"backend": f"openai {version('openai')}", "revision": None, "device": None, "dtype": None}

    def _stream(self, ask: Ask, line: Line) -> Iterator[Chunk]:
        self.refuse_native_terms(ask)
        return Exchange(self.server, ask, line).chunks()
