"""Peaks brought within full scale."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.sound.limiter import Limiter, limited
from tests.sound.making import tone


def burst() -> np.ndarray:
    sound = tone(440, 1.0, amplitude=0.9)
    sound[6000:6400] *= 1.5
    return sound


def test_nothing_beyond_stays_bit_for_bit() -> None:
    sound = tone(440, 1.0, amplitude=1.0)
    out, limiter = limited(sound, 16_000)
    assert out.tobytes() == sound.tobytes()
    assert (limiter.lowered, limiter.deepest) == (0, 1.0)


def test_peaks_are_lowered_and_the_rest_is_not_touched() -> None:
    sound = burst()
    out, limiter = limited(sound, 16_000)
    assert np.abs(out).max() <= 1
    assert np.abs(out).max() > 0.99
    assert out[: 6000 - 320].tobytes() == sound[: 6000 - 320].tobytes()
    assert out[6400 + 320 :].tobytes() == sound[6400 + 320 :].tobytes()
    assert limiter.deepest == pytest.approx(1 / 1.35, abs=0.01)
    assert 400 < limiter.lowered <= 400 + 640


def test_it_is_not_clipping() -> None:
    """Distortion lies in other places of the spectrum than the tone: far less than that of cutting the peaks off."""
    sound = burst()[5000:7400]

    def beside(samples: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        return float(power[3 * 440 * 2400 // 16_000 - 60 :].sum())

    assert beside(limited(sound, 16_000)[0]) < 0.01 * beside(np.clip(sound, -1, 1))


@pytest.mark.parametrize("size", [1, 100, 333, 5000])
def test_pieces_come_to_the_same(size: int) -> None:
    sound = burst()[4000:8000]
    limiter = Limiter(16_000)
    parts = [limiter.push(sound[at : at + size]) for at in range(0, len(sound), size)]
    np.testing.assert_array_equal(np.concatenate([*parts, limiter.finish()]), limited(sound, 16_000)[0])


def test_noise_far_beyond() -> None:
    noise = np.random.default_rng(0).normal(0, 3, 4000).astype(np.float32)
    out, _ = limited(noise, 16_000)
    assert np.abs(out).max() <= 1
    assert len(out) == 4000
