"""The native backend: Auricle's own engine on a checkpoint folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial

import torch

from auricle.backends import Scoring
from auricle.checkpoint import Checkpoint
from auricle.engine import embed
from auricle.engine.answer import AnswerGoal
from auricle.engine.constraint import Constraints
from auricle.engine.device import choose_device, choose_dtype, use_threads
from auricle.engine.hearing import heard_together
from auricle.engine.live import Session
from auricle.engine.request import Request, request_of
from auricle.engine.scheduler import Scheduler
from auricle.engine.score import ScoreGoal
from auricle.engine.store import Store
from auricle.errors import AuricleError, OptionError
from auricle.hub import ModelName, find
from auricle.layers import native
from auricle.layers.packing import read_packing
from auricle.models.family import Prompt, open_family
from auricle.types import (
    Answer,
    Ask,
    Audio,
    CacheUse,
    Chunk,
    Embedding,
    Extraction,
    HiddenStates,
    Layers,
    Listening,
    Sampling,
    Scheduling,
    Scores,
    StageShape,
)


class NativeBackend:
    """See `backends.Backend`."""

    def __init__(
        self,
        model: ModelName,
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        cache_mb: float = 256,
        scheduling: Scheduling | None = None,
        encoder_only: bool = False,
    ) -> None:
        begun = time.perf_counter()
        store = Store(round(cache_mb * 1_000_000))
        chosen = choose_device(device)
        use_threads(threads)
        checkpoint = Checkpoint(find(model))
        self._revision = cache(checkpoint.revision)  # reads from every weight file: only when it is asked for
        self.family = open_family(checkpoint)
        self.encoder_only = encoder_only
        self.family.load(chosen, choose_dtype(dtype, chosen, self.family.parameters()), encoder_only=encoder_only)
        self.scheduler = Scheduler(self.family, store, scheduling, all_threads=threads is not None)
        self._constraints = Constraints(self.family.codec, self.family.vocabulary, self.family.stop_ids)
        self.notes = (*_notes(checkpoint, chosen, self.family.dtype), *self.family.notes)
        self.hears, self.rate = self.family.hears, self.family.rate
        self.max_clip_seconds = self.family.max_clip_seconds
        self.order = self.family.order
        self.load_s = time.perf_counter() - begun

    def stream(self, ask: Ask) -> Iterator[Chunk]:
        yield from self.scheduler.chunks(self.scheduler.submit(self._request(ask)))

    def many(self, askings: Iterable[Callable[[], Ask]]) -> Iterator[Answer | AuricleError]:
        return self.scheduler.many(partial(self._made, asking) for asking in askings)

    def transcribe_many(self, askings: Iterable[Callable[[], Ask]], language: str) -> None:
        return None  # it is asked to, with an instruction

    @property
    def own_labels(self) -> None:
        return None

    def classify(self, ask: Ask) -> None:
        return None

    def spelt(self, answer: str) -> tuple[int, ...]:
        ids = self.family.codec.encode(answer)
        return tuple(ids) if self.family.codec.decode(ids) == answer else ()

    def score(self, ask: Ask, choices: Sequence[str]) -> Scores:
        scores: Scores = self.scheduler.result(self.scheduler.submit(self._scoring(lambda: ask, choices)))
        return scores

    def score_many(self, askings: Iterable[Scoring]) -> Iterator[Scores | AuricleError]:
        makings = (partial(self._scoring, asking, choices) for asking, choices in askings)
        return self.scheduler.many(heard_together(self.scheduler, makings))

    def listen(self, text: str, listening: Listening, sampling: Sampling, *, each_clip: bool) -> Session:
        self._require_whole("listen")
        self._constraints.start(sampling)  # an impossible one is told before anything is said
        goal_of = partial(self._goal, sampling)
        return Session(self.scheduler, text, listening, goal_of, each_clip=each_clip, max_tokens=sampling.max_tokens)

    @property
    def stages(self) -> Mapping[str, StageShape]:
        return {name: shape for name, shape in self.family.stages.items() if name != "llm" or not self.encoder_only}

    def check(self, audio: Audio) -> None:
        embed.check(self.family, audio)

    def embed(self, audios: Sequence[Audio], extraction: Extraction) -> list[Embedding]:
        if extraction.stage == "llm":
            self._require_whole("embed from stage 'llm'")
        return embed.embed(self.family, self.scheduler.alone, audios, extraction)

    def hidden_states(self, ask: Ask, layers: Layers) -> HiddenStates:
        self._require_whole("give hidden states")
        return embed.hidden_states(self.family, self.scheduler.alone, ask, layers)

    def provenance(self) -> dict[str, str | None]:
        dtype = str(self.family.dtype).removeprefix("torch.")
        return {"backend": "native", "revision": self._revision(), "device": str(self.family.device), "dtype": dtype}

    def cache_use(self) -> CacheUse:
        return self.scheduler.prefixes.store.use()

    def _require_whole(self, what: str) -> None:
        if self.encoder_only:
            raise OptionError(f"this model was loaded with encoder_only and can't {what}: load it whole, without that")

    def _scoring(self, asking: Callable[[], Ask], choices: Sequence[str]) -> Request:
        self._require_whole("score")
        return request_of(self.family, asking(), lambda prompt: ScoreGoal(self.family, choices, prompt.ids))

    def _made(self, asking: Callable[[], Ask]) -> Request:
        return self._request(asking())

    def _request(self, ask: Ask) -> Request:
        self._require_whole("answer")
        return request_of(self.family, ask, partial(self._goal, ask.sampling))

    def _goal(self, sampling: Sampling, prompt: Prompt) -> AnswerGoal:
        return AnswerGoal(self.family, sampling, prompt.ids, self._constraints.start(sampling))


def _notes(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Iterator[str]:
    packing = read_packing(checkpoint.config, checkpoint.folder)
    if packing is None or device.type != "cpu" or native.takes(torch.empty(0, dtype=dtype)):
        return
    reason = native.missing() or f"they know no {str(dtype).removeprefix('torch.')}"
    yield (
        f"{checkpoint.folder} is packed in {packing.scheme} and the kernels can't run it here ({reason}): "
        "torch's own operators do, slower and in the memory of a dense model"
    )
