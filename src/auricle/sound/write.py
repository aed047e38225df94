"""Sound to a file."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from auricle.errors import SoundError
from auricle.types import Audio


def write_wav(path: str | Path | BinaryIO, audio: Audio, *, as_float: bool = False) -> None:
    """Writes a mono wav to a path or an open file: 16-bit, or float32 with `as_float`.

    16 bits hold [-1, 1] in steps of 1/32768. What `decode` reads back differs by at most half a step (by one at full
    scale, which 16 bits don't quite reach); floats come back as they are.

    Raises:
        SoundError: samples beyond [-1, 1] would be clipped by 16 bits, some are NaN, or the file can't be written.
    """
    samples = audio.samples
    if not as_float:
        peak = float(np.abs(samples).max(initial=0.0))
        if not peak <= 1:
            raise SoundError(f"{audio.source} reaches {peak:g}, which 16 bits would clip; write it with as_float=True")
        samples = np.minimum(np.rint(samples * 32768), 32767).astype(np.int16)
    try:
        soundfile.write(path, samples, audio.rate, format="WAV", subtype="FLOAT" if as_float else "PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "error_string", error)
        raise SoundError(f"{path} can't be written ({reason}); check that its folder exists and is writable") from None
