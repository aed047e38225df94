"""Trains `tiny-codec`: EnCodec's architecture, a quarter as wide, on synthesised music.

    python -m recipes.audiolm.train_codec --work recipes/audiolm/work --steps 4500

Some hundred steps without quantisation, then k-means sets the codebooks, then all of it together: an L1 between the
samples, relative to how loud the clip is, and L1 between log-mel spectra of five resolutions. No discriminator: what is
wanted are pitch and timbre at 2 kbit/s, which need none. Resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from auricle.audiolm.codecs.encodec_config import EncodecConfig
from auricle.audiolm.codecs.encodec_model import EncodecModel
from auricle.audiolm.spectra import log_mel, log_mel_distance, si_sdr
from recipes.audiolm.melodies import codec_clip
from recipes.audiolm.quantize import LearningQuantizer, perplexities
from recipes.tiny.optim import Muon

CONFIG = EncodecConfig(
    sampling_rate=32_000,
    target_bandwidths=(2.0,),
    hidden_size=64,
    num_filters=16,
    upsampling_ratios=(8, 5, 4, 4),
    use_causal_conv=False,
    use_conv_shortcut=False,
    num_lstm_layers=1,
    codebook_size=1024,
)
RATE = CONFIG.sampling_rate
CLIP_S, CROP_S, BATCH = 6, 1.0, 16
BEGUN = 50  # batches whose latents the codebooks are set by
SIZES = {256: 24, 512: 48, 1024: 80, 2048: 100, 4096: 128}  # of the windows of the spectral losses, and their bands
WAVE = 2.0  # how much the samples count beside the spectra
PEAKS = (0.02, 2e-3)  # learning rates of Muon and AdamW
TRAIN, HELD_OUT = 11, 12  # seeds: clips of one never come up under the other


def clip(seed: int, i: int) -> np.ndarray:
    samples = codec_clip(np.random.default_rng((seed, i)), CLIP_S)
    return np.rint(samples * 32767).astype(np.int16)


def pool(seed: int, count: int) -> np.ndarray:
    """`(count, samples)` int16."""
    with ProcessPoolExecutor(2) as workers:
        return np.stack(list(workers.map(partial(clip, seed), range(count), chunksize=32)))


def crops(clips: np.ndarray, rng: np.random.Generator) -> Tensor:
    """`(BATCH, 1, samples)`: pieces of random clips, some of them quieter."""
    length = int(CROP_S * RATE)
    starts = rng.integers(clips.shape[1] - length, size=BATCH)
    pieces = [clips[c, s : s + length] for c, s in zip(rng.integers(len(clips), size=BATCH), starts, strict=True)]
    return torch.from_numpy(np.stack(pieces)).float()[:, None] / 32768


def distance(y: Tensor, x: Tensor) -> Tensor:
    """The loss between sounds `(batch, samples)`."""
    relative = (y - x).abs().mean(-1) / (x.abs().mean(-1) + 0.01)
    spectral = [(spectrum(y, size) - spectrum(x, size)).abs().mean() for size in SIZES]
    return WAVE * relative.mean() + torch.stack(spectral).mean()


def spectrum(x: Tensor, size: int) -> Tensor:
    return log_mel(x, RATE, size=size, bands=SIZES[size])


def optimisers_of(model: EncodecModel) -> list[torch.optim.Optimizer]:
    """Muon for what is a matrix of some size, AdamW for the rest; with AdamW alone it took five times the steps."""
    matrices = [p for p in model.parameters() if p.dim() > 1 and min(len(p), p[0].numel()) >= 16]
    taken = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in taken]
    return [Muon(matrices, weight_decay=0.0), torch.optim.AdamW(others, betas=(0.8, 0.99), weight_decay=0.0)]


@torch.no_grad()
def evaluate(model: EncodecModel, held_out: np.ndarray) -> dict[str, list[float]]:
    """By the number of codebooks: SI-SDR in dB (median of clips that sound), log-mel distance in dB; perplexities."""
    codes, sdr, mel = [], [[] for _ in range(4)], [[] for _ in range(4)]
    for start in range(0, len(held_out), 8):
        x = torch.from_numpy(held_out[start : start + 8]).float()[:, None] / 32768
        found = model.quantizer.encode(model.encoder(x))
        codes.append(found.flatten(0, 1))
        loud = x.square().mean((1, 2)) > 1e-6
        for books in range(4):
            y = model.decoder(model.quantizer.decode(found[..., : books + 1]))
            sdr[books] += si_sdr(y[:, 0], x[:, 0])[loud].tolist()
            mel[books] += log_mel_distance(y[:, 0], x[:, 0], RATE).tolist()
    return {
        "si_sdr_db": [round(float(np.median(values)), 2) for values in sdr],
        "log_mel_db": [round(float(np.mean(values)), 2) for values in mel],
        "perplexity": [round(value, 1) for value in perplexities(torch.cat(codes), CONFIG.codebook_size)],
    }


def train(work: Path, steps: int, clips: int, warm: int = 300, held_out: int = 64) -> None:
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = EncodecModel(CONFIG)
    learning = LearningQuantizer(model.quantizer)
    optimisers = optimisers_of(model)
    first, path = 0, work / "codec.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"])
        learning.load_state_dict(saved["learning"])
        for optimiser, state in zip(optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        first = saved["step"]
    print("synthesising ...", flush=True)
    unheard, sound = pool(HELD_OUT, held_out), pool(TRAIN, clips)
    began, running = time.monotonic(), 0.0
    for step in range(first, steps):
        rng, generator = np.random.default_rng((TRAIN, step)), torch.Generator().manual_seed(step)
        pace = min(1, (step + 1) / 30) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for optimiser, peak in zip(optimisers, PEAKS, strict=True):
            optimiser.param_groups[0]["lr"] = peak * pace
        if step == warm:
            with torch.no_grad():
                latents = [model.encoder(crops(sound, rng)).transpose(1, 2).flatten(0, 1) for _ in range(BEGUN)]
            learning.begin(latents)
        x = crops(sound, rng)
        with torch.autocast("cpu", torch.bfloat16):
            latent = model.encoder(x).float()
        loss = x.new_zeros(())
        if step >= warm:
            latent, loss = learning(latent, generator)
        with torch.autocast("cpu", torch.bfloat16):
            y = model.decoder(latent).float()
        loss = loss + distance(y[:, 0], x[:, 0])
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        running += loss.item() / 50
        if (step + 1) % 50 == 0 or step + 1 == steps:
            line = {
                "step": step + 1,
                "loss": round(running, 4),
                "pace": round(pace, 4),
                "s": round(time.monotonic() - began),
            }
            running = 0.0
            if (step + 1) % 500 == 0 or step + 1 == steps:
                line |= evaluate(model.eval(), unheard)
                model.train()
                state = {"model": model.state_dict(), "learning": learning.state_dict(), "step": step + 1}
                torch.save(state | {"optimisers": [one.state_dict() for one in optimisers]}, path.with_suffix(".part"))
                path.with_suffix(".part").replace(path)
            print(json.dumps(line), flush=True)
            with (work / "codec.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("recipes/audiolm/work"))
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--clips", type=int, default=4000, help="of six seconds each, to crop from")
    arguments = parser.parse_args()
    train(arguments.work, arguments.steps, arguments.clips)
