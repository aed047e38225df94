"""Stage 1: the encoder learns to hear, token by token, before any decoder asks it anything.

Cross-entropy on the phoneme that is sounding and on the words last completed. The times come from the synthesiser, so
there is no alignment to discover: that is what made training from sentences alone fail (docs/log.md).
"""

from __future__ import annotations

import argparse
import json
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.tiny import mix
from recipes.tiny.model import Hearing
from recipes.tiny.optim import optimisers

WEIGHTS = {"phoneme": 1.0, "word": 1.0, "before": 0.2, "before2": 0.05, "kind": 0.5}
ROWS, SECONDS = 16, 8  # of sound a step


def batches(data: Path, targets: mix.Targets, seed: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Endless batches, mixed in a thread beside the training; new shards are taken up as they are finished."""
    ready: queue.Queue[tuple[Tensor, dict[str, Tensor]]] = queue.Queue(maxsize=4)

    def work() -> None:
        rng = np.random.default_rng(seed)
        step = 0
        while True:
            if step % 200 == 0:
                speech, others = mix.Pool(data, "speech"), mix.Pool(data, "other")
            step += 1
            # One length a batch, another for each batch: nothing is padded.
            rows = [mix.row(rng, speech, others, SECONDS * mix.RATE) for _ in range(ROWS)]
            labels = [targets.label(r) for r in rows]
            samples = torch.from_numpy(np.stack([r.samples for r in rows]))
            mel = mix.mask_bands(rng, mix.mel_batch(samples))
            stacked = {name: torch.from_numpy(np.stack([x[name] for x in labels])) for name in labels[0]}
            ready.put((mel, stacked))

    threading.Thread(target=work, daemon=True).start()
    while True:
        yield ready.get()


def losses(model: Hearing, mel: Tensor, labels: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    with torch.autocast("cpu", torch.bfloat16):
        soft = model.soft_tokens(mel).float()
    total = torch.zeros(())
    report = {}
    for name, head in model.heads.items():
        logits = head(soft).flatten(0, 1)
        wanted = labels[name].flatten()
        loss = F.cross_entropy(logits, wanted, ignore_index=mix.IGNORED)
        total = total + WEIGHTS[name] * loss
        with torch.no_grad():
            counted = wanted != mix.IGNORED
            if name in ("word", "before", "before2"):
                counted = counted & (wanted != 0)
            report[name] = (logits.argmax(-1) == wanted)[counted].float().mean().item()
    return total, report


def schedule(done: float) -> float:
    """Learning rate factor at a part of the run: full, then linearly down over the last 60 %."""
    return min(1.0, max(0.02, (1 - done) / 0.6))


def train(data: Path, out: Path, minutes: float, seed: int) -> None:
    words = (Path(__file__).parent / "words.txt").read_text().split()
    phonemes = json.loads((data / "phonemes.json").read_text())
    targets = mix.Targets(words, phonemes)
    model = Hearing(len(phonemes) + 1, len(words) + 1, len(mix.KINDS), seed)
    stepping = optimisers(model, matrix_lr=0.02, other_lr=2e-3)
    base = [[g["lr"] for g in o.param_groups] for o in stepping]
    step, spent = 0, 0.0
    state_file = out / "encoder.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=False)
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(stepping, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        step, spent = state["step"], state["spent"]
    print(f"{sum(p.numel() for p in model.encoder.parameters()) / 1e6:.2f} M parameters in the encoder", flush=True)

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "optimisers": [o.state_dict() for o in stepping],
            "step": step,
            "spent": spent,
            "phonemes": phonemes,
            "words": words,
        }
        torch.save(state, state_file.with_suffix(".tmp"))
        state_file.with_suffix(".tmp").rename(state_file)

    last = time.monotonic()
    for mel, labels in batches(data, targets, seed + step):
        factor = schedule(spent / (60 * minutes)) * min(1.0, (step + 1) / 50)
        for optimiser, rates in zip(stepping, base, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        loss, report = losses(model, mel, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for optimiser in stepping:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        step += 1
        now = time.monotonic()
        spent, last = spent + now - last, now
        if step % 20 == 0:
            accuracies = " ".join(f"{k} {v:.3f}" for k, v in report.items())
            print(f"step {step} {spent / 60:.1f} min loss {loss.item():.3f} {accuracies}", flush=True)
        if step % 200 == 0:
            save()
        if spent > 60 * minutes:
            break
    save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("recipes/tiny/work/data"))
    parser.add_argument("--out", type=Path, default=Path("recipes/tiny/work"))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train(arguments.data, arguments.out, arguments.minutes, arguments.seed)
