"""Noise that is generated: white, pink, or with the long-term spectrum of speech.

It is shaped in the frequency domain over at least a second, of which a piece is taken: a piece of 20 ms then has the
same statistics as a long one, low frequencies included.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from auricle.evaluation.degrade.levels import Samples

Kind = Literal["white", "pink", "speech"]
KINDS: tuple[Kind, ...] = ("white", "pink", "speech")

LEAST_S = 1.0  # of noise that is made, whatever is needed
LOWEST_HZ = 20.0  # pink and speech noise have nothing below

# The long-term average spectrum of speech, 12 languages, men and women: dB in each third of an octave, at 70 dB in all.
# Byrne et al., J. Acoust. Soc. Am. 96 (1994), 2108-2120, table II, combined.
SPEECH_HZ = (
    *(63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300),
    *(8000, 10000, 12500, 16000),
)
SPEECH_DB = (
    *(38.6, 43.5, 54.4, 57.7, 56.8, 60.2, 60.3, 59.0, 62.1, 62.1, 60.5, 56.8, 53.7, 53.0, 52.0, 48.7, 48.1, 46.8, 45.6),
    *(44.5, 44.3, 43.7, 43.4, 41.3, 40.7),
)


def generated(kind: Kind, count: int, rate: int, random: np.random.Generator) -> Samples:
    """Noise `(count,)` of mean square about 1."""
    whole = max(count, round(LEAST_S * rate))
    white = random.standard_normal(whole)
    if kind == "white":
        return white[:count]
    hertz = np.fft.rfftfreq(whole, 1 / rate)
    shape = np.zeros(len(hertz))
    heard = hertz >= LOWEST_HZ
    shape[heard] = hertz[heard] ** -0.5 if kind == "pink" else _speech(hertz[heard])
    shape /= np.sqrt(np.mean(shape**2))
    return np.fft.irfft(np.fft.rfft(white) * shape, whole)[:count]


def _speech(hertz: Samples) -> Samples:
    """The amplitude at each frequency: a third of an octave is the wider the higher it lies, hence the root."""
    decibels = np.interp(np.log(hertz), np.log(SPEECH_HZ), SPEECH_DB)
    amplitude: Samples = 10 ** (decibels / 20) / np.sqrt(hertz)
    return amplitude
