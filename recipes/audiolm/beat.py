"""Teaches a model where the beat is: besides its codes it tells rhythm, frame by frame, while it learns.

    python -m recipes.audiolm.beat TOKENS MELODIES --init EXP/best --out FOLDER --max-steps N

Left to its codes alone, a model of this size learns timbre, pitch and key first, and of the beat nothing in 4,000
steps: it is worth few nats a note, and takes a chain of steps to find: how long ago a note began, how long the one
before it lasted, so what the tempo is, and where in its eighth a frame lies. Linear maps behind the AR half's layers
tell these, each behind the layer that TASKS says, and are thrown away afterwards. What comes out is a model like any
other, for `auricle train --init FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.audiolm.data.batches import Buckets
from auricle.audiolm.data.loader import Loader
from auricle.audiolm.data.manifests import Item, read_cuts
from auricle.audiolm.data.splits import Splitter
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.packing import Packing
from auricle.audiolm.model.weights import load, save
from auricle.audiolm.training.objective import optimizer_of
from auricle.audiolm.training.schedule import rate
from recipes.audiolm.melodies import TEMPI

PHASES = 8  # parts of an eighth
SINCE = 48  # frames since a note began, at most
LENGTHS = 64  # of the note before, each of two frames
UNKNOWN = -1
TASKS = {"since": (1, SINCE), "length": (2, LENGTHS), "tempo": (3, len(TEMPI)), "phase": (3, PHASES)}  # layer, classes
WEIGHT = 0.3  # of each task, beside a codebook
SPLITTER = Splitter((0.1, 0.8), infill=0.3, style=0.15, drop=0.1)


def beats(folder: Path) -> dict[str, tuple[float, list[float]]]:
    """By name: the tempo of each melody, and when its notes begin, in seconds."""
    lines = (json.loads(line) for line in (folder / "melodies.jsonl").read_text().splitlines())
    return {Path(one["file"]).stem: (one["bpm"], [note["start_s"] for note in one["notes"]]) for one in lines}


def told(bpm: float, starts_s: list[float], frames: int, frame_rate: float) -> Tensor:
    """`(frames, tasks)`: what is to be told of each frame, by the order of TASKS."""
    place, starts = torch.arange(frames), torch.tensor(starts_s)
    phase = ((((place / frame_rate - starts[0]) * bpm / 30) % 1) * PHASES).long().clamp(max=PHASES - 1)
    began = (starts * frame_rate).long()
    last = torch.searchsorted(began, place, right=True) - 1
    since = (place - began[last.clamp(min=0)]).clamp(max=SINCE - 1).masked_fill(last < 0, UNKNOWN)
    length = (began[last.clamp(min=1)] - began[last.clamp(min=1) - 1]) // 2
    length = length.clamp(max=LENGTHS - 1).masked_fill(last < 1, UNKNOWN)
    return torch.stack([since, length, torch.full_like(phase, TEMPI.index(bpm)), phase], dim=1)


class Beaten(Loader):
    """Batches whose codes have further columns: what `told` gives."""

    def __init__(self, items: Sequence[Item], known: dict[str, tuple[float, list[float]]], buckets: Buckets) -> None:
        super().__init__([_Told(item, *known[Path(item.source).stem]) for item in items], buckets, SPLITTER, seed=3)  # type: ignore[misc]


class _Told:
    """An item with its beat."""

    def __init__(self, item: Item, bpm: float, starts_s: list[float]) -> None:
        self.heard, self.last = item.heard, item.last
        self._item, self._bpm, self._starts_s = item, bpm, starts_s

    def load(self, size: int | None) -> np.ndarray:
        beat = told(self._bpm, self._starts_s, self._item.frames, self._item.frame_rate)
        return np.concatenate([self._item.load(size), beat.numpy()], axis=1)


class Guided(nn.Module):
    """A model, and what tells the beat behind layers of its AR half."""

    def __init__(self, lm: AudioLM) -> None:
        super().__init__()
        if lm.config.num_layers < 5:
            raise SystemExit(f"the model has {lm.config.num_layers} layers; rhythm is told behind the first four of 5")
        self.lm = lm
        self.heads = nn.ModuleDict({name: nn.Linear(lm.config.d_model, count) for name, (_, count) in TASKS.items()})
        self._made: dict[str, Tensor] = {}
        for name, (layer, _) in TASKS.items():
            lm.ar_decoder.layers[layer].register_forward_hook(partial(self._keep, name))

    def _keep(self, name: str, module: nn.Module, given: object, made: Tensor) -> None:
        self._made[name] = made

    def forward(self, batch: Batch, seed: int) -> tuple[Tensor, dict[str, float]]:
        """The loss, and what it comes to: nats of the codebooks looked at, and how often the beat is told rightly."""
        books = self.lm.config.num_quantizers
        codes = replace(
            batch, prompt_codes=batch.prompt_codes[..., :books], target_codes=batch.target_codes[..., :books]
        )
        with torch.autocast("cpu", torch.bfloat16):
            losses = self.lm.losses(codes, stage=0, generator=torch.Generator().manual_seed(seed))
        total, counted = losses.total, {"loss": float(losses.total.detach())}
        nats = losses.nll_sums / losses.tokens.clamp(min=1)
        counted |= {f"codebook {k}": float(nats[k]) for k in range(books) if losses.tokens[k]}
        labels, known = _laid_out(batch, books)
        for column, (name, head) in enumerate(self.heads.items()):
            there = known & (labels[..., column] != UNKNOWN)
            logits, wanted = head(self._made[name][there].float()), labels[there][:, column]
            total = total + WEIGHT * F.cross_entropy(logits, wanted)
            counted[name] = float((logits.argmax(1) == wanted).float().mean())
        return total, counted


def _laid_out(batch: Batch, books: int) -> tuple[Tensor, Tensor]:
    """The columns behind the codes as the AR half has its tokens, and which of these are there."""
    labels = torch.cat([batch.prompt_codes[..., books:], batch.target_codes[..., books:]], dim=1)
    packing = Packing(batch, batch.target_frames)
    return packing.packed(labels), torch.arange(packing.longest) < packing.lens[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("melodies", type=Path)
    parser.add_argument("--init", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--max-steps", type=int, required=True)
    parser.add_argument("--base-lr", type=float, default=1.5e-3)
    parser.add_argument("--max-duration", type=float, default=72.0)
    parser.add_argument("--save-every", type=int, default=500)
    a = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    items = read_cuts(a.tokens, "train", codebooks=4)
    loader = Beaten(items, beats(a.melodies), Buckets(items, a.max_duration, seed=3))
    guided = Guided(load(a.init, dtype=torch.float32).train())
    optimizer = optimizer_of(guided, "muon", a.base_lr, 0.05)
    step, epoch, began, sums = 0, 1, time.perf_counter(), []
    while step < a.max_steps:
        for batch in loader.batches(epoch):
            for group in optimizer.param_groups:
                group["lr"] = rate(step, a.max_steps, a.base_lr, 50)
            loss, counted = guided(batch, step)
            loss.backward()
            nn.utils.clip_grad_norm_(guided.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            sums.append(counted)
            step += 1
            if step % 50 == 0:
                means = {
                    name: np.mean([one[name] for one in sums if name in one]) for name in sorted(sums[0] | sums[-1])
                }
                spelt = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
                print(f"step {step}, {time.perf_counter() - began:.0f} s: {spelt}", flush=True)
                sums = []
            if step % a.save_every == 0 or step == a.max_steps:
                save(guided.lm, a.out)
            if step == a.max_steps:
                break
        epoch += 1


if __name__ == "__main__":
    main()
