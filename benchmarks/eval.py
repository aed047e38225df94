"""Clips a second of `auricle eval`, against the plain loops that one would write instead.

    python -m benchmarks.eval

`auricle eval` reads wav files, asks `tiny` with both orders of the labels (or Silero), and writes rows to the disk,
from the start of a fresh run to its table; loading is not counted. The loops read the same files with soundfile and ask
about one clip after the other, on fewer of them: `model.classify`, and Silero's own model over chunks of 512 samples
with its memory emptied before each clip. They take turns; every round has other clips: a model keeps what it has read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch

import auricle
from auricle.bench import machine
from auricle.evaluation.manifest import Clip
from auricle.evaluation.runner import evaluate
from auricle.evaluation.runner.asking import Asking

RATE, CHUNK = 16_000, 512
LABELS = ("speech", "nonspeech")
LENGTHS = {"20 to 1000 ms": (20, 40, 60, 80, 100, 200, 500, 1000), "1000 ms": (1000,)}  # of clips, in turns
BARS = {"tiny": 30, "silero": 200}  # clips a second
Rounds = list[dict[str, Any]]


def main() -> None:
    from benchmarks import tables

    options = _parser().parse_args()
    load_average = machine.load_average()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as work:
        found = {
            model: {name: race(model, lengths, options, Path(work)) for name, lengths in LENGTHS.items()}
            for model in BARS
        }
    about = machine.describe(options.threads, "cpu")
    about["machine"]["load_average"] = load_average
    result = {
        "benchmark": "eval",
        **about,
        "settings": {name: getattr(options, name) for name in ("clips", "loop_clips", "runs", "threads", "batch")},
        "bars": BARS,
        "rounds": found,
        "median": {model: {name: _medians(one) for name, one in kinds.items()} for model, kinds in found.items()},
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(tables.evaluation(result))


def race(model: str, lengths: Sequence[int], options: argparse.Namespace, work: Path) -> Rounds:
    """Clips a second of both in every round, after one that warms up, and how many labels agree."""
    task, loop = Asking("label", model, labels=LABELS).build(), LOOPS[model]()
    rounds: Rounds = []
    for number in range(options.runs + 1):
        count = options.clips if number else 2 * options.batch
        folder = Path(tempfile.mkdtemp(dir=work))
        clips = make_clips(folder, count, lengths, seed=number)
        few = clips[: options.loop_clips]
        labels: dict[str, Any] = {}

        def ours(clips: list[Clip] = clips, labels: dict[str, Any] = labels, folder: Path = folder) -> int:
            done = evaluate(clips, task, folder / "run", batch=options.batch)
            labels["auricle"] = [row["pred_label"] for row in done.rows]
            return len(clips)

        def plain(few: list[Clip] = few, labels: dict[str, Any] = labels) -> int:
            labels["loop"] = [loop(soundfile.read(clip.path, dtype="float32")[0]) for clip in few]
            return len(few)

        rivals = {"auricle": ours, "loop": plain}
        rates = {name: _rate(rivals[name]) for name in (rivals if number % 2 else reversed(rivals))}
        agree = sum(one == other for one, other in zip(labels["auricle"], labels["loop"], strict=False)) / len(few)
        rounds.append({**rates, "same_labels": agree})
    return rounds[1:]


def make_clips(folder: Path, count: int, lengths: Sequence[int], seed: int) -> list[Clip]:
    """Tones that glide under noise, each another, as wav files of 16 bits."""
    clips = []
    for number in range(count):
        random = np.random.default_rng([seed, number])
        t = np.arange(lengths[number % len(lengths)] * RATE // 1000) / RATE
        tone = np.sin(2 * np.pi * (random.uniform(100, 1000) + random.uniform(-50, 50) * t) * t)
        path = folder / f"{number:05}.wav"
        soundfile.write(path, 0.3 * tone + 0.05 * random.standard_normal(len(t)), RATE)
        clips.append(Clip(path.stem, path.stem, str(path), path.stem, LABELS[1]))
    return clips


def plain_tiny() -> Callable[[Any], str]:
    model = auricle.load("tiny")
    return lambda samples: model.classify(auricle.Audio(samples, RATE, "clip"), LABELS).best


def plain_silero() -> Callable[[Any], str]:
    from silero_vad import load_silero_vad

    threads = torch.get_num_threads()
    model = load_silero_vad()
    torch.set_num_threads(threads)  # importing it takes one

    def ask(samples: Any) -> str:
        model.reset_states()
        padded = torch.from_numpy(np.pad(samples, (0, -len(samples) % CHUNK)))
        with torch.inference_mode():
            most = max(float(model(chunk, RATE)) for chunk in padded.split(CHUNK))
        return LABELS[0 if most >= 0.5 else 1]

    return ask


LOOPS: dict[str, Callable[[], Callable[[Any], str]]] = {"tiny": plain_tiny, "silero": plain_silero}


def _rate(run: Callable[[], int]) -> float:
    begun = time.perf_counter()
    return run() / (time.perf_counter() - begun)


def _medians(rounds: Rounds) -> dict[str, float]:
    return {
        "auricle": median(one["auricle"] for one in rounds),
        "loop": median(one["loop"] for one in rounds),
        "times": median(one["auricle"] / one["loop"] for one in rounds),
        "same_labels": min(one["same_labels"] for one in rounds),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--loop-clips", type=int, default=200, help="of these, for the plain loops")
    parser.add_argument("--runs", type=int, default=3, help="measured rounds, after one that warms up")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1, help="models of this size compute on one in any case")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "eval.json")
    return parser


if __name__ == "__main__":
    main()
