"""How well `tiny-codec` gives back music that it has never heard, by the number of codebooks; and its speed.

    python -m benchmarks.codec

Clips are synthesised under a seed of their own. SI-SDR is the median over a kind's clips, log-mel distance the mean, in
dB, of `auricle.audiolm.spectra`. Both runtimes take turns on the same clips, with as many threads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auricle.audiolm.codecs import Codec, load_codec
from auricle.audiolm.spectra import log_mel_distance, si_sdr
from auricle.bench import machine
from auricle.hub import ModelName, find
from benchmarks import audiolm_tables
from recipes.audiolm.melodies import codec_clip, melody
from recipes.audiolm.quantize import perplexities

SEED, SECONDS = 901, 6.0
MADE: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "melodies": lambda rng: melody(rng, SECONDS).samples,
    "mixed": lambda rng: codec_clip(rng, SECONDS),  # melodies, chords, percussion, noise, ... as in training
}


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    load_average = machine.load_average()
    torch.set_num_threads(options.threads)
    codec = load_codec(options.codec, device="cpu")
    kinds = {kind: quality(codec, clips(kind, options.clips)) for kind in MADE}
    result = {
        "benchmark": "codec",
        **machine.describe(),
        "load_average": load_average,
        "codec": {"name": codec.name, "rate": codec.rate, "frame_rate": codec.frame_rate, "size": codec.size},
        "clips": options.clips,
        "seconds": SECONDS,
        "kinds": kinds,
        "speed": speed(codec, options.threads, options.rounds),
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(audiolm_tables.codec(result))


def clips(kind: str, count: int) -> list[np.ndarray]:
    return [MADE[kind](np.random.default_rng((SEED, list(MADE).index(kind), i))) for i in range(count)]


def quality(codec: Codec, sounds: list[np.ndarray]) -> dict[str, Any]:
    """By how many codebooks are decoded, and how evenly each is used."""
    codes = [codec.encode(sound) for sound in sounds]
    sdr: list[float] = []
    mel: list[float] = []
    for books in range(1, codec.codebooks + 1):
        pairs = [
            (_row(codec.decode(code[:, :books])[: len(sound)]), _row(sound))
            for code, sound in zip(codes, sounds, strict=True)
        ]
        loud = [(y, x) for y, x in pairs if float(x.square().mean()) > 1e-6]  # of silence there is no ratio
        sdr.append(round(median(float(si_sdr(y, x)) for y, x in loud), 2))
        mel.append(round(float(np.mean([float(log_mel_distance(y, x, codec.rate)) for y, x in pairs])), 2))
    used = perplexities(torch.from_numpy(np.concatenate(codes)), codec.size)
    return {"si_sdr_db": sdr, "log_mel_db": mel, "perplexity": [round(value, 1) for value in used]}


def _row(sound: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(sound))[None]


def speed(codec: Codec, threads: int, rounds: int) -> dict[str, Any]:
    """Seconds of sound that a second encodes and decodes, of ours and of transformers' model of the same weights."""
    from transformers import EncodecModel

    theirs = EncodecModel.from_pretrained(find(ModelName.parse(codec.name, ("native",))), dtype=torch.float32).eval()
    sound = np.concatenate(clips("melodies", 5))
    codes = codec.encode(sound)
    given = torch.from_numpy(sound)[None, None]
    stacked = torch.from_numpy(codes.T.copy())[None, None]
    with torch.inference_mode():
        runs: dict[str, Callable[[], object]] = {
            "encode": lambda: codec.encode(sound),
            "encode_reference": lambda: theirs.encode(given, bandwidth=max(theirs.config.target_bandwidths)),
            "decode": lambda: codec.decode(codes),
            "decode_reference": lambda: theirs.decode(stacked, [None]),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(rounds + 1):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                if turn:  # the first warms up
                    times[name].append(time.perf_counter() - began)
    seconds = len(sound) / codec.rate
    return {
        "threads": threads,
        "seconds": seconds,
        **{name: round(seconds / median(t), 1) for name, t in times.items()},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="tiny-codec")
    parser.add_argument("--clips", type=int, default=100, help="of each kind")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "codec.json")
    return parser


if __name__ == "__main__":
    main()
