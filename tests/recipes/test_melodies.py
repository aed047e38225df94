"""The audio language model's training sound: what it promises about keys, tempi, pitches and levels."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from recipes.audiolm import melodies, timbres, tunes
from recipes.audiolm.melodies import codec_clip, melody


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _calm(samples: np.ndarray) -> bool:
    """Neither end jumps: both are at zero, and what is beside them is small."""
    return bool(abs(samples[0]) < 1e-4 and abs(samples[-1]) < 1e-4 and np.abs(np.diff(samples[-4:])).max() < 0.02)


def test_a_melody_is_the_same_for_the_same_seed() -> None:
    first, again, other = melody(_rng(3), 2), melody(_rng(3), 2), melody(_rng(4), 2)
    assert np.array_equal(first.samples, again.samples)
    assert first.notes == again.notes
    assert not np.array_equal(first.samples, other.samples)


@pytest.mark.parametrize("seconds", [0.5, 3.21, 10])
def test_samples_of_a_melody(seconds: float) -> None:
    for seed in range(12):
        made = melody(_rng(seed), seconds)
        assert made.samples.shape == (round(seconds * timbres.RATE),)
        assert made.samples.dtype == np.float32
        assert np.abs(made.samples).max() <= melodies.PEAK + 1e-6
        assert _calm(made.samples)


def test_notes_are_in_the_key_in_range_and_on_the_grid() -> None:
    bass = 0
    for seed in range(40):
        made = melody(_rng(seed), 8)
        assert made.bpm in melodies.TEMPI
        assert made.instrument in timbres.INSTRUMENTS
        scale = {(made.key + step) % 12 for step in tunes.SCALES[made.mode]}
        assert {note.midi % 12 for note in (*made.notes, *made.bass)} <= scale
        assert all(55 <= note.midi <= 84 for note in made.notes)
        assert all(0 <= note.start_s < 8 for note in made.notes)
        eighths = np.array([note.start_s - made.notes[0].start_s for note in made.notes]) * made.bpm / 30
        assert np.abs(eighths - eighths.round()).max() < 1e-6
        assert (np.diff(eighths) > 0).all()
        bass += bool(made.bass)
    assert 4 <= bass <= 22


def test_tunes_repeat_and_come_to_rest() -> None:
    for seed in range(50):
        bars = tunes.tune(_rng(seed))
        assert len(bars) == 16
        assert bars[:3] == bars[4:7] == bars[12:15]
        assert [bars[i][-1].degree % 7 for i in (3, 7, 11, 15)] == [4, 0, 4, 0]
        for bar in bars:
            assert all(a.start + a.length <= b.start for a, b in pairwise(bar))
            assert bar[-1].start + bar[-1].length <= tunes.EIGHTHS
            assert all(tunes.LOWEST <= event.degree <= tunes.HIGHEST for event in bar)


def _pitch(samples: np.ndarray) -> float:
    """Frequency in Hz by the first high peak of the autocorrelation, with a parabola through it."""
    size = 1 << (2 * len(samples) - 1).bit_length()
    power = np.abs(np.fft.rfft(samples.astype(np.float64), size)) ** 2
    correlation = np.fft.irfft(power)[: len(samples) // 2] / np.arange(
        len(samples), len(samples) - len(samples) // 2, -1
    )
    shortest = 20
    inner = correlation[shortest:-1]
    peaks = np.flatnonzero((inner >= correlation[shortest - 1 : -2]) & (inner > correlation[shortest + 1 :])) + shortest
    lag = int(next(peak for peak in peaks if correlation[peak] > 0.9 * correlation[peaks].max()))
    before, at, after = correlation[lag - 1 : lag + 2]
    return timbres.RATE / (lag + 0.5 * (before - after) / (before - 2 * at + after))


@pytest.mark.parametrize("name", timbres.INSTRUMENTS)
@pytest.mark.parametrize("midi", [55, 69, 84])
def test_pitch_of_a_note(name: str, midi: int) -> None:
    samples = timbres.render(timbres.INSTRUMENTS[name], midi, 0.6)
    # From 0.15 s on: attacks are over, and what is inharmonic in a marimba.
    cents = 1200 * np.log2(_pitch(samples[4800:14400]) / timbres.hertz(midi))
    assert abs(cents) < 20


@pytest.mark.parametrize("kind", melodies.KINDS)
def test_clips_for_the_codec(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(melodies, "KINDS", {kind: 1.0})
    for seed in range(6):
        samples = codec_clip(_rng(seed), 1.1)
        assert samples.shape == (35200,)
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() <= 1
        assert abs(samples[0]) < 1e-6
        assert abs(samples[-1]) < 1e-6
        assert np.array_equal(samples, codec_clip(_rng(seed), 1.1))


def test_a_folder_of_melodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--out", str(tmp_path), "--count", "3", "--seconds", "1", "--seed", "5"]
    monkeypatch.setattr(sys, "argv", ["melodies", *arguments])
    melodies.main()
    lines = [json.loads(line) for line in (tmp_path / "melodies.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == ["000000.wav", "000001.wav", "000002.wav"]
    assert lines[2]["bpm"] == melody(_rng((5, 2)), 1).bpm  # type: ignore[arg-type]
    assert all((tmp_path / line["file"]).stat().st_size > 64000 for line in lines)
