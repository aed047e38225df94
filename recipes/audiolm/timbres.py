"""Nine instruments of fixed parameters, at 32 kHz: what a small model hears often enough to learn by heart.

The opposite of `recipes.tiny.instruments`, where everything varies: here a note is a function of its instrument, pitch
and length, and of one small number per clip (its brightness). Every partial starts at phase zero and nothing is noise,
as a codec would have to carry what is random, and a language model cannot foretell it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE = 32000
TOP = 14000.0  # Hz; harmonics above are left out

Samples = np.ndarray


@dataclass(frozen=True)
class Timbre:
    """How an instrument starts, rings, wavers and ends. Times in seconds, decays in 1/s."""

    levels: tuple[float, ...]  # of the partials
    attack: float
    release: float
    decay: float = 0.0  # of all partials; 0 holds the note
    dulling: float = 0.0  # what each harmonic decays faster than the one below it
    ratios: tuple[float, ...] | None = None  # the partials' frequencies; None: harmonics
    decays: tuple[float, ...] = ()  # the partials' own decays, where there are ratios
    vibrato: float = 0.0  # cents to either side, 5.5 Hz, setting in after VIBRATO_DELAY


VIBRATO_DELAY = 0.15


def _series(count: int, slope: float, pluck: float = 0.0) -> tuple[float, ...]:
    """Levels of `count` harmonics that fall as a power; `pluck`: where on the string it is struck, a part of it."""
    number = np.arange(1, count + 1)
    comb = np.abs(np.sin(np.pi * number * pluck)) if pluck else 1.0
    return tuple((number**-slope * comb).tolist())


INSTRUMENTS = {
    "piano": Timbre(_series(12, 1.5), attack=0.004, release=0.08, decay=1.8, dulling=0.9),
    "guitar": Timbre(_series(18, 0.8, 0.22), attack=0.002, release=0.05, decay=2.5, dulling=2.2),
    "flute": Timbre((1, 0.3, 0.1, 0.03), attack=0.05, release=0.06, vibrato=10),
    "organ": Timbre((1, 0.8, 0.35, 0.6, 0, 0.2, 0, 0.3), attack=0.012, release=0.04),
    "clarinet": Timbre((1, 0.02, 0.6, 0.03, 0.4, 0.04, 0.2, 0.04, 0.12, 0.02, 0.06), attack=0.03, release=0.04),
    "marimba": Timbre((1, 0.35, 0.12), attack=0.002, release=0.08, decay=5, ratios=(1, 3.93, 9.2), decays=(0, 9, 25)),
    "violin": Timbre(_series(20, 1.0), attack=0.06, release=0.06, vibrato=18),
    "lead": Timbre(_series(16, 0.9, 0.25), attack=0.004, release=0.02, decay=0.8),
}
BASS = Timbre(_series(6, 1.6), attack=0.008, release=0.1, decay=0.9, dulling=0.8)


def hertz(midi: float) -> float:
    """Frequency of a MIDI note number, A4 = 69 = 440 Hz."""
    return float(440 * 2 ** ((midi - 69) / 12))


def _harmonic(timbre: Timbre, levels: np.ndarray, frequency: float, t: np.ndarray) -> Samples:
    """Sum of harmonics (n,): a polynomial in z = exp(i phase), as one sine a harmonic would take ten times as long."""
    phase = 2 * np.pi * frequency * t
    if timbre.vibrato:
        # The phase is the integral of the pitch: with a sine for the pitch, a cosine that starts at zero.
        late = np.maximum(t - VIBRATO_DELAY, 0)
        depth = frequency * (2 ** (timbre.vibrato / 1200) - 1) / 5.5
        phase += depth * (1 - np.cos(2 * np.pi * 5.5 * late)) * np.minimum(late / 0.1, 1)
    turn = (phase % (2 * np.pi)).astype(np.float32)
    z = np.empty(len(t), np.complex64)
    z.real, z.imag = np.cos(turn), np.sin(turn)
    if timbre.dulling:
        z *= np.exp(-timbre.dulling * t).astype(np.float32)
    levels = levels[: max(int(TOP / frequency), 1)].astype(np.float32)
    total = np.full(len(t), levels[-1], np.complex64)
    for level in levels[-2::-1]:
        total *= z
        total += level
    total *= z
    return total.imag


def _partials(timbre: Timbre, levels: np.ndarray, frequency: float, t: np.ndarray) -> Samples:
    """Sum of partials (n,) that are no harmonics."""
    total = np.zeros(len(t), np.float32)
    for ratio, level, decay in zip(timbre.ratios or (), levels, timbre.decays, strict=True):
        if frequency * ratio < TOP:
            turn = ((2 * np.pi * frequency * ratio) * t % (2 * np.pi)).astype(np.float32)
            total += np.float32(level) * np.sin(turn) * np.exp(-decay * t).astype(np.float32)
    return total


def render(timbre: Timbre, midi: float, duration: float, brightness: float = 0.0) -> Samples:
    """One note, float32 (n,), peak 1: the key is down for `duration` seconds, then comes the release.

    `brightness` tilts the spectrum: partial number k is k**brightness times as strong.
    """
    count = int((duration + timbre.release) * RATE)
    t = np.arange(count) / RATE
    levels = np.array(timbre.levels) * np.arange(1, len(timbre.levels) + 1) ** brightness
    make = _partials if timbre.ratios else _harmonic
    samples = make(timbre, levels, hertz(midi), t)
    if timbre.decay:
        samples = samples * np.exp(-timbre.decay * t).astype(np.float32)
    rise, fall = int(timbre.attack * RATE), int(timbre.release * RATE)
    samples[:rise] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(min(rise, count)) / rise)
    samples[count - fall :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fall + 1) / fall)
    return (samples / np.float32(max(np.abs(samples).max(), 1e-6))).astype(np.float32, copy=False)
