"""A measurement from beginning to end: engines in turns on the same sound, medians, and by how much ours is ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.bench import machine
from auricle.bench.engines import RATE, Contestant, Footprint, Loading, Run
from auricle.bench.llama import LlamaCpp, LlamaFiles
from auricle.bench.worker import Worker
from auricle.errors import OptionError

MAX_SECONDS = 30.0  # one clip: longer sound is cut, and peers cut it elsewhere
# What is compared; the flag says whether more is better.
MEASURES = {
    "mel_s": False,
    "encoder_s": False,
    "prefill_s": False,
    "ttft_s": False,
    "decode_tokens_per_s": True,
    "total_s": False,
}

Opening = Callable[[], Contestant]
Said = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How much is measured, and on what."""

    seconds: float = 30.0  # of sound
    tokens: int = 33  # in each answer: the first, and those after it, whose speed is the decode speed
    runs: int = 5  # measured rounds, after one that warms up
    threads: int = 1
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= MAX_SECONDS:
            raise OptionError(
                f"seconds is {self.seconds:g}; it must be above 0 and at most {MAX_SECONDS:g}, which is one clip"
            )
        if self.tokens < 2:
            raise OptionError(f"tokens is {self.tokens}; it must be at least 2: the first gives no decode speed")
        if self.runs < 1:
            raise OptionError(f"runs is {self.runs}; it must be at least 1")
        if self.threads < 1:
            raise OptionError(f"threads is {self.threads}; it must be at least 1")


@dataclass(frozen=True)
class Measured:
    """One engine's figures."""

    runs: tuple[Run, ...]
    footprint: Footprint

    def median(self, measure: str) -> float | None:
        """Of a measure; None when the engine doesn't tell it."""
        values = [getattr(run, measure) for run in self.runs]
        return None if None in values else median(values)


def ours(folder: Path, settings: Settings) -> Opening:
    """Auricle on a checkpoint folder."""
    return partial(Worker, "auricle", _loading(folder, settings))


def transformers(folder: Path, settings: Settings) -> Opening:
    """The reference implementation on a dense checkpoint folder."""
    return partial(Worker, "transformers", _loading(folder, settings))


def llama_cpp(files: LlamaFiles, settings: Settings) -> Opening:
    """llama.cpp on its own files."""
    return partial(LlamaCpp, files, settings.threads)


def measure(
    own: Mapping[str, Opening],
    peers: Mapping[str, Opening],
    settings: Settings,
    *,
    load_average: float | None = None,
    said: Said | None = None,
) -> dict[str, Any]:
    """Measures everybody in turns.

    Args:
        own: what is ours, by the name it gets in the result; one or several (other schemes of the same model).
        peers: what ours is compared with.
        load_average: of the machine before we were at work; None is now.
        said: told what is going on, a line at a time.

    Returns:
        What is written down, ready for JSON: `date`, `versions`, `machine`, `settings`, `notes`, `engines` (name ->
        medians, footprint and every run) and `times_ahead` (name of ours -> peer -> measure -> median and pairs).

    Raises:
        AuricleError: an engine failed; the message says which, and why.
    """
    load_average = machine.load_average() if load_average is None else load_average
    measured, rates = _in_turns({**own, **peers}, settings, said or (lambda line: None))
    first = next(iter(measured.values())).footprint
    about = machine.describe(settings.threads, first.device)
    about["machine"]["load_average"] = load_average  # by now it is ours
    about["machine"]["memory_gb_per_s"][str(settings.threads)] = median(rates)
    about["machine"]["memory_gb_per_s_in_rounds"] = rates
    prompt_tokens = {name: one.runs[0].prompt_tokens for name, one in measured.items()}
    return {
        **about,
        "settings": {**asdict(settings), "device": first.device, "dtype": first.dtype},
        "notes": _notes(load_average, prompt_tokens),
        "engines": {name: _record(one, _bandwidth(about["machine"])) for name, one in measured.items()},
        "times_ahead": {
            name: {peer: _ahead(measured[name], measured[peer]) for peer in peers} for name in own if peers
        },
    }


def sound(seconds: float) -> NDArray[np.float32]:
    """Noise and a tone: `(samples,)` at `RATE`."""
    count = round(seconds * RATE)
    noise = np.random.default_rng(0).standard_normal(count) * 0.1
    tone = np.sin(2 * np.pi * 440 * np.arange(count) / RATE) * 0.2
    return (noise + tone).astype(np.float32)


def _loading(folder: Path, settings: Settings) -> Loading:
    return Loading(str(folder), settings.device, settings.dtype, settings.threads)


def _in_turns(
    openings: Mapping[str, Opening], settings: Settings, said: Said
) -> tuple[dict[str, Measured], list[float]]:
    """Rounds of requests, each beginning with another engine, after a round that warms up.

    Before each round the rate at which memory is read is measured, in GB/s: where others share the memory it changes.
    """
    samples = sound(settings.seconds)
    names = list(openings)
    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {}
        for name, opening in openings.items():
            said(f"loading {name}")
            contestants[name] = opening()
            stack.callback(contestants[name].stop)
        runs: dict[str, list[Run]] = {name: [] for name in names}
        rates = []
        for number in range(settings.runs + 1):
            first = number % len(names)
            if number:
                rates.append(machine.memory_gb_per_s(settings.threads))
            for name in names[first:] + names[:first]:
                turn = f"{f'round {number} of {settings.runs}' if number else 'warming up'}: {name}"
                said(turn)
                run = contestants[name].run(samples, settings.tokens)
                said(f"{turn}, TTFT {run.ttft_s:.2f} s, decode {run.decode_tokens_per_s:.1f} tokens/s")
                if number:
                    runs[name].append(run)
        return {name: Measured(tuple(runs[name]), one.close()) for name, one in contestants.items()}, rates


def _record(measured: Measured, gb_per_s: float) -> dict[str, Any]:
    medians = {measure: measured.median(measure) for measure in MEASURES}
    record = {**medians, **asdict(measured.footprint), "prompt_tokens": measured.runs[0].prompt_tokens}
    active, speed = measured.footprint.active_weight_gb, medians["decode_tokens_per_s"]
    if active is not None and speed is not None:
        record["bandwidth_share"] = speed * active / gb_per_s
    return {**record, "runs": [asdict(run) for run in measured.runs]}


def _bandwidth(described: dict[str, Any]) -> float:
    """GB/s at which the weights can be read: by all threads, or by the card."""
    card: float | None = described.get("card_memory_gb_per_s")
    return card or max(described["memory_gb_per_s"].items(), key=lambda item: int(item[0]))[1]


def _ahead(one: Measured, peer: Measured) -> dict[str, Any]:
    """How many times better than a peer: the ratio within each round, and their median."""
    found = {}
    for measure, more_is_better in MEASURES.items():
        if one.median(measure) is None or peer.median(measure) is None:
            continue
        pairs = [getattr(a, measure) / getattr(b, measure) for a, b in zip(one.runs, peer.runs, strict=True)]
        pairs = pairs if more_is_better else [1 / ratio for ratio in pairs]
        found[measure] = {"median": median(pairs), "pairs": pairs}
    return found


def _notes(load: float, prompt_tokens: Mapping[str, int]) -> Sequence[str]:
    notes = []
    if load > machine.BUSY:
        notes.append(
            f"the machine was at work before (load average {load}): figures may be off, and not equally for all"
        )
    if len(set(prompt_tokens.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in prompt_tokens.items())
        notes.append(f"the prompts differ in length, in tokens: {said}")
    return notes
