"""The built-in models that make sound: small enough, and music comes out of `examples/melody.wav`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auricle.audiolm.making import Loaded, continue_audio, infill_audio, load_audiolm, restyle_audio
from auricle.sound.decode import decode
from recipes.audiolm.hearing import in_key, pitches
from recipes.audiolm.timbres import RATE

ROOT = Path(__file__).parents[1]
MELODY, FLUTE = ROOT / "examples" / "melody.wav", ROOT / "examples" / "flute.wav"
KEY, MODE = 11, "minor"  # of the melody


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load_audiolm("tiny-audiolm")


@pytest.mark.parametrize(("name", "limit"), [("tiny-codec", 8_000_000), ("tiny-audiolm", 16_000_000)])
def test_it_is_small(name: str, limit: int) -> None:
    folder = ROOT / "src" / "auricle" / "assets" / name
    assert sum(file.stat().st_size for file in folder.iterdir()) <= limit


def test_the_melody_goes_on_in_its_key_and_the_original_is_kept(loaded: Loaded) -> None:
    original = decode(MELODY, rate=RATE).samples
    shares = []
    for seed in range(3):
        made = continue_audio(MELODY, 4, model=loaded, seed=seed)
        samples = made.audio.samples
        assert len(samples) == len(original) + 4 * RATE
        np.testing.assert_array_equal(samples[: len(original) - RATE // 10], original[: len(original) - RATE // 10])
        new = samples[len(original) :]
        assert float(np.abs(new).max()) > 0.05
        shares.append(in_key(pitches(new), KEY, MODE))
    assert np.mean(shares) > 0.8  # of notes drawn at random, 7 / 12 would be


def test_a_gap_is_filled_and_nothing_else_changes(loaded: Loaded) -> None:
    original = decode(MELODY, rate=RATE).samples
    samples = infill_audio(MELODY, (2.0, 3.0), model=loaded, seed=1).audio.samples
    assert len(samples) == len(original)
    for first, end in ((0.0, 1.9), (3.1, 6.0)):
        kept = slice(round(first * RATE), round(end * RATE))
        np.testing.assert_array_equal(samples[kept], original[kept])
    gap = slice(round(2.1 * RATE), round(2.9 * RATE))
    assert not np.allclose(samples[gap], original[gap], atol=1e-3)


def test_a_style_changes_what_is_made(loaded: Loaded) -> None:
    plain = continue_audio(MELODY, 2, model=loaded, seed=1).codes
    styled = restyle_audio(MELODY, FLUTE, 2, model=loaded, seed=1).codes
    assert styled.shape == plain.shape
    assert (styled != plain).mean() > 0.2
