"""Baselines against a loop over tokens, one at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auricle.audiolm.training.metrics import Baselines, mean_loss, metrics_of, repetition

SIZE = 12


@pytest.fixture(scope="module")
def items() -> list[np.ndarray]:
    """Tokens that often repeat, of 2 codebooks with unequal frequencies."""
    rng = np.random.default_rng(0)
    shares = np.arange(1, SIZE + 1) ** 2.0
    shares /= shares.sum()
    found = []
    for frames in (50, 80, 1):
        codes = np.stack([rng.choice(SIZE, frames, p=shares), rng.choice(SIZE, frames, p=shares[::-1])], 1)
        for frame in range(1, frames):
            codes[frame, rng.random(2) < (0.5, 0.2)] = -1
            codes[frame] = np.where(codes[frame] < 0, codes[frame - 1], codes[frame])
        found.append(codes)
    return found


@pytest.fixture(scope="module")
def baselines(items: list[np.ndarray]) -> Baselines:
    return Baselines.fit(items, 2, SIZE)


def frequency(items: list[np.ndarray], book: int, token: int) -> float:
    tokens = np.concatenate([codes[:, book] for codes in items])
    return float((np.sum(tokens == token) + 1) / (len(tokens) + SIZE))


def test_counts(items: list[np.ndarray], baselines: Baselines) -> None:
    assert (baselines.items, baselines.pairs) == (3, 49 + 79)
    for book in range(2):
        expected = [frequency(items, book, token) for token in range(SIZE)]
        assert baselines.frequencies[book] == pytest.approx(expected)
        repeats = sum(int((codes[1:, book] == codes[:-1, book]).sum()) for codes in items)
        assert baselines.copied[book] == pytest.approx((repeats + 1) / (128 + 2))


def test_unigram(items: list[np.ndarray], baselines: Baselines) -> None:
    tokens = items[0]
    sums = baselines.unigram(tokens)
    for book in range(2):
        shares = [frequency(items, book, token) for token in range(SIZE)]
        likeliest = sorted(range(SIZE), key=lambda token: -shares[token])
        found = tokens[:, book].tolist()
        assert sums[0, book] == pytest.approx(-sum(math.log(shares[token]) for token in found))
        assert sums[1:, book].tolist() == [
            50,
            sum(token == likeliest[0] for token in found),
            sum(token in likeliest[:10] for token in found),
        ]


def test_copy_last(items: list[np.ndarray], baselines: Baselines) -> None:
    tokens = items[1]
    before = np.concatenate([[[-1, -1]], tokens[:-1]])
    sums = baselines.copy_last(tokens, before)
    for book in range(2):
        nats = first = 0.0
        for token, last in zip(tokens[:, book].tolist(), before[:, book].tolist(), strict=True):
            share, p = frequency(items, book, token), float(baselines.copied[book])
            if last < 0:
                nats -= math.log(share)
                first += token == int(np.argmax(baselines.frequencies[book]))
            elif token == last:
                nats -= math.log(p)
                first += 1
            else:
                nats -= math.log((1 - p) * share / (1 - frequency(items, book, last)))
        assert sums[0, book] == pytest.approx(nats)
        assert sums[2, book] == first
    assert (sums[0] < baselines.unigram(tokens)[0])[0], "codebook 0 repeats half of the time"


def test_copy_last_is_a_distribution(baselines: Baselines) -> None:
    """Over all tokens, the probabilities after any predecessor add up to one."""
    every = np.stack([np.arange(SIZE)] * 2, 1)
    for last in (-1, 0, 7):
        before = np.full_like(every, last)
        chances = np.array([np.exp(-baselines.copy_last(every[i : i + 1], before[i : i + 1])[0]) for i in range(SIZE)])
        assert chances.sum(0) == pytest.approx([1, 1])


def test_metrics_leave_out_what_was_not_computed() -> None:
    sums = np.array([[20.0, 0.0], [10, 0], [4, 0], [9, 0]])
    one, none = metrics_of(sums)
    assert none is None
    assert one is not None
    assert (one.tokens, one.cross_entropy, one.top1, one.top10) == (10, 2.0, 0.4, 0.9)
    assert one.perplexity == pytest.approx(math.e**2)
    assert mean_loss([one, None]) == 2.0


@pytest.mark.parametrize(
    ("tokens", "n", "share"),
    [
        (range(20), 4, 0.0),
        ([1, 2, 3] * 5, 3, 1 - 3 / 13),
        ([5] * 10, 2, 1 - 1 / 9),
        ([1, 2, 3, 4, 1, 2], 2, 1 - 4 / 5),
        ([1, 2, 3], 3, None),
        ([], 3, None),
    ],
)
def test_repetition(tokens: list[int], n: int, share: float | None) -> None:
    found = repetition(np.array(tokens, np.int64), n)
    assert found == (None if share is None else pytest.approx(share))
