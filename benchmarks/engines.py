"""The two engines, timed in the same way: one request from samples to its last token, and where the time went.

Each runs in a process of its own, kept alive between requests, so that neither holds the other's memory or threads.
The weights are mapped from one file, whose pages both share.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
QUESTION = "What does the speaker say in this recording?"  # with 30 s of sound, a prompt of 770 tokens


@dataclass(frozen=True)
class Run:
    """One request. Times are in seconds."""

    mel_s: float
    encoder_s: float
    prefill_s: float
    ttft_s: float  # from the samples to the first token, all that stands between them included
    decode_tokens_per_s: float  # of the tokens after the first
    total_s: float
    prompt_tokens: int
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Footprint:
    """What an engine took. Memory counts mapped pages that were touched."""

    load_s: float  # without importing libraries
    peak_rss_gb: float
    version: str


class Engine(Protocol):
    load_s: float
    version: str

    def __init__(self, folder: Path, threads: int) -> None:
        """Loads the checkpoint in bfloat16 on the CPU."""

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        """Answers about a sound with exactly so many tokens, greedily; stop tokens don't end it."""


class Auricle:
    def __init__(self, folder: Path, threads: int) -> None:
        import auricle
        from auricle.backends.native import NativeBackend

        begun = time.perf_counter()
        self.model = auricle.load(str(folder), device="cpu", dtype="bfloat16", threads=threads)
        self.load_s = time.perf_counter() - begun
        self.version = auricle.__version__
        assert isinstance(self.model.backend, NativeBackend)
        self.model.backend.family.stop_ids = frozenset()

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        from auricle import Audio

        begun = time.perf_counter()
        answer = self.model.ask(Audio(samples, RATE), QUESTION, max_tokens=tokens)
        total_s = time.perf_counter() - begun
        timings = answer.timings
        before_s = total_s - timings.total_s  # what the library does before the engine's clock starts
        return Run(
            timings.mel_s,
            timings.encoder_s,
            timings.prefill_s,
            before_s + timings.ttft_s,
            timings.decode_tokens_per_s,
            total_s,
            answer.prompt_tokens,
            answer.tokens,
        )


class Transformers:
    """The reference. Its prompt is handed to it as ids: rendering it costs nothing here."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        import transformers
        from transformers import Gemma4AudioFeatureExtractor, Gemma4ForConditionalGeneration

        torch.set_num_threads(threads)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        begun = time.perf_counter()
        self.model, found = Gemma4ForConditionalGeneration.from_pretrained(
            folder, dtype=torch.bfloat16, output_loading_info=True
        )
        self.load_s = time.perf_counter() - begun
        self.version = transformers.__version__
        wrong = {kind: names for kind, names in found.items() if names}
        assert not wrong, f"the checkpoint does not fit: {wrong}"
        self.model.eval()
        self.model.generation_config.eos_token_id = None
        self.extractor = Gemma4AudioFeatureExtractor()
        self.prompt = _prompt(folder)
        self._encoder = [0.0, 0.0]  # when it began and ended
        self.model.model.audio_tower.register_forward_pre_hook(lambda *_: self._mark(0))
        self.model.model.embed_audio.register_forward_hook(lambda *_: self._mark(1))

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        import torch

        begun = time.perf_counter()
        features = self.extractor([samples], sampling_rate=RATE, return_tensors="pt")
        featured = time.perf_counter()
        stamps = _Stamps()
        given = self.model.generate(
            input_ids=self.prompt,
            attention_mask=torch.ones_like(self.prompt),
            input_features=features["input_features"].bfloat16(),
            input_features_mask=features["input_features_mask"],
            max_new_tokens=tokens,
            do_sample=False,
            streamer=stamps,
        )
        first, last = stamps.times[0], stamps.times[-1]
        assert len(stamps.times) == tokens
        encoder_s = self._encoder[1] - self._encoder[0]
        return Run(
            featured - begun,
            encoder_s,
            first - featured - encoder_s,
            first - begun,
            (tokens - 1) / (last - first),
            time.perf_counter() - begun,
            self.prompt.shape[1],
            tuple(given[0, self.prompt.shape[1] :].tolist()),
        )

    def _mark(self, end: int) -> None:
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


def _prompt(folder: Path) -> Any:
    """The ids that Auricle gives its own decoder for 30 s of sound: `(1, tokens)`."""
    import torch

    from auricle.checkpoint import Checkpoint
    from auricle.models.family import open_family
    from auricle.types import Audio, Message

    family = open_family(Checkpoint(folder))
    sound = Audio(np.zeros(30 * RATE, dtype=np.float32), RATE)
    message = Message("user", (QUESTION, sound))
    return torch.tensor([family.prompt([message], [family.audio_tokens(len(sound.samples))]).ids])


ENGINES: dict[str, type[Engine]] = {"auricle": Auricle, "transformers": Transformers}


class Worker:
    """An engine in a process of its own.

    Raises:
        RuntimeError: the engine failed; the message has its traceback.
    """

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, folder, threads), daemon=True)
        self._process.start()
        theirs.close()
        self._receive()

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        self._pipe.send((samples, tokens))
        run: Run = self._receive()
        return run

    def close(self) -> Footprint:
        self._pipe.send(None)
        footprint: Footprint = self._receive()
        self._process.join()
        return footprint

    def _receive(self) -> Any:
        try:
            kind, content = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"{self.name} ended with exit code {self._process.exitcode}: out of memory?") from None
        if kind == "error":
            raise RuntimeError(f"{self.name} failed:\n{content}")
        return content


def _serve(pipe: Connection, name: str, folder: Path, threads: int) -> None:
    try:
        engine = ENGINES[name](folder, threads)
        pipe.send(("ready", None))
        while (request := pipe.recv()) is not None:
            pipe.send(("run", engine.run(*request)))
        pipe.send(("footprint", Footprint(engine.load_s, _peak_rss_gb(), engine.version)))
    except Exception:
        pipe.send(("error", traceback.format_exc()))


def _peak_rss_gb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux has the parent's memory in it
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes on macOS
