"""Sounds that are no speech: music by instrument, tones, noise and silence.

Everything about a sound is drawn at random, its level included; the label holds for every draw. What tells them
apart: a tone is steady or sweeps and has neither decay nor breath, music is notes of an instrument, noise has no
pitch, silence is zeros or stays below -75 dBFS.

    sound = draw(np.random.default_rng(1))
    sound.samples, sound.kind, sound.instrument
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .instruments import (
    INSTRUMENTS,
    RATE,
    Samples,
    between,
    between_log,
    chance,
    decibels,
    filtered,
    resonance,
    scaled,
    seconds,
)

KINDS = {"music": 0.52, "tone": 0.17, "noise": 0.21, "silence": 0.10}  # share of the draws
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 11), (0, 3, 7, 10), (0, 7, 12), (0, 4, 7, 12), (0, 5, 7))
SILENCE_DBFS = -75.0


@dataclass(frozen=True)
class Sound:
    """A labelled sound."""

    samples: Samples  # (n,) float32 in [-1, 1], 16 kHz
    kind: str  # music, tone, noise or silence
    instrument: str | None = None  # a key of INSTRUMENTS, for music


# ---- music


def _reverberated(rng: np.random.Generator, samples: Samples) -> Samples:
    """Add a room: exponentially fading noise as its response."""
    fade = between_log(rng, 0.15, 1.8)
    count = int(fade * RATE)
    response = rng.normal(0, 1, count) * np.exp(-6.9 * seconds(count) / fade)
    response = filtered(response, lambda f: 1 / (1 + (f / between(rng, 1500, 6000)) ** 2))
    response /= np.sqrt((response**2).sum())
    size = len(samples) + count
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    dry = np.pad(samples, (0, size - len(samples)))
    return dry + between(rng, 0.08, 0.6) * wet


def _melody(rng: np.random.Generator, duration: float, low: float, high: float) -> list[tuple[float, float, float]]:
    """Notes (start s, duration s, frequency Hz) that wander over a scale."""
    scale = SCALES[int(rng.integers(len(SCALES)))]
    degrees = [octave * 12 + step for octave in range(8) for step in scale]
    tonic = low * 2 ** between(rng, 0, 1)
    usable = [tonic * 2 ** (degree / 12) for degree in degrees if tonic * 2 ** (degree / 12) <= high]
    place = int(rng.integers(len(usable)))
    beat = between_log(rng, 0.1, 0.7)
    legato = between(rng, 0.6, 1.05)
    notes: list[tuple[float, float, float]] = []
    now = 0.0
    while now < duration:
        length = beat * float(rng.choice((0.5, 1, 1, 1, 2)))
        if not (notes and chance(rng, 0.07)):  # else a rest
            notes.append((now, length * legato, usable[place]))
        place = int(np.clip(place + rng.integers(-3, 4), 0, len(usable) - 1))
        now += length
    return notes


def _chords(rng: np.random.Generator, duration: float, low: float, high: float) -> list[tuple[float, float, float]]:
    """Chords one after the other, at once or as arpeggios."""
    root = between_log(rng, low, max(min(high / 2, low * 4), low * 1.01))
    length = between_log(rng, 0.4, 2.5)
    step = between(rng, 0.08, 0.3) if chance(rng, 0.5) else between(rng, 0, 0.03)
    notes: list[tuple[float, float, float]] = []
    now = 0.0
    while now < duration:
        chord = CHORDS[int(rng.integers(len(CHORDS)))]
        base = root * 2 ** (float(rng.choice((0, 2, 5, 7, 9, -3, -5))) / 12)
        order = list(chord) * (2 if step > 0.05 else 1)
        for i, interval in enumerate(order):
            frequency = base * 2 ** (interval / 12)
            if frequency <= high:
                notes.append((now + i * step, max(length - i * step, 0.15), frequency))
        now += max(length, len(order) * step)
    return notes


def _beats(rng: np.random.Generator, duration: float) -> list[tuple[float, float, float]]:
    """Drum hits on a grid: each drum repeats a pattern of its own."""
    step = between_log(rng, 0.09, 0.3)
    densities = {70.0: 0.35, 300.0: 0.25, 600.0: 0.6, 150.0: 0.15}  # by the drum's pitch
    patterns = [(pitch, rng.random(8) < density) for pitch, density in densities.items() if chance(rng, 0.75)]
    patterns = patterns or [(300.0, np.ones(8, dtype=bool))]
    notes = []
    for i in range(int(duration / step) + 1):
        start = i * step + between(rng, 0, 0.01)
        notes += [(start, 0.1, pitch * between(rng, 0.9, 1.1)) for pitch, pattern in patterns if pattern[i % 8]]
    return notes or [(0.0, 0.1, patterns[0][0])]


def music(rng: np.random.Generator, instrument: str | None = None, single: bool | None = None) -> Sound:
    """A single note (three in ten), a melody, chords, an arpeggio, or both hands, 0.2 to 10 s."""
    name = instrument or str(rng.choice(list(INSTRUMENTS)))
    chosen = INSTRUMENTS[name]
    single = chance(rng, 0.3) if single is None else single
    duration = between_log(rng, 0.2, 4) if single else between_log(rng, 0.6, 10)
    if single:
        notes = [(0.0, duration, between_log(rng, chosen.low, chosen.high))]
    elif name == "drums":
        notes = _beats(rng, duration)
    else:
        form = rng.random()
        notes = _melody(rng, duration, chosen.low, chosen.high) if form < 0.6 else []
        if form >= 0.45:
            notes += _chords(rng, duration, chosen.low, chosen.high)
    loudness = between(rng, 0.3, 1)
    spread = between(rng, 0, 0.4)
    total = np.zeros(int((duration + 4) * RATE))
    for start, length, frequency in notes:
        if start >= duration:
            continue
        velocity = float(np.clip(loudness * (1 + rng.normal(0, spread)), 0.1, 1))
        samples = chosen.note(rng, frequency, min(length, duration - start + 0.1), velocity)
        first = int(start * RATE)
        samples = samples[: len(total) - first]
        total[first : first + len(samples)] += samples
    mixed = _reverberated(rng, total) if chance(rng, 0.5) else total
    end = int((duration + between(rng, 0, 0.5) * chance(rng, 0.6)) * RATE)
    end = min(max(end, int(0.2 * RATE)), 10 * RATE, len(mixed))
    mixed = mixed[:end].copy()
    fade = min(int(0.02 * RATE), end)
    mixed[-fade:] *= np.linspace(1, 0, fade)
    lead = np.zeros(int(between(rng, 0, 0.15) * RATE) if chance(rng, 0.3) else 0)
    return Sound(scaled(np.concatenate((lead, mixed)), decibels(between(rng, -26, -0.5))), "music", name)


# ---- tones


def _wave(rng: np.random.Generator, phase: np.ndarray, shape: str) -> Samples:
    """A waveform of a phase in radians."""
    turn = phase / (2 * np.pi) % 1
    if shape == "sine":
        return np.sin(phase)
    if shape == "square":
        return np.where(turn < (0.5 if chance(rng, 0.7) else between(rng, 0.1, 0.5)), 1.0, -1.0)
    if shape == "triangle":
        return 4 * np.abs(turn - 0.5) - 1
    return 2 * turn - 1


def _steady(rng: np.random.Generator, count: int) -> Samples:
    shape = str(rng.choice(("sine", "sine", "sine", "square", "triangle", "sawtooth")))
    frequency = between_log(rng, 60, 7000 if shape == "sine" else 3000)
    return _wave(rng, 2 * np.pi * frequency * seconds(count) + between(rng, 0, 6.28), shape)


def _dual(rng: np.random.Generator, count: int) -> Samples:
    """Two sines, as of a telephone; some pairs are its very own."""
    if chance(rng, 0.5):
        low, high = float(rng.choice((697, 770, 852, 941))), float(rng.choice((1209, 1336, 1477, 1633)))
    else:
        low, high = between_log(rng, 100, 3000), between_log(rng, 100, 6000)
    t = seconds(count)
    return np.sin(2 * np.pi * low * t) + between(rng, 0.3, 1) * np.sin(2 * np.pi * high * t)


def _sweep(rng: np.random.Generator, count: int) -> Samples:
    """A chirp, up or down, straight or logarithmic, or a siren that goes to and fro."""
    start, end = between_log(rng, 60, 7000), between_log(rng, 60, 7000)
    if chance(rng, 0.7):
        progress = np.linspace(0, 1, count)
    else:
        progress = 0.5 - 0.5 * np.cos(2 * np.pi * between_log(rng, 0.3, 5) * seconds(count))
    path = start + (end - start) * progress if chance(rng, 0.5) else start * (end / start) ** progress
    shape = str(rng.choice(("sine", "sine", "sine", "triangle", "square")))
    return _wave(rng, 2 * np.pi * np.cumsum(path) / RATE, shape)


def _beeps(rng: np.random.Generator, count: int) -> Samples:
    """A tone switched on and off, or two that alternate."""
    t = seconds(count)
    period = between_log(rng, 0.1, 1.5)
    on = t % period < period * between(rng, 0.2, 0.8)
    first = _steady(rng, count)
    return first * on + (_steady(rng, count) * ~on if chance(rng, 0.3) else 0)


def tone(rng: np.random.Generator, seconds_: float | None = None) -> Sound:
    """A steady wave, a pair, a sweep or beeps: level flat from its first to its last sample but for short ramps."""
    count = max(int((seconds_ or between_log(rng, 0.02, 10)) * RATE), 320)
    make = (_steady, _steady, _steady, _dual, _sweep, _beeps)[int(rng.integers(6))]
    samples = make(rng, count)
    ramp = np.clip(np.minimum(seconds(count), seconds(count)[::-1]) / between_log(rng, 0.0005, 0.02), 0, 1)
    samples = samples * ramp if chance(rng, 0.6) else samples
    if chance(rng, 0.2):  # a faint hiss behind it
        samples = samples + decibels(between(rng, -60, -40)) * rng.normal(0, 1, count)
    return Sound(scaled(samples, decibels(between(rng, -45, -0.1))), "tone")


# ---- noise


def _coloured(rng: np.random.Generator, count: int) -> Samples:
    """White, pink, brown and between, normal or uniform."""
    white = rng.normal(0, 1, count) if chance(rng, 0.6) else rng.uniform(-1, 1, count)
    if chance(rng, 0.35):
        return white
    slope = float(rng.choice((0.5, 1.0))) if chance(rng, 0.7) else between(rng, -0.5, 1.3)  # 0.5 is pink, 1 brown
    return filtered(white, lambda f: np.maximum(f, 20) ** -slope)


def _band(rng: np.random.Generator, count: int) -> Samples:
    """A wide band, at least an octave, so that it has no pitch; its center may wander, as wind does."""
    center = between_log(rng, 200, 5000)
    width = center * between(rng, 0.5, 1.5)
    noise = filtered(rng.normal(0, 1, count), resonance(center, width))
    if chance(rng, 0.4):
        gusts = filtered(rng.normal(0, 1, count), lambda f: f < between(rng, 0.5, 3))
        noise = noise * (1 + between(rng, 0.3, 0.9) * gusts / max(np.abs(gusts).max(), 1e-9))
    return noise


def _hum(rng: np.random.Generator, count: int) -> Samples:
    """Hiss with the hum of the mains below it."""
    hiss = _coloured(rng, count)
    mains = float(rng.choice((50, 60)))
    hum = np.zeros(count)
    for number in (1, 2, 3, 4, 6):
        phase = 2 * np.pi * mains * number * seconds(count) + between(rng, 0, 6.28)
        hum += between(rng, 0, 1) / number * np.sin(phase)
    return hiss + between(rng, 0.3, 2.5) * np.sqrt((hiss**2).mean()) * hum


def _bursts(rng: np.random.Generator, count: int) -> Samples:
    """Noise that comes and goes."""
    length = int(between(rng, 0.03, 0.4) * RATE)
    level = np.repeat(rng.uniform(0, 1, count // length + 1) ** 2, length)[:count]
    smooth = np.ones(80) / 80
    return _coloured(rng, count) * np.convolve(level, smooth, "same")


def _clicks(rng: np.random.Generator, count: int) -> Samples:
    """Clicks, crackle or rain by how many there are a second, over a little hiss."""
    hits = rng.random(count) < between_log(rng, 3, 1500) / RATE
    hits[int(rng.integers(count))] = True
    impulses = hits * rng.normal(0, 1, count)
    size = int(between_log(rng, 0.0005, 0.01) * RATE) + 2
    drop = rng.normal(0, 1, size) * np.exp(-5 * np.arange(size) / size)
    return np.convolve(impulses, drop)[:count] + between_log(rng, 0.001, 0.1) * rng.normal(0, 1, count)


def noise(rng: np.random.Generator, seconds_: float | None = None) -> Sound:
    """Coloured, band-limited, hum with hiss, bursts or clicks, at any level from -50 dBFS up (its peak)."""
    count = max(int((seconds_ or between_log(rng, 0.02, 10)) * RATE), 320)
    make = (_coloured, _coloured, _coloured, _band, _hum, _bursts, _clicks)[int(rng.integers(7))]
    samples = make(rng, count)
    samples = scaled(samples, decibels(between(rng, -50, -0.5)))
    # A few clicks have little power: keep them clear of what counts as silence.
    power = float(np.sqrt((samples.astype(np.float64) ** 2).mean()))
    gain = min(max(1.0, decibels(SILENCE_DBFS + 8) / power), 1 / float(np.abs(samples).max()))
    return Sound(samples * np.float32(gain), "noise")


# ---- silence


def silence(rng: np.random.Generator, seconds_: float | None = None) -> Sound:
    """Zeros (four in ten), or noise fainter than -75 dBFS (root mean square)."""
    count = max(int((seconds_ or between_log(rng, 0.02, 10)) * RATE), 320)
    if chance(rng, 0.4):
        return Sound(np.zeros(count, dtype=np.float32), "silence")
    faint = _coloured(rng, count)
    level = decibels(between(rng, -96, SILENCE_DBFS - 1))
    return Sound((faint * level / np.sqrt((faint**2).mean())).astype(np.float32), "silence")


MAKERS: dict[str, Callable[[np.random.Generator], Sound]] = {
    "music": music,
    "tone": tone,
    "noise": noise,
    "silence": silence,
}


def draw(rng: np.random.Generator) -> Sound:
    """A sound of any kind, by the shares of KINDS."""
    return MAKERS[str(rng.choice(list(KINDS), p=list(KINDS.values())))](rng)
