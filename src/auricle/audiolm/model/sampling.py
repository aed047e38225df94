"""How a token is drawn from a row of logits, for many rows at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from auricle.errors import OptionError

NAR = ("greedy", "sampled")
WITHOUT = ("prompt", "style")
MOST_GUIDANCE = 100


@dataclass(frozen=True)
class TokenSampling:
    """Options of `AudioLM.generate`; defaults draw from the model's distribution as it is.

    Raises:
        OptionError: an option is outside its range; the message names it.
    """

    temperature: float = 1.0  # 0: always the likeliest
    top_k: int = 0  # only so many of the likeliest; 0: all
    top_p: float = 1.0  # only the likeliest that together have this probability; 1: all
    guidance: float = 1.0  # how far to go from what the model says without the prompt; 1: it isn't asked
    guidance_without: str = "prompt"  # what guidance takes away: all of it, or "style" alone
    repetition_window: int = 0  # frames; a token that is too frequent in them is drawn again, from all; 0: off
    repetition_ratio: float = 0.1  # more of the window than this is too frequent
    seed: int | None = None  # row r of a batch is drawn as a row of its own with seed + r; None: another every time
    nar: str = "greedy"  # "sampled": codebooks that are predicted at once are drawn, too

    def __post_init__(self) -> None:
        for name in ("temperature", "guidance", "repetition_ratio"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
                raise OptionError(f"{name} is {value!r}; it is a number from 0")
        if type(self.top_p) not in (int, float) or not 0 < self.top_p <= 1:
            raise OptionError(f"top_p is {self.top_p!r}; it is above 0 and at most 1, where 1 keeps all")
        if self.guidance > MOST_GUIDANCE:
            raise OptionError(f"guidance is {self.guidance:g}; it is at most {MOST_GUIDANCE}, and 3 is much")
        if self.repetition_ratio > 1:
            raise OptionError(f"repetition_ratio is {self.repetition_ratio}; it is a share, 0 to 1")
        for name in ("top_k", "repetition_window"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise OptionError(f"{name} is {value!r}; it is a whole number from 0")
        if self.seed is not None and (type(self.seed) is not int or not 0 <= self.seed < 2**63):
            raise OptionError(f"seed is {self.seed!r}; it is a whole number from 0, below 2**63")
        if self.nar not in NAR:
            raise OptionError(f"nar is {self.nar!r}; it is one of {', '.join(NAR)}")
        if self.guidance_without not in WITHOUT:
            raise OptionError(f"guidance_without is {self.guidance_without!r}; it is one of {', '.join(WITHOUT)}")
        if self.repetition_window and not self.temperature:
            raise OptionError("repetition_window is set and temperature is 0: only what is drawn can be drawn again")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def uniforms(self, frames: Sequence[int], codebooks: int) -> Tensor:
        """What the draws of a batch take: `(rows, frames, codebooks, 2)` in 0 <= u < 1.

        A row's depend on its place in the batch and on nothing else of it, so that it is drawn as it would be alone.
        """
        found = torch.zeros(len(frames), max(frames), codebooks, 2)
        for row, count in enumerate(frames):
            generator = torch.Generator()
            if self.seed is None:
                generator.seed()
            else:
                generator.manual_seed((self.seed + row) % 2**63)
            found[row, :count] = torch.rand(count, codebooks, 2, generator=generator)
        return found


def draw(logits: Tensor, uniforms: Tensor, sampling: TokenSampling, recent: Tensor | None = None) -> Tensor:
    """
    Args:
        logits: `(rows, size)`.
        uniforms: `(rows, 2)`, for a draw and a second one.
        recent: `(rows, up to the window)`, the tokens before; None: repetition isn't looked at.

    Returns:
        `(rows,)` ids.
    """
    if sampling.greedy:
        return logits.argmax(-1)
    logits = logits.float() / sampling.temperature
    tokens = _picked(_kept(logits, sampling.top_k, sampling.top_p), uniforms[:, 0])
    if recent is None or not recent.shape[1]:
        return tokens
    often = (recent == tokens[:, None]).sum(1) > sampling.repetition_ratio * sampling.repetition_window
    return torch.where(often, _picked(logits, uniforms[:, 1]), tokens)


def guided(logits: Tensor, guidance: float) -> Tensor:
    """`(2 * rows, ...)`, with the prompt and then without it -> `(rows, ...)`."""
    prompted, free = logits.float().chunk(2)
    return free + guidance * (prompted - free)


def _kept(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """-inf for all but the likeliest."""
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        shares = ordered.softmax(-1)
        above = shares.cumsum(-1) - shares  # what those before it have; the first always stays
        beyond = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, above >= top_p)
        logits = logits.masked_fill(beyond, -torch.inf)
    return logits


def _picked(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Where the distribution's cumulated sum passes u; an id of probability 0 never is."""
    sums = logits.softmax(-1).cumsum(-1)
    total = sums[:, -1:]
    # Rounding may bring u * total to the total itself, beyond the last id.
    at = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(sums, at, right=True)[:, 0]
