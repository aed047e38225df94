"""Choosing the next token from its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle.types import Sampling, TokenLogprob

if TYPE_CHECKING:
    from auricle.engine.constraint import Held


class Sampler:
    """Picks tokens for one request, as its settings say; the random choices follow its seed alone.

    The order is the one of transformers: penalty, constraint, temperature, top-k, top-p, min-p. So the filters choose
    among what the constraint allows.
    """

    def __init__(self, sampling: Sampling, prompt: list[int], held: Held | None = None) -> None:
        self.sampling, self._held = sampling, held
        self._seen = set(prompt)
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def pick(self, logits: Tensor) -> int:
        """One token id from `(vocabulary,)` logits; one that the constraint allows, or an error of `Held.mask`."""
        logits = self._penalised(logits.float())
        if self._held is not None:
            logits = self._held.mask(logits)
        if self.sampling.temperature == 0:
            token = int(logits.argmax())
        else:
            probabilities = torch.softmax(filtered(logits / self.sampling.temperature, self.sampling), dim=-1)
            # Drawn on the CPU, so that a seed gives the same choices on every device.
            token = int(torch.multinomial(probabilities.cpu(), 1, generator=self._generator))
        self._seen.add(token)
        if self._held is not None:
            self._held.accept(token)
        return token

    def _penalised(self, logits: Tensor) -> Tensor:
        """Makes tokens that were seen less likely (CTRL, arXiv:1909.05858: divide positive logits, multiply others)."""
        penalty = self.sampling.repetition_penalty
        if penalty == 1.0:
            return logits
        known = sorted(token for token in self._seen if token < len(logits))
        seen = torch.tensor(known, dtype=torch.long, device=logits.device)
        logits = logits.clone()
        values = logits[seen]
        logits[seen] = torch.where(values > 0, values / penalty, values * penalty)
        return logits


def filtered(logits: Tensor, sampling: Sampling) -> Tensor:
    """`(vocabulary,)` logits with what top-k, top-p and min-p leave out at -inf; the likeliest always stays."""
    if 0 < sampling.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], -torch.inf)
    if sampling.top_p < 1:
        ordered, places = logits.sort(descending=True)
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities  # of all likelier tokens
        logits = logits.masked_fill((before >= sampling.top_p).scatter(0, places, before >= sampling.top_p), -torch.inf)
    if sampling.min_p > 0:
        probabilities = logits.softmax(-1)
        logits = logits.masked_fill(probabilities < sampling.min_p * probabilities.max(), -torch.inf)
    return logits


def logprob_of(token: int, logits: Tensor, others: int, spell: Callable[[int], bytes]) -> TokenLogprob:
    """How likely a token is by `(vocabulary,)` logits of the model, and so many of the likeliest."""
    logprobs = logits.float().log_softmax(-1)
    best = logprobs.topk(min(others, len(logprobs)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    top = tuple(TokenLogprob(spell(id), value) for id, value in pairs)
    return TokenLogprob(spell(token), float(logprobs[token]), top)
