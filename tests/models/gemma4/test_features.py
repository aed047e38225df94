"""Mel settings and limits. That the numbers are right is in tests/parity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from auricle.errors import CheckpointError, SoundError
from auricle.models.gemma4.features import FeatureConfig, log_mel

CONFIG = FeatureConfig()


def silence(samples: int) -> np.ndarray:
    return np.zeros(samples, dtype=np.float32)


@pytest.mark.parametrize("samples", [0, 1, 160])
def test_too_short(samples: int) -> None:
    with pytest.raises(SoundError, match=rf"has {samples} samples at 16000 Hz; .* at least 161 \(10\.1 ms\)"):
        log_mel(silence(samples))


def test_too_long() -> None:
    with pytest.raises(SoundError, match=r"the clip is 30\.00 s long; the model takes at most 30 s"):
        log_mel(silence(480_001))


def test_the_limits_are_within() -> None:
    assert log_mel(silence(161)).shape == (1, 128)
    assert log_mel(silence(480_000)).shape == (2999, 128)


def test_silence_is_the_floor() -> None:
    """Added, not clamped to: ln(0 + 1e-3)."""
    assert np.allclose(log_mel(silence(1000)), np.log(1e-3), atol=1e-6)


def test_a_tone_twice_as_loud_is_a_magnitude_twice_as_large() -> None:
    """A power would be four times."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 16_000).astype(np.float32)
    loud, soft = (np.exp(log_mel(level * tone)) - 1e-3 for level in (0.8, 0.4))
    peak = loud.mean(axis=0).argmax()
    assert loud[5:, peak] / soft[5:, peak] == pytest.approx(2.0, rel=1e-3)


def test_the_settings_of_released_checkpoints_are_the_defaults() -> None:
    transformers = pytest.importorskip("transformers")
    assert FeatureConfig.from_dict(transformers.Gemma4AudioFeatureExtractor().to_dict()) == CONFIG
    assert FeatureConfig.from_dict({}) == CONFIG


def test_settings_are_read() -> None:
    config = FeatureConfig.from_dict({"mel_floor": 0.01, "feature_size": 64, "unknown": 1})
    assert (config.mel_floor, config.feature_size) == (0.01, 64)
    assert log_mel(silence(1000), config).shape[1] == 64


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("preemphasis", 0.97),
        ("dither", 1e-5),
        ("input_scale_factor", 2.0),
        ("fft_overdrive", True),
        ("per_bin_mean", [0.0] * 128),
        ("per_bin_stddev", [1.0] * 128),
    ],
)
def test_settings_that_are_not_supported_are_refused_not_ignored(name: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"the feature extractor sets {name}="):
        FeatureConfig.from_dict({name: value})


def test_silence_that_a_model_asks_for_stands_after_the_clip() -> None:
    config = FeatureConfig(trailing_silence_s=0.3)
    samples = np.random.default_rng(0).normal(size=5000).astype(np.float32) * 0.1
    padded = log_mel(np.concatenate([samples, np.zeros(4800, np.float32)]))
    np.testing.assert_array_equal(log_mel(samples, config), padded)
    assert config.frames(5000) == len(padded) == FeatureConfig().frames(9800)
    assert config.tokens(160) == 0  # too short a clip stays too short
