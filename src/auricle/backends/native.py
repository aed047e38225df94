"""The native backend: Auricle's own engine on a checkpoint folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch

from auricle.checkpoint import Checkpoint
from auricle.engine.answer import AnswerGoal
from auricle.engine.constraint import Constraints
from auricle.engine.device import choose_device, choose_dtype, use_threads
from auricle.engine.live import Session
from auricle.engine.request import Request, request_of
from auricle.engine.scheduler import Scheduler
from auricle.engine.score import ScoreGoal
from auricle.engine.store import Store
from auricle.errors import AuricleError
from auricle.hub import ModelName, find
from auricle.layers import native
from auricle.layers.packing import read_packing
from auricle.models.family import Prompt, open_family
from auricle.types import Answer, Ask, CacheUse, Chunk, Listening, Sampling, Scheduling, Scores


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
    ) -> None:
        begun = time.perf_counter()
        store = Store(round(cache_mb * 1_000_000))
        chosen = choose_device(device)
        use_threads(threads)
        checkpoint = Checkpoint(find(model))
        self.family = open_family(checkpoint)
        self.family.load(chosen, choose_dtype(dtype, chosen, self.family.parameters()))
        self.scheduler = Scheduler(self.family, store, scheduling)
        self._constraints = Constraints(self.family.codec, self.family.vocabulary, self.family.stop_ids)
        self.notes = (*_notes(checkpoint, chosen, self.family.dtype), *self.family.notes)
        self.rate = self.family.rate
        self.max_clip_seconds = self.family.max_clip_seconds
        self.load_s = time.perf_counter() - begun

    def stream(self, ask: Ask) -> Iterator[Chunk]:
        yield from self.scheduler.chunks(self.scheduler.submit(self._request(ask)))

    def many(self, askings: Iterable[Callable[[], Ask]]) -> Iterator[Answer | AuricleError]:
        return self.scheduler.many(partial(self._made, asking) for asking in askings)

    def score(self, ask: Ask, choices: Sequence[str]) -> Scores:
        request = request_of(self.family, ask, lambda prompt: ScoreGoal(self.family, choices, prompt.ids))
        scores: Scores = self.scheduler.result(self.scheduler.submit(request))
        return scores

    def listen(self, text: str, listening: Listening, sampling: Sampling, *, each_clip: bool) -> Session:
        self._constraints.start(sampling)  # an impossible one is told before anything is said
        goal_of = partial(self._goal, sampling)
        return Session(self.scheduler, text, listening, goal_of, each_clip=each_clip, max_tokens=sampling.max_tokens)

    def cache_use(self) -> CacheUse:
        return self.scheduler.prefixes.store.use()

    def _made(self, asking: Callable[[], Ask]) -> Request:
        return self._request(asking())

    def _request(self, ask: Ask) -> Request:
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
