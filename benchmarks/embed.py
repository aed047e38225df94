"""Embeddings of a folder with `tiny`, against a plain loop over transformers with the same weights; and their memory.

    python -m benchmarks.embed

Both read the same wav files, average the audio tokens of each clip, and write one safetensors file. They take turns in
one process, with as many threads. Memory is that of fresh processes, over 200 clips and over 2,000.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.numpy import save_file

import auricle
from auricle.backends.references import library, reference_of
from auricle.bench import machine
from auricle.checkpoint import Checkpoint
from auricle.hub import ModelName, find
from auricle.represent import gather, open_embeddings, represent
from auricle.types import Extraction

RATE = 16_000
EXTRACTION = Extraction(stage="projector", pooling="mean")
CHILD = """
import sys
from pathlib import Path
import torch, auricle
from auricle.bench.engines import peak_rss_gb
from auricle.represent import gather, represent
from benchmarks.embed import EXTRACTION
torch.set_num_threads(int(sys.argv[3]))
model = auricle.load("tiny", encoder_only=True)
represent(model, gather([Path(sys.argv[1])]), sys.argv[2], EXTRACTION)
print(peak_rss_gb())
"""


def main() -> None:
    from benchmarks import tables

    options = _parser().parse_args()
    load_average = machine.load_average()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as work:
        few, many = Path(work, "few"), Path(work, "many")
        make_clips(few, options.clips, options.seconds)
        make_clips(many, 10 * options.clips, options.seconds)
        rounds, apart = race(few, Path(work), options.runs)
        memory = {str(count): peak_gb(folder, options.threads) for folder, count in ((few, 1), (many, 10))}
    about = machine.describe(options.threads, "cpu")
    about["machine"]["load_average"] = load_average
    result = {
        "benchmark": "embed",
        **about,
        "settings": {name: getattr(options, name) for name in ("clips", "seconds", "runs", "threads")},
        "rounds": rounds,
        **{f"{name}_s": median(one[name] for one in rounds) for name in ("auricle", "transformers")},
        "times_ahead": median(one["transformers"] / one["auricle"] for one in rounds),
        "largest_difference": apart,
        "peak_gb": {str(options.clips): memory["1"], str(10 * options.clips): memory["10"]},
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(tables.embed(result))


def make_clips(folder: Path, count: int, seconds: float) -> None:
    """Tones that glide under noise, each another."""
    folder.mkdir()
    t = np.arange(round(seconds * RATE)) / RATE
    for number in range(count):
        random = np.random.default_rng(number)
        tone = np.sin(2 * np.pi * (random.uniform(100, 1000) + random.uniform(-50, 50) * t) * t)
        soundfile.write(folder / f"{number:05}.wav", 0.3 * tone + 0.05 * random.standard_normal(len(t)), RATE)


def race(folder: Path, work: Path, runs: int) -> tuple[list[dict[str, float]], float]:
    """Seconds of each in every round, after one that warms up; and how far the vectors are apart."""
    model = auricle.load("tiny", encoder_only=True)
    checkpoint = Checkpoint(find(ModelName("tiny")))
    reference = reference_of(library(), checkpoint)
    theirs = reference.load(torch.device("cpu"), torch.float32)
    items, number = gather([folder]), iter(range(1000))

    def ours() -> np.ndarray:
        out = work / f"ours-{next(number)}"
        represent(model, items, out, EXTRACTION)
        return open_embeddings(out).vectors()[:, 0]

    def plain() -> np.ndarray:
        rows = []
        for path in sorted(folder.iterdir()):
            samples, _ = soundfile.read(path, dtype="float32")
            with torch.inference_mode():
                inputs = reference.hear(samples).inputs
                found = theirs.model.get_audio_features(**inputs)
                rows.append(found.pooler_output[found.attention_mask].mean(0).numpy())
        save_file({"vectors": np.stack(rows)}, work / f"theirs-{next(number)}.safetensors")
        return np.stack(rows)

    rivals: dict[str, Callable[[], np.ndarray]] = {"auricle": ours, "transformers": plain}
    first = {name: run() for name, run in rivals.items()}
    apart = float(np.abs(first["auricle"] - first["transformers"]).max())
    return [{name: _seconds(rivals[name]) for name in _turn(rivals, i)} for i in range(runs)], apart


def peak_gb(folder: Path, threads: int) -> float:
    """Of a fresh process that embeds a folder."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", CHILD, str(folder), str(Path(out, "vectors")), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"embedding {folder} ended with {done.returncode}:\n{done.stderr}")
    return float(done.stdout)


def _turn(rivals: dict[str, Any], number: int) -> list[str]:
    return list(rivals) if number % 2 == 0 else list(reversed(rivals))


def _seconds(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each clip")
    parser.add_argument("--runs", type=int, default=5, help="measured rounds, after one that warms up")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "embed.json")
    return parser


if __name__ == "__main__":
    main()
