"""Cutting long sound: nothing lost, nothing too long or tiny, at pauses where there are some."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auricle.errors import OptionError
from auricle.sound.segment import Piece, segment
from auricle.types import Audio
from tests.sound.making import tone

RATE = 1000  # low, so that long sounds are quick to make


def speech(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise in words of a fifth of a second to two seconds, with pauses of up to one."""
    chance = np.random.default_rng(seed)
    parts: list[NDArray[np.float64]] = []
    while sum(map(len, parts)) < seconds * RATE:
        word, pause = chance.integers(200, 2000), chance.integers(20, 1000)
        parts += [chance.uniform(0.05, 0.3) * chance.standard_normal(word), 1e-4 * chance.standard_normal(pause)]
    return np.concatenate([*parts, []])[: round(seconds * RATE)].astype(np.float32)


def check(audio: Audio, pieces: list[Piece], max_seconds: float) -> None:
    """What holds for every sound: the pieces are the sound, in order, none too long, none needlessly short."""
    assert np.array_equal(np.concatenate([piece.audio.samples for piece in pieces]), audio.samples)
    start = 0
    for piece in pieces:
        assert piece.start_s == start / audio.rate
        start += len(piece.audio.samples)
        assert piece.end_s == start / audio.rate
        assert len(piece.audio.samples) <= max_seconds * audio.rate + 1e-6
        assert (piece.audio.rate, piece.audio.source) == (audio.rate, audio.source)
    if len(pieces) > 1:
        shortest = min(len(piece.audio.samples) for piece in pieces)
        assert shortest >= max(1, math.floor(max_seconds * audio.rate + 1e-6) // 3 - 1)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 29.999, 30.0])
def test_what_fits_stays_as_it_is(seconds: float) -> None:
    audio = Audio(speech(seconds), RATE, "a.wav")
    (piece,) = segment(audio, 30)
    assert piece.audio is audio
    assert (piece.start_s, piece.end_s) == (0.0, audio.seconds)


@settings(max_examples=80, deadline=None)
@given(
    samples=st.integers(0, 150_000),
    max_seconds=st.one_of(st.floats(3, 40), st.floats(0.001, 3), st.sampled_from([30.0, 1.1, 0.29])),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["speech", "noise", "silence", "tone"]),
)
def test_any_sound_in_pieces_is_the_sound(samples: int, max_seconds: float, seed: int, kind: str) -> None:
    samples = min(samples, round(100 * max_seconds * RATE))
    make: dict[str, Callable[[], NDArray[np.float32]]] = {
        "speech": lambda: speech(samples / RATE, seed),
        "noise": lambda: np.random.default_rng(seed).standard_normal(samples).astype(np.float32),
        "silence": lambda: np.zeros(samples, np.float32),
        "tone": lambda: tone(50 + seed, samples / RATE, RATE),
    }
    audio = Audio(make[kind](), RATE, "a.wav")
    pieces = segment(audio, max_seconds)
    check(audio, pieces, max_seconds)
    again = segment(audio, max_seconds)
    assert [(piece.start_s, piece.end_s) for piece in again] == [(piece.start_s, piece.end_s) for piece in pieces]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000])
def test_lengths_around_the_limit(rate: int) -> None:
    for samples in [k * 2 * rate + d for k in (1, 2, 3) for d in (-1, 0, 1)]:
        audio = Audio(np.random.default_rng(samples).standard_normal(samples).astype(np.float32), rate)
        pieces = segment(audio, 2.0)
        check(audio, pieces, 2.0)
        assert (len(pieces) == 1) == (samples <= 2 * rate)


def cuts(samples: NDArray[np.float32], max_seconds: float = 30) -> list[float]:
    audio = Audio(samples, RATE)
    pieces = segment(audio, max_seconds)
    check(audio, pieces, max_seconds)
    return [piece.start_s for piece in pieces[1:]]


def noisy(seconds: float, *pauses: tuple[float, float]) -> NDArray[np.float32]:
    samples = (0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)
    for start, end in pauses:
        samples[round(start * RATE) : round(end * RATE)] *= 1e-3
    return samples


def test_the_longest_pause_in_the_last_third_is_cut_in_its_middle() -> None:
    sound = noisy(70, (5, 9), (21, 21.4), (24, 24.8), (28, 28.3))
    assert cuts(sound)[0] == pytest.approx(24.4, abs=0.03)


def test_a_pause_that_reaches_beyond_what_fits_is_used_as_far_as_it_fits() -> None:
    assert cuts(noisy(80, (29, 45)))[0] == pytest.approx(29.5, abs=0.03)


def test_without_a_pause_the_quietest_moment_is_cut() -> None:
    """A dip that is too short and too shallow for a pause."""
    sound = noisy(70)
    sound[26_000:26_100] *= 0.5
    assert cuts(sound)[0] == pytest.approx(26.05, abs=0.03)


def test_no_word_is_cut_where_the_speaker_pauses() -> None:
    sound = speech(600)
    quiet = np.convolve(np.abs(sound) < 0.002, np.ones(9), mode="same") > 8
    for cut in cuts(sound):
        assert quiet[round(cut * RATE)], cut


def test_the_end_is_balanced_rather_than_tiny() -> None:
    (cut,) = cuts(noisy(30.2))
    assert 10 <= cut <= 20.2
    assert cuts(noisy(30.2, (16, 17)))[0] == pytest.approx(16.5, abs=0.03)
    assert all(piece.audio.seconds >= 10 for piece in segment(Audio(noisy(61), RATE), 30))


def test_silence_at_the_edges_is_kept() -> None:
    sound = np.concatenate((np.zeros(20 * RATE, np.float32), noisy(20), np.zeros(20 * RATE, np.float32)))
    cuts(sound)  # checks that the pieces are the sound


@pytest.mark.parametrize("max_seconds", [0, -1.0, 0.0009, math.nan])
def test_a_limit_of_less_than_a_sample(max_seconds: float) -> None:
    with pytest.raises(OptionError, match=r"^max_seconds is .*; it must be at least one sample \(0.001000 s\)$"):
        segment(Audio(noisy(1), RATE), max_seconds)


def test_no_limit_is_no_cut() -> None:
    assert len(segment(Audio(noisy(100), RATE), math.inf)) == 1


def test_an_hour_takes_linear_time() -> None:
    """Four times the sound must not take sixteen times as long; short clips, for many cuts."""

    def seconds(audio: Audio) -> float:
        start = time.process_time()
        segment(audio, 1.0)
        return time.process_time() - start

    hour = speech(3600)
    seconds(Audio(hour[:9000], RATE))  # warm up
    quarter = min(seconds(Audio(hour[: len(hour) // 4], RATE)) for _ in range(3))
    assert seconds(Audio(hour, RATE)) < 10 * quarter + 0.5
