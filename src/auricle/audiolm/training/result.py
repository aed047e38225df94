"""What a finished run comes to: its best model on the test items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from auricle.audiolm.data.manifests import Item
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.model.sampling import TokenSampling
from auricle.audiolm.model.weights import load
from auricle.audiolm.training.evaluate import evaluate
from auricle.audiolm.training.metrics import NGRAM, Baselines, repetition
from auricle.audiolm.training.objective import Objective
from auricle.audiolm.training.settings import Settings
from auricle.audiolm.training.tokens import TEST, Measured, Tokens
from auricle.audiolm.training.workers import Single

CONTINUED = 4  # items whose continuations are compared with the real ones
LONGEST_S = 8.0  # of a continuation


def tested(
    settings: Settings, tokens: Tokens, baselines: Baselines, folder: Path, device: torch.device
) -> dict[str, Any]:
    """Measures the model of a folder on the test items.

    Returns:
        `test`: as a validation's record; `repetition`: of codebook 0, generated and real; how many items each took.
    """
    lm = load(folder, device=device)
    stage, bf16 = settings.optimising.train_stage, settings.optimising.dtype == "bf16"
    measured = Measured.of(tokens, TEST, settings.data)
    found = evaluate(Objective(lm, stage, bf16=bf16), measured, baselines, Single(device))
    assert found is not None, "nobody interrupts this"
    items = [one for one in tokens.items[TEST] if one.frames > 4 * NGRAM][:CONTINUED]
    return {
        "test": {"items": len(tokens.items[TEST]), **found.record()},
        "baseline_items": baselines.items,
        "repetition": {"ngram_frames": NGRAM, "items": len(items), **_repeated(lm, items, tokens)},
    }


def _repeated(lm: AudioLM, items: list[Item], tokens: Tokens) -> dict[str, float | None]:
    """How often continuations repeat themselves, and how often real ones do; None where no item is long enough."""
    real, made = [], []
    for number, item in enumerate(items):
        codes = item.load(tokens.size)
        heard = int(0.4 * len(codes))
        target = codes[heard:][: int(LONGEST_S * tokens.frame_rate)]
        sampling = TokenSampling(seed=number)
        found = lm.generate([Prompt(left=torch.from_numpy(codes[:heard]))], len(target), sampling)[0]
        real.append(repetition(target[:, 0]))
        made.append(repetition(found[:, 0].cpu().numpy()))
    return {"generated": _mean(made), "real": _mean(real)}


def _mean(shares: list[float | None]) -> float | None:
    known = [one for one in shares if one is not None]
    return float(np.mean(known)) if known else None
