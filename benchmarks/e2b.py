"""Time to the first token and decode speed at Gemma 4 E2B's full size, ours against transformers.

    python -m benchmarks.e2b --out benchmarks/work/e2b

makes a checkpoint of random bf16 weights (10.2 GB, once), then lets both answer about the same 30 s of sound, in turns,
with the same threads and prompt. Close everything else first: the machine's load is written down with the figures.
`--size small` tries the script itself in seconds; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.checkpoint import SIZES, make
from benchmarks.engines import ENGINES, RATE, Footprint, Run, Worker
from benchmarks.machine import describe

SECONDS = 30
TOKENS = 33  # the first, and 32 after it, whose speed is the decode speed
RESULTS = Path(__file__).parent / "results"
# What is compared; the flag says whether more is better.
MEASURES = {
    "mel_s": False,
    "encoder_s": False,
    "prefill_s": False,
    "ttft_s": False,
    "decode_tokens_per_s": True,
    "total_s": False,
}


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    work = options.out or Path(__file__).parent / "work" / options.size
    make(work, options.size)
    about = describe(options.threads)
    if (load := about["machine"]["load_average"]) > 0.5:
        print(f"The machine is at work (load average {load}): the figures will be wrong, ours and theirs unequally.")
    runs, footprints = measure(work, options.threads, options.runs)
    result = {
        "benchmark": "e2b",
        **about,
        "settings": {
            "size": options.size,
            "dtype": "bfloat16",
            "threads": options.threads,
            "audio_s": SECONDS,
            "prompt_tokens": runs["auricle"][0].prompt_tokens,
            "decode_tokens": TOKENS - 1,
            "runs": options.runs,
        },
        **summary(runs, footprints),
    }
    path = options.results or (RESULTS / "e2b.json" if options.size == "e2b" else work / "results.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(result)


def measure(folder: Path, threads: int, pairs: int) -> tuple[dict[str, list[Run]], dict[str, Footprint]]:
    """Pairs of requests, each engine first in every other one, after a pair that warms both up."""
    samples = sound()
    workers = {name: Worker(name, folder, threads) for name in ENGINES}
    runs: dict[str, list[Run]] = {name: [] for name in ENGINES}
    for pair in range(pairs + 1):
        order = list(ENGINES) if pair % 2 else list(reversed(ENGINES))
        for name in order:
            run = workers[name].run(samples, TOKENS)
            if pair:
                runs[name].append(run)
                speed = f"TTFT {run.ttft_s:.3f} s, decode {run.decode_tokens_per_s:.2f} tokens/s"
                print(f"{pair}/{pairs} {name:12} {speed}", flush=True)
    assert len({run.prompt_tokens for of_one in runs.values() for run in of_one}) == 1, "prompts differ"
    return runs, {name: worker.close() for name, worker in workers.items()}


def sound() -> NDArray[np.float32]:
    """30 s of noise and a tone: `(samples,)`."""
    noise = np.random.default_rng(0).standard_normal(SECONDS * RATE) * 0.1
    tone = np.sin(2 * np.pi * 440 * np.arange(SECONDS * RATE) / RATE) * 0.2
    return (noise + tone).astype(np.float32)


def summary(runs: dict[str, list[Run]], footprints: dict[str, Footprint]) -> dict[str, Any]:
    """Medians of each engine, and by how much ours is ahead: the ratio within each pair, and their median."""
    engines = {
        name: {
            **asdict(footprints[name]),
            "median": {measure: median(getattr(run, measure) for run in runs[name]) for measure in MEASURES},
            "runs": [{f.name: getattr(run, f.name) for f in fields(Run) if f.name != "tokens"} for run in runs[name]],
        }
        for name in runs
    }
    ahead = {}
    for measure, more_is_better in MEASURES.items():
        pairs = [
            getattr(ours, measure) / getattr(theirs, measure)
            for ours, theirs in zip(runs["auricle"], runs["transformers"], strict=True)
        ]
        pairs = pairs if more_is_better else [1 / ratio for ratio in pairs]
        ahead[measure] = {"median": median(pairs), "pairs": pairs}
    return {"engines": engines, "times_ahead": ahead}


def show(result: dict[str, Any]) -> None:
    from benchmarks.tables import e2b

    print("\n" + e2b(result))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="the checkpoint's folder (benchmarks/work/SIZE); used when it exists")
    parser.add_argument("--size", choices=sorted(SIZES), default="e2b")
    parser.add_argument("--runs", type=int, default=5, help="measured pairs, after one that warms up")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, help="the JSON to write (benchmarks/results/e2b.json when full-size)")
    return parser


if __name__ == "__main__":
    main()
