"""How fast an AudioLM of VALL-E's size makes sound on a CPU, with its cache and without; the codec apart.

    python -m benchmarks.audiolm_generate

Random weights (speed does not depend on their values) of 1024 wide, 12 and 12 layers, in bfloat16; a prompt of three
seconds, 1,000 frames of four codebooks. Without a cache a step reads everything again: all of them would take an hour,
so some steps are timed between the first and the last, and their mean over the length is taken (trapezoids).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.model.sampling import TokenSampling
from auricle.audiolm.model.stepping import Uncached
from auricle.bench import machine
from benchmarks import audiolm_tables

SEED = 3


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    load_average = machine.load_average()
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    model = AudioLM(options.d_model, options.nhead, options.layers).to(getattr(torch, options.dtype)).eval()
    prompt = Prompt(left=torch.randint(2048, (options.prompt, 4)))
    generated(model, prompt, 20)  # warms up
    runs = [generated(model, prompt, options.frames) for _ in range(options.rounds)]
    middle = {name: median(run[name] for run in runs) for name in runs[0]}
    without = uncached(model, prompt, options.frames, options.points)
    seconds = options.frames / model.config.frame_rate
    result = {
        "benchmark": "audiolm_generate",
        **machine.describe(threads=options.threads),
        "load_average": load_average,
        "settings": {
            **{name: getattr(options, name) for name in ("d_model", "layers", "prompt", "frames", "threads", "dtype")},
            "parameters": sum(one.numel() for one in model.parameters()),
        },
        "sound_s": seconds,
        **{name: round(value, 3) for name, value in middle.items()},
        "real_time": round(seconds / middle["total_s"], 3),
        "without_cache_ar_s": round(without, 1),
        "cache_times": round(without / middle["ar_s"], 1),
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(audiolm_tables.generate(result))


def generated(model: AudioLM, prompt: Prompt, frames: int) -> dict[str, float]:
    """Seconds of the AR half, of the NAR half, of both."""
    ends = []
    began = time.perf_counter()
    model.generate(
        [prompt], frames, TokenSampling(top_k=50, seed=SEED), step=lambda _: ends.append(time.perf_counter())
    )
    ended = time.perf_counter()
    return {"ar_s": ends[-1] - began, "nar_s": ended - ends[-1], "total_s": ended - began}


@torch.inference_mode()
def uncached(model: AudioLM, prompt: Prompt, frames: int, points: int) -> float:
    """Seconds that the AR half would take without its cache."""
    source = Uncached(model, Batch.of([prompt], [torch.zeros(1, 4, dtype=torch.int64)]))
    places = np.unique(np.linspace(1, frames, points).round().astype(int))
    times = []
    for steps in places:
        ids = torch.randint(model.config.codebook_size, (1, int(steps), 1))
        best = []
        for _ in range(3):
            began = time.perf_counter()
            source.hidden(ids)
            best.append(time.perf_counter() - began)
        times.append(min(best))
    return float(np.trapezoid(times, places))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d-model", type=int, default=1024)
    parser.add_argument("--nhead", type=int, default=16)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--prompt", type=int, default=150, help="frames")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points", type=int, default=9, help="steps that are timed without a cache")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "audiolm_generate.json")
    return parser


if __name__ == "__main__":
    main()
