"""One note of an instrument, synthesised in numpy with widely drawn parameters.

Nobody else's synthesis of a piano is ours, so what matters is that each instrument keeps its nature (how it starts,
decays, breathes, wavers) while everything else varies: some notes are crude (plain harmonics under one exponential),
others elaborate. A note function takes a random generator, a frequency in Hz, a duration in seconds (how long the key
is down) and a velocity in (0, 1], and returns float32 samples at 16 kHz, their peak at the velocity, tail included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr

RATE = 16000
NYQUIST = 7800.0  # partials above are left out

Samples = np.ndarray
Note = Callable[[np.random.Generator, float, float, float], Samples]


def seconds(count: int) -> np.ndarray:
    """Times of `count` samples, float64."""
    return np.arange(count) / RATE


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform."""
    return float(rng.uniform(low, high))


def between_log(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with a probability."""
    return bool(rng.random() < probability)


def decibels(level: float) -> float:
    """dB to a factor."""
    return float(10 ** (level / 20))


def filtered(samples: Samples, gain: Callable[[np.ndarray], np.ndarray]) -> Samples:
    """Apply a gain that is a function of the frequency in Hz."""
    size = len(samples) + 512  # room for what would wrap around
    spectrum = np.fft.rfft(samples, size) * gain(np.fft.rfftfreq(size, 1 / RATE))
    result: Samples = np.fft.irfft(spectrum, size)[: len(samples)]
    return result


def resonance(center: float, width: float) -> Callable[[np.ndarray], np.ndarray]:
    """A bell-shaped gain around a frequency, both in Hz."""
    return lambda hertz: 1 / (1 + ((hertz - center) / width) ** 2)


def scaled(samples: Samples, peak: float) -> Samples:
    """To a peak, as float32. Silence stays silence."""
    top = float(np.abs(samples).max(initial=0.0))
    return (samples * (peak / top if top > 0 else 0.0)).astype(np.float32)


def struck(
    rng: np.random.Generator, ratios: np.ndarray, levels: np.ndarray, decays: np.ndarray, frequency: float, count: int
) -> Samples:
    """Partials that each die away: frequency ratios, levels and decays (1/s), all (partials,). Returns (count,)."""
    t = seconds(count)
    result = np.zeros(count)
    for ratio, level, decay in zip(ratios, levels, decays, strict=True):
        if frequency * ratio < NYQUIST:
            phase = between(rng, 0, 2 * np.pi)
            result += level * np.exp(-decay * t) * np.sin(2 * np.pi * frequency * ratio * t + phase)
    return result


def released(samples: Samples, duration: float, release: float) -> Samples:
    """Damp a note from `duration` on, over `release` seconds."""
    t = seconds(len(samples))
    return samples * np.exp(-np.clip(t - duration, 0, None) * 5 / release)


def envelope(count: int, duration: float, attack: float, release: float, sag: float = 0.0) -> np.ndarray:
    """(count,) of a held note: rises over `attack`, sags at `sag` a second, falls from `duration` over `release`."""
    t = seconds(count)
    attack = min(attack, 0.5 * duration)
    rise = np.clip(t / attack, 0, 1) ** 1.5
    fall = np.clip(1 - (t - duration) / release, 0, 1)
    return rise * fall * np.exp(-sag * t)


def wavering_phase(
    rng: np.random.Generator, frequency: float, count: int, cents: float, hertz: float, delay: float
) -> np.ndarray:
    """(count,) phase in radians of a pitch with vibrato that sets in after `delay` seconds, and a little drift."""
    t = seconds(count)
    vibrato = cents * np.clip((t - delay) / 0.25, 0, 1) * np.sin(2 * np.pi * hertz * t + between(rng, 0, 6.28))
    drift = np.interp(t, np.arange(0, t[-1] + 0.4, 0.2), rng.normal(0, 3, len(np.arange(0, t[-1] + 0.4, 0.2))))
    result: np.ndarray = 2 * np.pi * np.cumsum(frequency * 2 ** ((vibrato + drift) / 1200)) / RATE
    return result + between(rng, 0, 6.28)


def harmonics(phase: np.ndarray, levels: np.ndarray, frequency: float, swell: np.ndarray | None = None) -> Samples:
    """Sum of harmonics. With `swell` (count,) in [0, 1] the higher ones come and go with it, as in brass."""
    result = np.zeros(len(phase))
    for number, level in enumerate(levels, start=1):
        if number * frequency > NYQUIST:
            break
        partial = level * np.sin(number * phase)
        result += partial if swell is None else partial * swell ** (0.25 * (number - 1))
    return result


def piano(rng: np.random.Generator, frequency: float, duration: float, velocity: float) -> Samples:
    """A hammer on strings: an instant attack, stiff strings, high partials that die first, a fast then a slow decay."""
    release = between(rng, 0.08, 0.4)
    count = int((duration + release) * RATE)
    partials = int(np.clip(NYQUIST / frequency, 2, rng.integers(5, 28)))
    number = np.arange(1, partials + 1)
    stiffness = 0.0 if chance(rng, 0.25) else between_log(rng, 5e-5, 1e-3) * (frequency / 262) ** 0.8
    ratios = number * np.sqrt(1 + stiffness * number**2)
    levels = number ** -between(rng, 0.9, 1.9) * 10 ** (-between(rng, 0, 0.12) * number * (1.2 - velocity))
    if chance(rng, 0.6):  # the hammer's place leaves some partials weak
        levels = levels * (0.15 + np.abs(np.sin(np.pi * number * between(rng, 0.1, 0.2))))
    base = between_log(rng, 0.5, 5) * (frequency / 262) ** between(rng, 0.3, 0.7)
    decays = base * (1 + between(rng, 0, 0.45) * (number - 1))
    result = np.zeros(count)
    for string in range(int(rng.integers(1, 4))):
        detune = 2 ** (rng.normal(0, 0.6) * string / 1200)
        result += struck(rng, ratios, levels, decays, frequency * detune, count)
    if chance(rng, 0.6):
        slow_levels = levels * rng.uniform(0.3, 1, partials) * between(rng, 0.1, 0.5)
        result = result + struck(rng, ratios, slow_levels, decays * between(rng, 0.15, 0.35), frequency, count)
    if chance(rng, 0.6):
        burst = rng.normal(0, 1, count) * np.exp(-seconds(count) * between(rng, 60, 150))
        thump = filtered(burst, resonance(between(rng, 100, 500), 300))
        result = result + between(rng, 0.02, 0.2) * np.abs(result).max() * thump
    attack = np.clip(seconds(count) / between(rng, 0.001, 0.006), 0, 1)
    return scaled(released(result * attack, duration, release), velocity)


def guitar(rng: np.random.Generator, frequency: float, duration: float, velocity: float) -> Samples:
    """A plucked string after Karplus and Strong: a burst of noise goes round a delay line and loses its highs."""
    release = between(rng, 0.05, 0.3)
    # At a higher rate the loop damps the highs less.
    rate = int(rng.choice((RATE, 44100, 48000)))
    count = int((duration + release) * rate)
    period = rate / frequency
    size = max(int(period - 0.2), 2)
    late = float(np.clip(period - size, 0.2, 0.8))  # weight of the loop's second tap: it tunes and damps
    loss = 10 ** (-3 / (frequency * between_log(rng, 1, 12)))  # 60 dB in 1 to 12 s
    burst = rng.uniform(-1, 1, size) if chance(rng, 0.7) else rng.normal(0, 0.5, size)
    for _ in range(int(rng.integers(0, 4))):  # a softer pick
        burst = 0.5 * (burst + np.roll(burst, 1))
    if chance(rng, 0.6):  # where the string is plucked
        burst = burst - between(rng, 0.5, 1) * np.roll(burst, max(int(size * between(rng, 0.08, 0.4)), 1))
    burst -= burst.mean()
    rounds = -(-count // size)
    line = np.empty((rounds + 1, size))
    line[0] = burst
    for i in range(rounds):
        before = np.concatenate((line[i - 1, -1:] if i else line[0, -1:], line[i, :-1]))
        line[i + 1] = loss * ((1 - late) * line[i] + late * before)
    result = line.reshape(-1)[:count]
    result = result if rate == RATE else soxr.resample(result, rate, RATE)
    if chance(rng, 0.6):  # the body
        low, high = between(rng, 90, 130), between(rng, 180, 260)
        depth = between(rng, 0.3, 1.5)
        result = filtered(result, lambda f: 1 + depth * (resonance(low, 40)(f) + resonance(high, 60)(f)))
    if chance(rng, 0.12):  # overdriven
        result = np.tanh(result * between(rng, 3, 15) / max(np.abs(result).max(), 1e-9))
    return scaled(released(result, duration, release), velocity)


def flute(rng: np.random.Generator, frequency: float, duration: float, velocity: float) -> Samples:
    """Few harmonics, breath around the pitch, a soft start with a chiff, vibrato."""
    release = between(rng, 0.04, 0.15)
    count = int((duration + release) * RATE)
    shape = envelope(count, duration, between(rng, 0.03, 0.14), release)
    vibrato_hertz = between(rng, 4, 6.5)
    phase = wavering_phase(rng, frequency, count, between(rng, 4, 25), vibrato_hertz, between(rng, 0, 0.4))
    levels = rng.uniform((1, 0.1, 0.05, 0.02, 0, 0), (1, 0.8, 0.45, 0.2, 0.08, 0.04))
    tremolo = 1 + between(rng, 0.03, 0.25) * np.sin(2 * np.pi * vibrato_hertz * seconds(count) + between(rng, 0, 6.28))
    result = harmonics(phase, levels, frequency) * shape * tremolo
    breath = filtered(rng.normal(0, 1, count), resonance(frequency * between(rng, 1, 2.5), between(rng, 400, 2000)))
    chiff = 1 + between(rng, 0, 5) * np.exp(-seconds(count) * 30)
    amount = between_log(rng, 0.015, 0.2) * np.abs(result).max() / max(np.abs(breath).max(), 1e-9)
    return scaled(result + amount * breath * chiff * np.sqrt(shape), velocity)


def organ(rng: np.random.Generator, frequency: float, duration: float, velocity: float) -> Samples:
    """Pipes or drawbars: octaves and fifths at once, flat from a quick attack to the end, often a slow rotation."""
    release = between(rng, 0.02, 0.3)
    count = int((duration + release) * RATE)
    t = seconds(count)
    ratios = np.array([0.5, 1, 1.5, 2, 3, 4, 5, 6, 8])
    levels = rng.uniform(0, 1, len(ratios)) * (rng.random(len(ratios)) < 0.7) * ratios ** -between(rng, 0, 0.7)
    levels[1] = between(rng, 0.6, 1)
    levels[3] = max(levels[3], between(rng, 0.2, 0.8))
    levels[5] = max(levels[5], between(rng, 0.05, 0.5))
    result = np.zeros(count)
    rank = rng.normal(0, between(rng, 0, 2.5), len(ratios))  # each stop is a little out of tune
    rotation, depth = between(rng, 0.6, 7), between(rng, 0, 0.2) * chance(rng, 0.6)
    turning = np.sin(2 * np.pi * rotation * t)
    for ratio, level, cents in zip(ratios, levels, rank, strict=True):
        pitch = frequency * ratio * 2 ** (cents / 1200)
        if pitch < NYQUIST:
            result += level * np.sin(2 * np.pi * pitch * t + depth * 2 * turning + between(rng, 0, 6.28))
    result *= (1 + depth * turning) * envelope(count, duration, between(rng, 0.004, 0.06), release)
    if chance(rng, 0.5):  # key click or wind
        click = rng.normal(0, 1, count) * (np.exp(-t * 200) + between(rng, 0, 0.05))
        result = result + between(rng, 0.01, 0.12) * click * (t < duration)
    return scaled(result, velocity)


def violin(rng: np.random.Generator, frequency: float, duration: float, velocity: float) -> Samples:
    """A bowed string: all harmonics through a body's resonances, slow attack, wide vibrato, bow noise."""
    release = between(rng, 0.05, 0.25)
    count = int((duration + release) * RATE)
    shape = envelope(count, duration, between(rng, 0.04, 0.25), release)
    phase = wavering_phase(rng, frequency, count, between(rng, 6, 40), between(rng, 4.5, 7), between(rng, 0, 0.4))
    levels = np.arange(1, 50) ** -between(rng, 0.8, 1.5)
    body = rng.uniform((250, 420, 700, 1500, 2500), (320, 560, 1100, 2600, 3800))
    gains = rng.uniform(0.3, 2.0, len(body))

    def gain(hertz: np.ndarray) -> np.ndarray:
        peaks = [g * resonance(center, 0.15 * center)(hertz) for g, center in zip(gains, body, strict=True)]
        result: np.ndarray = (0.35 + np.sum(peaks, axis=0)) / (1 + (hertz / 4500) ** 4)
        return result

    bow = rng.normal(0, 1, count) * (1 + 3 * np.exp(-seconds(count) * 25))
    tone = harmonics(phase, levels, frequency)
    result = filtered(tone + between_log(rng, 0.01, 0.12) * bow, gain) * shape
    unsteady = 1 + between(rng, 0.02, 0.15) * np.sin(2 * np.pi * between(rng, 4, 7) * seconds(count))
    return scaled(result * unsteady, velocity)


def trumpet(rng: np.random.Generator, frequency: float, duration: float, velocity: float) -> Samples:
    """Brass: many strong harmonics that brighten as the note swells, a short blip of pitch at the start."""
    release = between(rng, 0.03, 0.12)
    count = int((duration + release) * RATE)
    t = seconds(count)
    shape = envelope(count, duration, between(rng, 0.02, 0.09), release, sag=between(rng, 0, 0.4))
    shape = shape * (1 + between(rng, 0, 0.4) * np.exp(-t * 12))
    phase = wavering_phase(rng, frequency, count, between(rng, 0, 15), between(rng, 4, 6.5), between(rng, 0.2, 0.6))
    phase = phase - between(rng, 0, 2.5) * np.exp(-t * 25)
    number = np.arange(1, 40)
    peak = between(rng, 900, 1800) / frequency
    levels = 0.25 + np.exp(-(((number - peak) / max(peak, 2)) ** 2))
    levels *= np.exp(-number * frequency / between(rng, 1800, 4500))
    result = harmonics(phase, levels, frequency, swell=np.clip(shape / shape.max(), 1e-4, 1)) * shape
    rasp = 1 + between(rng, 0, 0.06) * filtered(rng.normal(0, 3, count), lambda f: f < 60)
    return scaled(result * rasp, velocity)


def bells(rng: np.random.Generator, frequency: float, duration: float, velocity: float) -> Samples:
    """Struck metal: partials that belong to no harmonic series, long decays, beating pairs."""
    count = int((duration + between(rng, 0.3, 2.5)) * RATE)
    series = (
        (0.5, 1, 1.19, 1.5, 2, 2.51, 2.66, 3.01, 4.1),  # church bell
        (1, 2.76, 5.4, 8.93),  # bar, glockenspiel
        (1, 1.51, 2.0, 2.74, 3.76, 5.1),  # tubular
        (1, 2.32, 4.25, 6.63, 9.38),  # hand bell, music box
    )[int(rng.integers(4))]
    ratios = np.array(series) * rng.uniform(0.99, 1.01, len(series))
    levels = rng.uniform(0.2, 1, len(series)) * np.arange(1, len(series) + 1) ** -between(rng, 0.1, 1)
    decays = between_log(rng, 0.6, 4) * (0.4 + 0.6 * ratios ** between(rng, 0.4, 1))
    result = struck(rng, ratios, levels, decays, frequency, count)
    twin = ratios * (1 + between(rng, 0.0005, 0.004))
    result += struck(rng, twin, levels * between(rng, 0, 0.6), decays, frequency, count)
    if chance(rng, 0.25):  # the frequency-modulation bell
        t = seconds(count)
        slow = between_log(rng, 0.8, 4)
        index = between(rng, 1.5, 5) * np.exp(-slow * t)
        result = np.exp(-slow * t) * np.sin(2 * np.pi * frequency * t + index * np.sin(2 * np.pi * 1.4 * frequency * t))
    strike = np.clip(seconds(count) / between(rng, 0.0005, 0.003), 0, 1)
    return scaled(released(result * strike, len(result) / RATE - 0.05, 0.05), velocity)


def drum(rng: np.random.Generator, frequency: float, duration: float, velocity: float) -> Samples:
    """One hit; `frequency` from 50 to 800 picks the drum, low to high: kick, tom, snare, cymbal and hat."""
    if frequency < 100:
        count = int(between(rng, 0.15, 0.5) * RATE)
        t = seconds(count)
        pitch = between(rng, 40, 70) + between(rng, 60, 250) * np.exp(-t * between(rng, 20, 60))
        result = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.exp(-t * between(rng, 8, 20))
        result += between(rng, 0, 0.3) * rng.normal(0, 1, count) * np.exp(-t * 150)
    elif frequency < 200:
        count = int(between(rng, 0.2, 0.6) * RATE)
        t = seconds(count)
        pitch = frequency * (1 + between(rng, 0.1, 0.8) * np.exp(-t * between(rng, 10, 30)))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        result = (np.sin(phase) + between(rng, 0, 0.5) * np.sin(1.59 * phase)) * np.exp(-t * between(rng, 6, 15))
        result += between(rng, 0, 0.3) * rng.normal(0, 1, count) * np.exp(-t * 80)
    elif frequency < 400:
        count = int(between(rng, 0.12, 0.4) * RATE)
        t = seconds(count)
        rattle = filtered(rng.normal(0, 1, count), lambda f: f / (f + between(rng, 300, 1500)))
        shell = np.sin(2 * np.pi * between(rng, 150, 250) * t) + np.sin(2 * np.pi * between(rng, 280, 360) * t)
        result = rattle * np.exp(-t * between(rng, 10, 30))
        result += between(rng, 0.2, 1) * shell * np.exp(-t * between(rng, 15, 40))
    else:
        long = chance(rng, 0.25)
        count = int((between(rng, 0.6, 1.8) if long else between(rng, 0.04, 0.2)) * RATE)
        t = seconds(count)
        edge = between(rng, 2500, 5500)
        metal = sum(np.sign(np.sin(2 * np.pi * between(rng, 2000, 7000) * t)) for _ in range(5))
        noise = rng.normal(0, 1, count) + between(rng, 0, 0.4) * metal
        result = filtered(noise, lambda f: 1 / (1 + (edge / np.maximum(f, 1)) ** 6))
        result *= np.exp(-t * (3 if long else between(rng, 20, 60)))
    return scaled(released(result, len(result) / RATE - 0.02, 0.02), velocity)


@dataclass(frozen=True)
class Instrument:
    """A note function and its range in Hz."""

    note: Note
    low: float
    high: float


INSTRUMENTS = {
    "piano": Instrument(piano, 55, 1760),
    "guitar": Instrument(guitar, 82, 880),
    "flute": Instrument(flute, 262, 2093),
    "organ": Instrument(organ, 65, 1047),
    "violin": Instrument(violin, 196, 2093),
    "trumpet": Instrument(trumpet, 165, 1047),
    "drums": Instrument(drum, 50, 800),
    "bells": Instrument(bells, 220, 2093),
}
