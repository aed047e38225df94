"""Qwen2-Audio at its full size: int4 on this machine, and the encoder against transformers' on the same weights.

    python -m benchmarks.qwen2_audio          # makes 5 GB of random weights, once, and measures for some minutes

The whole model is measured by `auricle.bench`; transformers' 17 GB in bfloat16 would not fit beside it. The encoders,
of 0.64 billion numbers, share one set of random weights and run in turns, on features of clips of 5 s and 30 s.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from auricle.bench import machine
from auricle.bench.making import default_work, make
from auricle.bench.presets import PRESETS
from auricle.bench.run import Settings, measure, ours, sound
from auricle.models.qwen2_audio.config import Qwen2AudioConfig
from auricle.models.qwen2_audio.encoder import Encoder
from auricle.models.qwen2_audio.features import AFTER, log_mel, tokens
from benchmarks import tables

PRESET = "qwen2-audio-7b"
SECONDS = (5, 30)


def main() -> None:
    options = _parser().parse_args()
    load_average = machine.load_average()
    settings = Settings(runs=options.runs, threads=options.threads)
    folder = make(PRESET, "int4", options.work)
    result = measure({"int4": ours(folder, settings)}, {}, settings, load_average=load_average, said=_say)
    torch.set_num_threads(options.threads)
    result = {"benchmark": "qwen2_audio", "preset": PRESET, **result, "encoder": encoders(options.runs)}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n" + tables.qwen2_audio(result))


@torch.inference_mode()
def encoders(runs: int) -> dict[str, Any]:
    """Seconds of both, in turns, in float32; and how far apart their outcomes are."""
    from transformers import Qwen2AudioEncoder, Qwen2AudioEncoderConfig

    settings = PRESETS[PRESET]["audio_config"]
    torch.manual_seed(0)
    theirs = Qwen2AudioEncoder(Qwen2AudioEncoderConfig(**settings)).eval()
    with torch.device("meta"):
        mine = Encoder(Qwen2AudioConfig.from_dict({"audio_config": settings}).audio)
    mine.load_state_dict(theirs.state_dict(), assign=True)
    found = {}
    for seconds in SECONDS:
        mel = torch.from_numpy(log_mel(sound(seconds)))[None]
        frames = mel.shape[1] - AFTER
        whole = torch.zeros(1, 3000, mel.shape[2])
        whole[:, : mel.shape[1]] = mel[:, :3000]
        whole[:, mel.shape[1] :] = mel[:, :3000].min()  # what silence is, so far below the loudest
        positions = torch.arange(1500) < (frames - 1) // 2 + 1
        hidden = torch.zeros(1, 1, 1500, 1500).masked_fill(~positions, torch.finfo(torch.float32).min)
        rivals: dict[str, Callable[[], torch.Tensor]] = {
            "auricle": lambda mel=mel, frames=frames: mine(mel, [frames]),
            "transformers": lambda whole=whole, hidden=hidden: theirs(whole.transpose(1, 2), hidden).last_hidden_state,
        }
        outcomes = {name: run() for name, run in rivals.items()}
        apart = outcomes["auricle"] - outcomes["transformers"][:, : tokens(frames)]
        times = [{name: _seconds(run) for name, run in rivals.items()} for _ in range(runs)]
        found[str(seconds)] = {
            "runs": times,
            **{f"{name}_s": median(one[name] for one in times) for name in rivals},
            "times_ahead": median(one["transformers"] / one["auricle"] for one in times),
            "largest_difference": float(apart.abs().max()),
        }
        _say(f"encoder, {seconds} s: {found[str(seconds)]['times_ahead']:.1f} times ahead")
    return found


def _seconds(run: Callable[[], torch.Tensor]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=default_work(), help="where folders of random weights are kept")
    parser.add_argument("--runs", type=int, default=3, help="measured rounds, after one that warms up")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=tables.RESULTS / "qwen2_audio.json", help="the JSON to write")
    return parser


if __name__ == "__main__":
    main()
