"""Low-pass, high-pass and band-pass with the magnitude of a Butterworth filter and no delay.

The magnitude 1/sqrt(1 + (f/fc)^2n) is -3 dB at the stated frequency and falls by 6n dB an octave. It is applied to the
spectrum, so that the phase is left alone and every part of a clip stays where it was: a filter that delays by
milliseconds would move a clip of 20 ms out of its place.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from auricle.errors import OptionError
from auricle.evaluation.degrade.levels import Samples

MARGIN_S = 0.25  # of silence on either side, for the filter to ring in: it must not come round to the other end
_WORDS = re.compile(r"(lowpass|highpass):([\d.]+)|bandpass:([\d.]+)-([\d.]+)")


@dataclass(frozen=True)
class Filter:
    """What passes: from `low` to `high` Hz; 0 and infinity are no limit."""

    ORDER: ClassVar[int] = 4  # 24 dB an octave, on either side

    low: float
    high: float

    @classmethod
    def parse(cls, text: str, rate: int) -> Filter:
        """`lowpass:3400`, `highpass:300` or `bandpass:300-3400`.

        Raises:
            OptionError: it is none of these, or a frequency is not between 0 and half the rate.
        """
        found = _WORDS.fullmatch(text)
        if found is None:
            raise OptionError(f"filter is {text!r}; it must be none, lowpass:HZ, highpass:HZ or bandpass:HZ-HZ")
        try:
            numbers = [float(word) for word in found.group(2, 3, 4) if word]
        except ValueError:
            raise OptionError(f"filter is {text!r}; its frequencies must be numbers, such as 3400") from None
        if bad := [hertz for hertz in numbers if not 0 < hertz < rate / 2]:
            raise OptionError(
                f"filter {text} has {bad[0]:g} Hz; at a rate of {rate} it must be between 0 and {rate / 2:g}"
            )
        if found[1] is None and numbers[0] >= numbers[1]:
            raise OptionError(f"filter {text} passes nothing: write the lower frequency first")
        match found[1]:
            case "lowpass":
                return cls(0.0, numbers[0])
            case "highpass":
                return cls(numbers[0], math.inf)
        return cls(numbers[0], numbers[1])

    def gain(self, hertz: Samples) -> Samples:
        """The magnitude at some frequencies."""
        with np.errstate(divide="ignore"):
            below = (self.low / hertz) ** (2 * self.ORDER) if self.low else np.zeros(len(hertz))
        above = (hertz / self.high) ** (2 * self.ORDER)
        found: Samples = 1 / np.sqrt((1 + below) * (1 + above))
        return found

    def apply(self, samples: Samples, rate: int) -> Samples:
        """`(samples,)`, as many as before."""
        margin = round(MARGIN_S * rate)
        size = 1 << (len(samples) + 2 * margin - 1).bit_length()  # fast for the FFT; what is added is silence
        spectrum = np.fft.rfft(np.pad(samples, (margin, size - margin - len(samples))))
        full: Samples = np.fft.irfft(spectrum * self.gain(np.fft.rfftfreq(size, 1 / rate)), size)
        return full[margin : margin + len(samples)]
