"""The Fréchet distance of log-mel patches: nothing for the same sounds, more for others."""

from __future__ import annotations

import numpy as np
import pytest

from auricle.audiolm.distances import _frechet, log_mel_frechet
from auricle.errors import OptionError, SoundError

RATE = 16_000


def noises(count: int, level: float = 0.1, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, level, 3 * RATE).astype(np.float32) for _ in range(count)]


def tones(count: int, hertz: float) -> list[np.ndarray]:
    time = np.arange(3 * RATE) / RATE
    return [(0.3 * np.sin(2 * np.pi * hertz * (1 + 0.01 * i) * time)).astype(np.float32) for i in range(count)]


def test_the_same_and_others() -> None:
    same = log_mel_frechet(noises(8), noises(8), RATE)
    alike = log_mel_frechet(noises(8), noises(8, seed=1), RATE)
    louder = log_mel_frechet(noises(8), noises(8, level=0.2, seed=1), RATE)
    other = log_mel_frechet(noises(8), tones(8, 440), RATE)
    assert same == pytest.approx(0, abs=1e-3)
    assert same < alike < louder < other
    assert louder == pytest.approx(32 * 6.02**2, rel=0.1), "each of 32 bands is 6 dB louder"
    assert log_mel_frechet(tones(8, 440), noises(8), RATE) == pytest.approx(other, rel=1e-6)


def test_gaussians_with_a_known_distance() -> None:
    """Of commuting covariances: the sum of squared differences of means and of standard deviations."""
    a, b = np.diag([4.0, 9.0]), np.diag([1.0, 25.0])
    assert _frechet(np.zeros(2), a, np.array([3.0, 4.0]), b) == pytest.approx(25 + 1 + 4)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert _frechet(np.zeros(2), turn @ a @ turn.T, np.zeros(2), turn @ b @ turn.T) == pytest.approx(5)


def test_order_within_a_set_does_not_matter() -> None:
    sounds = noises(4)
    assert log_mel_frechet(sounds, tones(4, 300), RATE) == pytest.approx(
        log_mel_frechet(sounds[::-1], tones(4, 300), RATE), rel=1e-9
    )


def test_silence_is_a_sound() -> None:
    assert np.isfinite(log_mel_frechet([np.zeros(RATE, np.float32)], noises(1), RATE))


def test_what_cannot_be_compared() -> None:
    with pytest.raises(SoundError, match="there are 0 patches"):
        log_mel_frechet([np.zeros(100, np.float32)], noises(1), RATE)
    with pytest.raises(SoundError, match="not finite"):
        log_mel_frechet([np.full(RATE, np.nan, np.float32)], noises(1), RATE)
    with pytest.raises(OptionError, match="bands is 0"):
        log_mel_frechet(noises(1), noises(1), RATE, bands=0)
    with pytest.raises(OptionError, match=r"patch_s is 0.01; at 16000 Hz it must be at least 0.128"):
        log_mel_frechet(noises(1), noises(1), RATE, patch_s=0.01)
