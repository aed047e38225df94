"""How fast `auricle train` goes through sound, beside VALL-E's AudioLM written plainly on torch's own modules.

    python -m benchmarks.audiolm_train

The plain models have one transformer for codebook 0 and one for a codebook drawn at each step, with the same width,
heads and layers as ours, no dropout on any side, AdamW, and products in bfloat16 under autocast:

- `decoder`: `nn.TransformerDecoder`, whose memory is the prompt's embeddings. The prompt does not see itself, which
  spares a fifth of the multiplications.
- `joined`: `nn.TransformerEncoder` over prompt and target after each other, under a mask: bidirectional over the
  prompt, causal over the target, as in VALL-E's AudioLM and ours.

Two comparisons in turns: clips of one length, and clips from 2 to 15 s, which plain trainers take as they come, and
ours in the buckets that it trains with. All run in one process, which holds on to memory as `auricle train` does.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from auricle.audiolm.data.batches import Buckets
from auricle.audiolm.data.splits import Splitter
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.training.memory import hold_memory
from auricle.audiolm.training.objective import Objective, optimizer_of
from auricle.bench import machine
from benchmarks import audiolm_tables

RATE, SIZE, BOOKS = 50, 2048, 4
FRACTION = 0.4


class Plain(nn.Module):
    """VALL-E's AudioLM as one would write it first: `(prompt, lens, target, lens)` -> its loss."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.prompts = nn.ModuleList(nn.Embedding(SIZE, width) for _ in range(BOOKS))
        self.targets = nn.ModuleList(nn.Embedding(SIZE + 1, width) for _ in range(BOOKS))
        self.stages = nn.Embedding(BOOKS, width)
        self.heads = nn.ModuleList(nn.Linear(width, SIZE + int(k == 0), bias=False) for k in range(BOOKS))
        self.options = {"dropout": 0.0, "batch_first": True, "norm_first": True}

    def forward(self, prompt: Tensor, heard: Tensor, target: Tensor, lens: Tensor, stage: int) -> Tensor:
        prompts = sum(table(prompt[..., k]) for k, table in enumerate(self.prompts))
        unheard, padding = _past(prompt.shape[1], heard), _past(target.shape[1], lens)
        first = target[..., 0].masked_fill(padding, SIZE)
        hidden = self.passed(self.ar, prompts, unheard, self.targets[0](first[:, :-1]), padding[:, :-1], causal=True)
        loss = F.cross_entropy(self.heads[0](hidden).flatten(0, 1), first[:, 1:].flatten())
        known = sum(self.targets[k](target[..., k]) for k in range(stage)) + self.stages.weight[stage]
        hidden = self.passed(self.nar, prompts, unheard, known, padding, causal=False)
        return loss + F.cross_entropy(self.heads[stage](hidden[~padding]), target[..., stage][~padding])


class Decoder(Plain):
    """The prompt is what a decoder remembers."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__(width, heads)
        layer = nn.TransformerDecoderLayer(width, heads, 4 * width, **self.options)
        self.ar = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        self.nar = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))

    def passed(
        self, half: nn.Module, prompt: Tensor, unheard: Tensor, target: Tensor, padding: Tensor, *, causal: bool
    ) -> Tensor:
        masks = {"tgt_key_padding_mask": padding, "memory_key_padding_mask": unheard}
        frames = target.shape[1]
        mask = torch.ones(frames, frames, dtype=torch.bool).triu(1) if causal else None
        return half(target, prompt, tgt_mask=mask, **masks)


class Joined(Plain):
    """Prompt and target are one sequence."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__(width, heads)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, **self.options)
        self.ar = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.nar = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def passed(
        self, half: nn.Module, prompt: Tensor, unheard: Tensor, target: Tensor, padding: Tensor, *, causal: bool
    ) -> Tensor:
        heard, frames = prompt.shape[1], target.shape[1]
        hidden = None
        if causal:
            hidden = torch.ones(heard + frames, heard + frames, dtype=torch.bool).triu(1)
            hidden[:heard, :heard] = False
        both, unseen = torch.cat([prompt, target], dim=1), torch.cat([unheard, padding], dim=1)
        return half(both, mask=hidden, src_key_padding_mask=unseen)[:, heard:]


PLAIN = {"decoder": Decoder, "joined": Joined}


def _past(frames: int, lens: Tensor) -> Tensor:
    return torch.arange(frames) >= lens[:, None]


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    load_average = machine.load_average()
    torch.set_num_threads(options.threads)
    held = hold_memory()
    rng = np.random.default_rng(4)
    frames = {
        "equal": np.full(options.items, 8 * RATE),
        "unequal": rng.integers(2 * RATE, 15 * RATE, options.items),
    }
    found = {}
    for name, lengths in frames.items():
        items = [Clip(torch.from_numpy(rng.integers(SIZE, size=(n, BOOKS)))) for n in lengths]
        found[name] = compared(items, options)
    result = {
        "benchmark": "audiolm_train",
        **machine.describe(),
        "load_average": load_average,
        "memory_held": held,
        "settings": {
            name: getattr(options, name) for name in ("width", "layers", "seconds", "items", "batches", "threads")
        },
        **found,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(audiolm_tables.train(result))


@dataclass(frozen=True)
class Clip:
    """Codes `(frames, codebooks)`, and how long they last."""

    codes: Tensor

    @property
    def seconds(self) -> float:
        return len(self.codes) / RATE


def compared(items: Sequence[Clip], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of sound a second of each trainer, by turns, each over the first batches of an epoch as it makes them."""
    trainers = {"auricle": ours(options), **{name: plain(kind, options) for name, kind in PLAIN.items()}}
    plainly = as_they_come(items, options.seconds)[: options.batches]
    orders = dict.fromkeys(trainers, plainly)
    orders["auricle"] = Buckets(items, options.seconds).batches(0)[: options.batches]
    sound = {name: sum(items[i].seconds for batch in order for i in batch) for name, order in orders.items()}
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for name, step in trainers.items():  # warms up
        step([items[i].codes for i in orders[name][0]])
    for turn in range(options.rounds):
        for name in list(trainers) if turn % 2 == 0 else list(reversed(trainers)):
            began = time.perf_counter()
            for batch in orders[name]:
                trainers[name]([items[i].codes for i in batch])
            times[name].append(time.perf_counter() - began)
    rates = {name: [sound[name] / one for one in spent] for name, spent in times.items()}
    return {
        **{name: round(median(found), 2) for name, found in rates.items()},
        "times": {
            name: round(median(a / b for a, b in zip(rates["auricle"], rates[name], strict=True)), 2) for name in PLAIN
        },
        "batches": {name: len(order) for name, order in orders.items()},
    }


def as_they_come(items: Sequence[Clip], seconds: float) -> list[list[int]]:
    """Batches in the order of the items, so many seconds each, as a dynamic sampler without buckets makes them."""
    batches: list[list[int]] = [[]]
    for i in range(len(items)):
        longest = max(items[j].seconds for j in [*batches[-1], i])
        if longest * (len(batches[-1]) + 1) > seconds:
            batches.append([])
        batches[-1].append(i)
    return batches


def ours(options: argparse.Namespace) -> Callable[[list[Tensor]], None]:
    torch.manual_seed(0)
    objective = Objective(AudioLM(options.width, options.nhead, options.layers, dropout=0.0), 0, bf16=True)
    optimizer = optimizer_of(objective, "adamw", 1e-4, 0.1)
    splitter, rng = Splitter((FRACTION, FRACTION)), np.random.default_rng(0)

    def step(items: list[Tensor]) -> None:
        split = [splitter.split(item, rng) for item in items]
        batch = Batch.of([one.prompt for one in split], [one.target for one in split])
        objective(batch, int(rng.integers(1 << 30)))[0].backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def plain(kind: type[Decoder | Joined], options: argparse.Namespace) -> Callable[[list[Tensor]], None]:
    torch.manual_seed(0)
    model = kind(options.width, options.nhead, options.layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    rng = np.random.default_rng(0)

    def step(items: list[Tensor]) -> None:
        cuts = [int(FRACTION * len(item)) for item in items]
        prompts = [item[:cut] for item, cut in zip(items, cuts, strict=True)]
        targets = [item[cut:] for item, cut in zip(items, cuts, strict=True)]
        lens = (torch.tensor([len(one) for one in group]) for group in (prompts, targets))
        heard, made = lens
        with torch.autocast("cpu", torch.bfloat16):
            padded = [pad_sequence(group, batch_first=True) for group in (prompts, targets)]
            loss = model(padded[0], heard, padded[1], made, int(rng.integers(1, BOOKS)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--nhead", type=int, default=8)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=60.0, help="of sound in a batch, padding counted")
    parser.add_argument("--items", type=int, default=1000, help="to make batches of")
    parser.add_argument("--batches", type=int, default=8, help="of an epoch that are trained on, at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "audiolm_train.json")
    return parser


if __name__ == "__main__":
    main()
