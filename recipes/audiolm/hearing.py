"""What is played, by ear: the pitch of a single voice, its key and its tempo, to judge continuations by.

Pitch after YIN (de Cheveigné & Kawahara 2002, https://doi.org/10.1121/1.1458024), tempo by how regularly the spectrum
grows; both know the melodies of this recipe: one voice between MIDI 54 and 86, one of `TEMPI`.
"""

from __future__ import annotations

import numpy as np

from recipes.audiolm.melodies import TEMPI
from recipes.audiolm.timbres import RATE
from recipes.audiolm.tunes import SCALES

HOP = 640  # samples: a frame of the codec
WINDOW = 2048
LOWEST, HIGHEST = 54, 86  # MIDI
VOICED = 0.2  # of YIN's normalised difference: below it there is a pitch


def hertz(midi: float) -> float:
    return float(440 * 2 ** ((midi - 69) / 12))


def frames(samples: np.ndarray) -> np.ndarray:
    """`(frames, 2 * WINDOW)`, one every `HOP` samples."""
    whole = np.pad(samples, (WINDOW, WINDOW))
    return np.lib.stride_tricks.sliding_window_view(whole, 2 * WINDOW)[::HOP]


def pitches(samples: np.ndarray) -> np.ndarray:
    """`(samples,)` at 32 kHz -> MIDI pitches `(frames,)`, of which NaN has none."""
    longest, shortest = int(RATE / hertz(LOWEST)), int(RATE / hertz(HIGHEST))
    views = frames(samples)
    result = np.full(len(views), np.nan)
    loudest = np.sqrt(np.mean(samples**2)) if len(samples) else 0.0
    for i, frame in enumerate(views):
        if np.sqrt(np.mean(frame**2)) <= 0.05 * loudest:
            continue
        lag = _lag(frame.astype(np.float64), shortest, longest)
        if lag is not None:
            result[i] = 69 + 12 * np.log2(RATE / lag / 440)
    return result


def _lag(frame: np.ndarray, shortest: int, longest: int) -> float | None:
    """The period in samples: the first dip of the normalised difference that is deep enough, between samples."""
    size = 4 * WINDOW
    spectrum = np.fft.rfft(frame, size)
    head = np.fft.rfft(frame[:WINDOW], size)
    products = np.fft.irfft(spectrum * head.conj(), size)[: longest + 2]
    energy = np.concatenate([[0], np.cumsum(frame**2)])
    lags = np.arange(longest + 2)
    difference = energy[WINDOW] + energy[lags + WINDOW] - energy[lags] - 2 * products
    normalised = np.ones(longest + 2)
    normalised[1:] = difference[1:] * lags[1:] / np.maximum(np.cumsum(difference[1:]), 1e-12)
    searched = normalised[shortest : longest + 1]
    deep = np.flatnonzero(searched < VOICED)
    if not len(deep):
        return None
    place = shortest + int(deep[0])
    while place + 1 <= longest and normalised[place + 1] < normalised[place]:
        place += 1
    before, here, after = normalised[place - 1 : place + 2]
    bend = before - 2 * here + after
    return float(place + (0.5 * (before - after) / bend if bend > 0 else 0))


def in_key(pitch: np.ndarray, key: int, mode: str) -> float:
    """The share of the voiced frames whose nearest semitone is in a scale; NaN of none."""
    classes = np.rint(pitch[~np.isnan(pitch)]).astype(int) % 12
    return float(np.isin(classes, [(key + step) % 12 for step in SCALES[mode]]).mean()) if len(classes) else np.nan


def onsets(samples: np.ndarray) -> np.ndarray:
    """How much the spectrum grows `(frames,)`, one every 10 ms, in which the mean of its surroundings is left out."""
    hop, size = RATE // 100, 1024
    if len(samples) < size:
        return np.zeros(0)
    views = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    spectra = np.log1p(100 * np.abs(np.fft.rfft(views * np.hanning(size), axis=1)))
    growth = np.diff(spectra, axis=0, prepend=spectra[:1]).clip(0).sum(1)
    return np.maximum(growth - np.convolve(growth, np.ones(41) / 41, mode="same"), 0)


def pulse(samples: np.ndarray, bpm: float) -> float:
    """How far onsets fall in with the eighths of a tempo, counted from any point on: from 0 to 1, where all do.

    That is the length of their sum as arrows that turn once an eighth.
    """
    strength = onsets(samples)
    if not strength.sum():
        return 0.0
    times = np.arange(len(strength)) / 100
    return float(abs(np.sum(strength * np.exp(2j * np.pi * times * bpm / 30))) / strength.sum())


def tempo(samples: np.ndarray) -> float:
    """Which of `TEMPI` the onsets fall in with best."""
    return float(TEMPI[int(np.argmax([pulse(samples, bpm) for bpm in TEMPI]))])
