"""Kept and made sound put together: what is kept stays as it is, and nothing clicks."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.audiolm.making.splice import Splice
from tests.audiolm.making.fakes import wave


def spliced(splice: Splice, decoded: np.ndarray, size: int) -> np.ndarray:
    pushed = [splice.push(decoded[start : start + size]) for start in range(0, len(decoded), size)]
    return np.concatenate([splice.opening(), *pushed, splice.closing()])


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_kept_made_kept_whatever_the_pieces(size: int) -> None:
    before, after = np.full(500, 1, np.float32), np.full(300, 3, np.float32)
    decoded = np.full(120 + 400 + 90, 2, np.float32)
    splice = Splice(before, 400, after, lead=120, spare=90, fade=50)
    out = spliced(splice, decoded, size)
    assert len(out) == 1200
    assert (out[:450] == 1).all()
    assert (out[500:900] == 2).all()
    assert (out[950:] == 3).all()
    assert (np.diff(out[450:500]) > 0).all(), "from one to the other"
    assert (np.diff(out[900:950]) > 0).all()
    assert splice.seams == (500, 900)


def test_in_the_fade_the_shares_add_up() -> None:
    same = wave(0.5)
    splice = Splice(same[:2000], 1000, same[3000:], lead=800, spare=1000, fade=240)
    out = spliced(splice, same[1200:4000], 333)
    assert np.abs(out - same).max() < 1e-6
    assert out[:1760].tobytes() == same[:1760].tobytes()


@pytest.mark.parametrize(("before", "after"), [(0, 300), (300, 0), (0, 0), (10, 5)])
def test_sides_that_are_short_or_not_there(before: int, after: int) -> None:
    sides = np.ones(before, np.float32), np.ones(after, np.float32)
    splice = Splice(sides[0], 100, sides[1], lead=before, spare=after, fade=50)
    out = spliced(splice, np.full(before + 100 + after, 0.5, np.float32), 64)
    assert len(out) == before + 100 + after
    assert (out[before : before + 100] == 0.5).all()
    assert len(splice.seams) == (before > 0) + (after > 0)


def test_what_is_decoded_past_the_end_is_not_heard() -> None:
    splice = Splice(np.ones(100, np.float32), 90, np.zeros(0, np.float32), lead=100, spare=30, fade=0)
    assert len(spliced(splice, np.ones(100 + 120, np.float32), 50)) == 190
