"""How well tokens are predicted, and by how much that beats guessing. Every codebook by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]  # (frames, codebooks)
NGRAM = 8  # frames: 0.16 s at 50 Hz


@dataclass(frozen=True)
class Metrics:
    """Of one codebook, over all its target tokens."""

    tokens: int
    cross_entropy: float  # nats a token
    top1: float  # share of tokens that were the likeliest
    top10: float  # share of tokens that were among the ten likeliest

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.cross_entropy, 700))


def metrics_of(sums: NDArray[np.float64]) -> list[Metrics | None]:
    """What sums `(4, codebooks)` of nats, tokens, top-1 and top-10 come to; None of a codebook without tokens."""
    return [
        Metrics(int(tokens), float(nats / tokens), float(top1 / tokens), float(top10 / tokens)) if tokens else None
        for nats, tokens, top1, top10 in sums.T
    ]


def mean_loss(metrics: Iterable[Metrics | None]) -> float:
    """The mean cross-entropy of the codebooks that were computed: what the best checkpoint is chosen by."""
    return float(np.mean([one.cross_entropy for one in metrics if one is not None]))


@dataclass(frozen=True, eq=False)
class Baselines:
    """Two ways to guess, fitted to the training tokens.

    `unigram` knows how frequent each entry is (add-one smoothing). `copy-last` gives the entry of the frame before the
    share of tokens that repeat theirs, and the others the rest in proportion to their frequency.
    """

    counts: NDArray[np.int64]  # (codebooks, size)
    repeats: NDArray[np.int64]  # (codebooks,): tokens that were their predecessor's
    pairs: int  # tokens of a codebook that have a predecessor
    items: int

    @classmethod
    def fit(cls, items: Iterable[Codes], codebooks: int, size: int) -> Baselines:
        counts, repeats = np.zeros((codebooks, size), np.int64), np.zeros(codebooks, np.int64)
        pairs = seen = 0
        for codes in items:
            for book in range(codebooks):
                counts[book] += np.bincount(codes[:, book], minlength=size)
            repeats += (codes[1:] == codes[:-1]).sum(0)
            pairs += max(0, len(codes) - 1)
            seen += 1
        return cls(counts, repeats, pairs, seen)

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """`(codebooks, size)`, each row sums to 1."""
        smooth = self.counts + 1.0
        return np.asarray(smooth / smooth.sum(1, keepdims=True))

    @property
    def copied(self) -> NDArray[np.float64]:
        """`(codebooks,)`: the probability that a token repeats, smoothed so that neither case is impossible."""
        return np.asarray((self.repeats + 1.0) / (self.pairs + 2.0))

    def unigram(self, tokens: Codes) -> NDArray[np.float64]:
        """Sums `(4, codebooks)`, as for `metrics_of`, over tokens `(n, codebooks)`."""
        frequencies = self.frequencies
        books = np.arange(tokens.shape[1])
        order = np.argsort(-frequencies, axis=1, kind="stable")[:, :10]  # (codebooks, 10)
        among = tokens[:, :, None] == order[None]
        nats = -np.log(frequencies[books, tokens]).sum(0)
        return np.stack([nats, _count(tokens), among[:, :, 0].sum(0), among.any(2).sum(0)]).astype(np.float64)

    def copy_last(self, tokens: Codes, before: Codes) -> NDArray[np.float64]:
        """As `unigram`; `before` `(n, codebooks)` is each token's predecessor, -1 where there is none.

        Its first guess is the predecessor, its ten are that and the nine most frequent; without one it is `unigram`.
        """
        frequencies, books = self.frequencies, np.arange(tokens.shape[1])
        order = np.argsort(-frequencies, axis=1, kind="stable")[:, :10]
        has, same = before >= 0, tokens == before
        copied, own = self.copied[None], frequencies[books, tokens]
        rest = 1 - frequencies[books, np.maximum(before, 0)]
        likely = np.where(has, np.where(same, copied, (1 - copied) * own / rest), own)
        among = tokens[:, :, None] == order[None]
        first = np.where(has, same, among[:, :, 0])
        ten = np.where(has, same | among[:, :, :9].any(2), among.any(2))
        return np.stack([-np.log(likely).sum(0), _count(tokens), first.sum(0), ten.sum(0)]).astype(np.float64)


def repetition(tokens: NDArray[np.integer], n: int = NGRAM) -> float | None:
    """The share of the n-grams of a sequence `(frames,)` that stand in it earlier; None where there are no two."""
    grams = np.lib.stride_tricks.sliding_window_view(tokens, n) if len(tokens) > n else np.empty((0, n))
    if len(grams) < 2:
        return None
    return 1 - len(np.unique(grams, axis=0)) / len(grams)


def _count(tokens: Codes) -> NDArray[np.int64]:
    return np.full(tokens.shape[1], len(tokens), np.int64)
