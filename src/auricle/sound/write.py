"""Sound to a file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from auricle.errors import OptionError, SoundError
from auricle.types import Audio

Container = Literal["wav", "flac"]
Bits = Literal["16", "24", "float"]
CONTAINERS: tuple[Container, ...] = ("wav", "flac")
_SUBTYPES: dict[Bits, str] = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}


@dataclass(frozen=True)
class Form:
    """How samples are written."""

    container: Container = "wav"
    bits: Bits = "16"

    def __post_init__(self) -> None:
        if self.container not in CONTAINERS:
            raise OptionError(f"a sound can't be written as {self.container!r}; it can as {' or '.join(CONTAINERS)}")
        if self.bits not in _SUBTYPES:
            raise OptionError(f"bits is {self.bits!r}; it must be {', '.join(_SUBTYPES)}")
        if self.container == "flac" and self.bits == "float":
            raise OptionError("flac has no float samples: take --bits 24, or a .wav")

    @classmethod
    def of(cls, path: Path, bits: Bits = "16") -> Form:
        """As a file's name says.

        Raises:
            OptionError: it doesn't end in .wav or .flac, or flac is to have float samples.
        """
        suffix = path.suffix[1:].lower()
        if suffix not in CONTAINERS:
            raise OptionError(f"{path} says by its name how it is to be written: it must end in .wav or .flac")
        return cls("flac" if suffix == "flac" else "wav", bits)


def write_wav(path: str | Path | BinaryIO, audio: Audio, *, as_float: bool = False) -> None:
    """Writes a mono wav to a path or an open file: 16-bit, or float32 with `as_float`.

    16 bits hold [-1, 1] in steps of 1/32768. What `decode` reads back differs by at most half a step (by one at full
    scale, which 16 bits don't quite reach); floats come back as they are.

    Raises:
        SoundError: samples beyond [-1, 1] would be clipped by 16 bits, some are NaN, or the file can't be written.
    """
    samples = audio.samples if as_float else _whole(audio, 16, "as_float=True")
    try:
        soundfile.write(path, samples, audio.rate, format="WAV", subtype="FLOAT" if as_float else "PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "error_string", error)
        raise SoundError(f"{path} can't be written ({reason}); check that its folder exists and is writable") from None


def encoded(audio: Audio, form: Form) -> bytes:
    """The bytes of a mono file: what is to be there whole or not at all is written by whoever puts it somewhere.

    Raises:
        SoundError: samples beyond [-1, 1] would be clipped by whole numbers, or some aren't finite.
    """
    if not np.isfinite(audio.samples).all():
        raise SoundError(f"{audio.source} has samples that are not finite: it can't be written")
    samples = audio.samples if form.bits == "float" else _whole(audio, int(form.bits), "bits=float")
    file = io.BytesIO()
    soundfile.write(file, samples, audio.rate, format=form.container.upper(), subtype=_SUBTYPES[form.bits])
    return file.getvalue()


def _whole(audio: Audio, bits: int, instead: str) -> NDArray[np.int16] | NDArray[np.int32]:
    """Whole numbers of so many bits; 24 of them as the upper three bytes of four, as libsndfile takes them."""
    peak = float(np.abs(audio.samples).max(initial=0.0))
    if not peak <= 1:
        raise SoundError(f"{audio.source} reaches {peak:g}, which {bits} bits would clip; write it with {instead}")
    full = 2 ** (bits - 1)
    values = np.minimum(np.rint(audio.samples.astype(np.float64) * full), full - 1)
    return values.astype(np.int16) if bits == 16 else values.astype(np.int32) << 8
