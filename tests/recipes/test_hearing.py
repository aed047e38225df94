"""The ear that judges continuations, against melodies whose notes are known."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.audiolm.hearing import HOP, in_key, pitches, tempo
from recipes.audiolm.melodies import Melody, melody
from recipes.audiolm.timbres import RATE


def single_voices(count: int, seconds: float = 8.0) -> list[Melody]:
    made = (melody(np.random.default_rng((77, i)), seconds) for i in range(4 * count))
    return [one for one in made if not one.bass][:count]


@pytest.fixture(scope="module")
def voices() -> list[Melody]:
    return single_voices(24)


def test_pitches_are_those_that_are_played(voices: list[Melody]) -> None:
    right = total = 0
    for one in voices:
        heard = pitches(one.samples)
        for note in one.notes:
            middle = int((note.start_s + 0.4 * note.duration_s) * RATE / HOP)
            if middle < len(heard):
                total += 1
                right += abs(heard[middle] - note.midi) < 0.5
    assert right / total > 0.9


def test_keys_and_tempi_are_told_apart(voices: list[Melody]) -> None:
    own = np.mean([in_key(pitches(one.samples), one.key, one.mode) for one in voices])
    other = np.mean([in_key(pitches(one.samples), one.key + 6, one.mode) for one in voices])
    assert own > 0.9
    assert other < 0.6
    assert np.mean([tempo(one.samples) == one.bpm for one in voices]) > 0.8


def test_silence_has_neither() -> None:
    silence = np.zeros(RATE, np.float32)
    assert np.isnan(pitches(silence)).all()
    assert np.isnan(in_key(pitches(silence), 0, "major"))
