"""Small models, and prompts for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt

SIZE, BOOKS = 32, 4
KINDS: dict[str, dict[str, Any]] = {
    "ar-nar": {},
    "delay": {"pattern": "delay"},
    "seed": {"share_embedding": False, "positions": "sine", "prepend_bos": False, "predict_end": True},
    "post-norm": {"norm_first": False, "add_prenet": True, "nar_scale_factor": 0.5},
    "delay-end": {"pattern": "delay", "predict_end": True, "share_embedding": False},
}


def model(kind: str = "ar-nar", *, seed: int = 0, **changes: Any) -> AudioLM:
    """In eval mode, with weights far enough from where they begin that everything has a say."""
    torch.manual_seed(seed)
    fields = {"d_model": 32, "nhead": 4, "num_layers": 2, "codebook_size": SIZE, "dropout": 0.0}
    made = AudioLM(**{**fields, **KINDS[kind], **changes})
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return made.eval()


def codes(frames: int, seed: int = 0, books: int = BOOKS) -> Tensor:
    return torch.randint(0, SIZE, (frames, books), generator=torch.Generator().manual_seed(seed))


def prompts() -> list[Prompt]:
    """Of all kinds and lengths, all with a left side."""
    return [
        Prompt(left=codes(6, 1)),
        Prompt(left=codes(4, 2), right=codes(3, 3), style=codes(5, 4), gap=9),
        Prompt(left=codes(1, 5)),
        Prompt(left=codes(7, 6), style=codes(2, 7)),
    ]


def batch(given: Sequence[Prompt] | None = None, lengths: Sequence[int] = (9, 7, 8, 3), **options: Any) -> Batch:
    given = prompts() if given is None else given
    return Batch.of(given, [codes(length, 20 + row) for row, length in enumerate(lengths)], **options)
