"""Who is measured, each in the same way: one request from samples to its last token, and where the time went.

Libraries are imported where they are needed: each engine runs in a process of its own (see `worker`), which has only
its own in memory.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from auricle.checkpoint import Checkpoint
from auricle.types import Audio, Message

RATE = 16_000
QUESTION = "What does the speaker say in this recording?"  # with 30 s of sound, a prompt of 770 tokens


@dataclass(frozen=True)
class Run:
    """One request. Times are in seconds; None is what an engine doesn't tell."""

    mel_s: float | None
    encoder_s: float
    prefill_s: float
    ttft_s: float  # from the samples to the first token, all that stands between them included
    decode_tokens_per_s: float  # of the tokens after the first
    total_s: float | None
    prompt_tokens: int


@dataclass(frozen=True)
class Footprint:
    """What an engine is and what it took. Memory counts mapped pages that were touched."""

    version: str
    device: str
    dtype: str  # of the computation, or what the weights are
    load_s: float | None  # until ready, without importing libraries
    peak_rss_gb: float | None
    active_weight_gb: float | None = None  # bytes of weights that one decode step reads, over 1e9
    kernels: str | None = None  # what multiplies packed weights, or why it is torch


@dataclass(frozen=True)
class Loading:
    """What an engine loads, and on what: arguments of `auricle.load`."""

    model: str  # a folder
    device: str
    dtype: str
    threads: int


class Contestant(Protocol):
    """One that is measured, as the measuring process sees it."""

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        """Answers about a sound `(samples,)` at `RATE` with exactly so many tokens, greedily."""

    def close(self) -> Footprint:
        """Ends it, and tells what it took."""

    def stop(self) -> None:
        """Ends it whatever it is doing; nothing when it has ended."""


class Engine(Protocol):
    """One that is measured, in its own process; built from a `Loading`, it is ready. Stop tokens end nothing."""

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        """See `Contestant.run`."""

    def footprint(self) -> Footprint:
        """What it is and took so far."""


class Auricle:
    """Ours, through the library as a user calls it."""

    def __init__(self, loading: Loading) -> None:
        import auricle
        from auricle.backends.native import NativeBackend

        begun = time.perf_counter()
        self.model = auricle.load(
            loading.model,
            device=loading.device,
            dtype=loading.dtype,
            threads=loading.threads,
            cache_mb=0,  # the same question again and again: remembered, it would cost nothing
        )
        self.load_s = time.perf_counter() - begun
        self.version = auricle.__version__
        assert isinstance(self.model.backend, NativeBackend)
        self.family = self.model.backend.family
        self.family.stop_ids = frozenset()

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        begun = time.perf_counter()
        answer = self.model.ask(Audio(samples, RATE), QUESTION, max_tokens=tokens)
        total_s = time.perf_counter() - begun
        timings = answer.timings
        before_s = total_s - timings.total_s  # what the library does before the engine's clock starts
        assert len(answer.tokens) == tokens
        return Run(
            mel_s=timings.mel_s,
            encoder_s=timings.encoder_s,
            prefill_s=timings.prefill_s,
            ttft_s=before_s + timings.ttft_s,
            decode_tokens_per_s=timings.decode_tokens_per_s,
            total_s=total_s,
            prompt_tokens=answer.prompt_tokens,
        )

    def footprint(self) -> Footprint:
        from auricle.bench.active import active_bytes
        from auricle.layers import native

        return Footprint(
            version=self.version,
            device=str(self.family.device),
            dtype=_named(self.family.dtype),
            load_s=self.load_s,
            peak_rss_gb=peak_rss_gb(),
            active_weight_gb=active_bytes(self.family) / 1e9,
            kernels=f"torch: {missing}" if (missing := native.missing()) else native.describe(),
        )


class Transformers:
    """The reference implementation. Its prompt is handed to it as ids: rendering it costs nothing here."""

    def __init__(self, loading: Loading) -> None:
        import torch

        from auricle.backends.references import library, reference_of
        from auricle.engine.device import choose_device, choose_dtype
        from auricle.models.family import open_family

        transformers = library()
        torch.set_num_threads(loading.threads)
        checkpoint = Checkpoint(Path(loading.model))
        self.family = open_family(checkpoint)  # for the prompt; its weights are not loaded
        self.device = choose_device(loading.device)
        self.dtype = choose_dtype(loading.dtype, self.device, self.family.parameters())
        self.reference = reference_of(transformers, checkpoint)
        begun = time.perf_counter()
        self.model = self.reference.load(self.device, self.dtype)
        self.load_s = time.perf_counter() - begun
        self.version = transformers.__version__
        self.model.generation_config.eos_token_id = None
        self._encoder = [0.0, 0.0]  # when it began and ended
        self.model.model.audio_tower.register_forward_pre_hook(lambda *_: self._mark(0))
        self.reference.projector(self.model).register_forward_hook(lambda *_: self._mark(1))

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        import torch

        prompt = self._prompt(samples)
        begun = time.perf_counter()
        heard = self.reference.hear(samples).inputs
        featured = time.perf_counter()
        stamps = _Stamps()
        self.model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            **{
                name: value.to(self.device, self.dtype) if value.is_floating_point() else value.to(self.device)
                for name, value in heard.items()
            },
            max_new_tokens=tokens,
            do_sample=False,
            streamer=stamps,
        )
        total_s = time.perf_counter() - begun
        first, last = stamps.times[0], stamps.times[-1]
        assert len(stamps.times) == tokens
        encoder_s = self._encoder[1] - self._encoder[0]
        return Run(
            mel_s=featured - begun,
            encoder_s=encoder_s,
            prefill_s=first - featured - encoder_s,
            ttft_s=first - begun,
            decode_tokens_per_s=(tokens - 1) / (last - first),
            total_s=total_s,
            prompt_tokens=prompt.shape[1],
        )

    def footprint(self) -> Footprint:
        return Footprint(self.version, str(self.device), _named(self.dtype), self.load_s, peak_rss_gb())

    def _prompt(self, samples: NDArray[np.float32]) -> Any:
        """The ids that Auricle gives its own decoder: `(1, tokens)`."""
        import torch

        message = Message("user", (QUESTION, Audio(samples, RATE)))
        ids = self.family.prompt([message], [self.family.audio_tokens(len(samples))]).ids
        return torch.tensor([ids], device=self.device)

    def _mark(self, end: int) -> None:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
        self._encoder[end] = time.perf_counter()


class _Stamps:
    """A streamer for `generate` that notes when each token came; the prompt, which comes first, is left out."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._prompt = True

    def put(self, ids: Any) -> None:
        if not self._prompt:
            self.times.append(time.perf_counter())
        self._prompt = False

    def end(self) -> None:
        pass


ENGINES: dict[str, Callable[[Loading], Engine]] = {"auricle": Auricle, "transformers": Transformers}


def peak_rss_gb() -> float:
    """The most memory that this process has held, mapped pages included, in GB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux has the parent's memory in it
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes on macOS


def _named(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
