"""Levels, and the pauses that are found by them in soft and loud, clean and noisy sound."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from auricle.sound.activity import levels, pauses
from auricle.types import Audio
from tests.sound.making import RATE, tone


def noise(seconds: float, amplitude: float, seed: int = 0) -> NDArray[np.float32]:
    return (amplitude * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def words(gain: float = 1.0) -> NDArray[np.float32]:
    """Two sounds of a second with a pause from 1.5 s to 2.2 s, between edges of half a second."""
    edge, pause = np.zeros(RATE // 2, np.float32), np.zeros(round(0.7 * RATE), np.float32)
    return gain * np.concatenate((edge, tone(200, amplitude=0.3), pause, tone(900, amplitude=0.1), edge))


def test_levels_are_decibels_of_full_scale() -> None:
    level = levels(Audio(np.concatenate((tone(amplitude=1.0), tone(amplitude=0.1), np.zeros(200, np.float32))), RATE))
    assert level.shape == (202,)  # the last one is half a frame
    assert level[10:90] == pytest.approx(-3.01, abs=0.5)
    assert level[110:190] == pytest.approx(-23.01, abs=0.5)
    assert (level[200:] == -100).all()


def test_a_constant_offset_is_silence() -> None:
    assert (levels(Audio(np.full(1000, 0.4, np.float32), RATE)) == -100).all()


@pytest.mark.parametrize("gain", [1.0, 0.03])
@pytest.mark.parametrize("noise_floor", [0.0, 0.001, 0.01])
@pytest.mark.parametrize("rate", [8_000, RATE, 44_100])
def test_the_pauses_between_sounds(gain: float, noise_floor: float, rate: int) -> None:
    """The same at any loudness, over any noise that is well below, at any rate."""
    samples = gain * (words() + noise(len(words()) / RATE, noise_floor))
    found = pauses(Audio(np.interp(np.arange(0, len(samples), RATE / rate), np.arange(len(samples)), samples), rate))
    assert np.array(found) == pytest.approx(np.array([(0, 0.5), (1.5, 2.2), (3.2, 3.7)]), abs=0.05)


def test_short_pauses_count_when_asked_for() -> None:
    samples = tone(seconds=2)
    samples[RATE : RATE + round(0.1 * RATE)] = 0
    assert pauses(Audio(samples, RATE)) == []
    ((start, end),) = pauses(Audio(samples, RATE), min_seconds=0.05)
    assert (start, end) == pytest.approx((1.0, 1.1), abs=0.03)


@pytest.mark.parametrize("samples", [noise(3, 0.1), noise(3, 0.001), tone(seconds=3), tone(60, seconds=3)])
def test_what_is_steady_has_no_pause(samples: NDArray[np.float32]) -> None:
    assert pauses(Audio(samples, RATE), min_seconds=0.01) == []


@pytest.mark.parametrize("samples", [np.zeros(48_000, np.float32), np.full(48_000, 0.2, np.float32), noise(3, 1e-5)])
def test_what_is_silent_is_one_pause(samples: NDArray[np.float32]) -> None:
    assert pauses(Audio(samples, RATE)) == [(0.0, 3.0)]
    assert pauses(Audio(samples[:-1], RATE)) == [(0.0, 47_999 / RATE)]


def test_one_word_in_a_long_silence_is_found() -> None:
    """Less than the share of frames that the noise floor is measured by."""
    samples = np.zeros(60 * RATE, np.float32)
    samples[30 * RATE : 30 * RATE + 4000] = tone(seconds=0.25)
    (_, before), (after, _) = pauses(Audio(samples, RATE))
    assert (before, after) == pytest.approx((30, 30.25), abs=0.05)


@pytest.mark.parametrize("count", [0, 1, 2, 159, 160, 161])
def test_sounds_of_hardly_any_length(count: int) -> None:
    for samples in (np.zeros(count, np.float32), np.ones(count, np.float32)):
        assert pauses(Audio(samples, RATE)) == []
        assert len(levels(Audio(samples, RATE))) == -(-count // 160)
