"""Codebooks that learn: moving averages and a straight-through gradient, around the runtime's quantiser.

The reference can only look codes up. As in EnCodec's paper: each entry moves to the mean of what chose it; an entry
that nothing chooses any more is put where a frame of the batch is; and a random number of codebooks is used for each
clip, so that the first ones alone give sound as well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auricle.audiolm.codecs.encodec_model import Codebook, Quantizer

DECAY = 0.99
DEAD = 0.25  # of the even share: an entry that is chosen less often than that is put elsewhere
COMMITMENT = 0.25


class LearningQuantizer(nn.Module):
    """Quantises in training, and moves the codebooks of `quantizer`."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer
        for i, book in enumerate(quantizer.books):
            self.register_buffer(f"count{i}", torch.ones(len(book.embed)))
            self.register_buffer(f"sum{i}", book.embed.clone())

    def begin(self, latents: list[Tensor]) -> None:
        """Sets the codebooks by k-means, one after the other, from batches `(frames, width)`, many times their size."""
        rest = torch.cat(latents)
        share = len(rest) / len(latents) / len(self.quantizer.books[0].embed)  # of a batch, for each entry
        for i, book in enumerate(self.quantizer.books):
            book.embed.copy_(k_means(rest, len(book.embed)))
            rest = rest - book(book.nearest(rest))
            self.get_buffer(f"sum{i}").copy_(book.embed * share)
            self.get_buffer(f"count{i}").fill_(share)

    def forward(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`(batch, width, frames)` -> quantised, with the gradient of `x`; and what keeps `x` near the codes."""
        books = self.quantizer.books
        drawn = torch.randint(1, len(books) + 1, (len(x),), generator=generator)
        used = torch.where(torch.rand(len(x), generator=generator) < 0.5, len(books), drawn)
        frames = x.transpose(1, 2)
        rest, total, loss = frames, torch.zeros_like(frames), x.new_zeros(())
        for i, book in enumerate(books):
            active = (used > i)[:, None, None]
            chosen = book.nearest(rest.detach())
            entry = book(chosen)
            loss = loss + (active * (rest - entry.detach()).square()).mean()
            if self.training:
                kept = active[:, 0, 0]
                self._move(i, book, rest.detach()[kept].flatten(0, 1), chosen[kept].flatten(), generator)
            total = total + active * entry
            rest = rest - entry.detach()
        result = frames + (total - frames).detach()
        return result.transpose(1, 2), COMMITMENT * loss / len(books)

    def _move(self, i: int, book: Codebook, rest: Tensor, chosen: Tensor, generator: torch.Generator) -> None:
        count, total = self.get_buffer(f"count{i}"), self.get_buffer(f"sum{i}")
        size = len(count)
        count.lerp_(torch.bincount(chosen, minlength=size).float(), 1 - DECAY)
        total.lerp_(torch.zeros_like(total).index_add_(0, chosen, rest), 1 - DECAY)
        dead = count < DEAD * len(rest) / size
        if bool(dead.any()) and len(rest):
            new = rest[torch.randint(len(rest), (int(dead.sum()),), generator=generator)]
            share = len(rest) / size
            count[dead] = share
            total[dead] = new * share
        book.embed.copy_(total / count[:, None].clamp_min(1e-6))


def k_means(x: Tensor, size: int, rounds: int = 15) -> Tensor:
    """`(size, width)` centres of `(n, width)`, after some rounds of Lloyd's."""
    centres = x[torch.randperm(len(x))[:size]].clone()
    for _ in range(rounds):
        nearest = (centres.square().sum(-1) - 2 * x @ centres.T).argmin(-1)
        count = torch.bincount(nearest, minlength=size).float()
        means = torch.zeros_like(centres).index_add_(0, nearest, x) / count[:, None].clamp_min(1)
        empty = count == 0
        means[empty] = x[torch.randint(len(x), (int(empty.sum()),))]
        centres = means
    return centres


def perplexities(codes: Tensor, size: int) -> list[float]:
    """Of each codebook, `exp` of the entropy of how often each entry occurs. `codes`: `(frames, codebooks)`."""
    result = []
    for column in codes.T:
        share = torch.bincount(column, minlength=size).float() / len(column)
        result.append(float(torch.exp(-(share * share.clamp_min(1e-12).log()).sum())))
    return result
