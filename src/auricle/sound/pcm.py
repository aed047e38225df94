"""Sound to a stream that can't go back, such as a pipe: a WAV whose length isn't known yet, or samples alone."""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from auricle.sound.limiter import Limiter
from auricle.sound.write import Bits

UNKNOWN = 0xFFFFFFFF  # what programs write for a length that isn't known; readers take the end of the stream
_WIDTHS: dict[Bits, int] = {"16": 2, "24": 3, "float": 4}


class PcmWriter:
    """Writes mono samples as they come, little-endian. Whole numbers can't go beyond full scale: peaks are lowered.

    Args:
        stream: in binary.
        rate: samples a second.
        header: that of a WAV; without it, samples alone.

    Raises:
        OSError: it can't be written to; BrokenPipeError where nobody reads it any more.
    """

    def __init__(self, stream: BinaryIO, rate: int, bits: Bits = "16", *, header: bool = True) -> None:
        self._stream, self._bits = stream, bits
        self.limiter = Limiter(rate)
        if header:
            stream.write(_header(rate, bits))
            stream.flush()

    def write(self, samples: NDArray[np.float32]) -> None:
        """The next `(n,)`; of whole numbers, those whose peaks may still have to be lowered are held back."""
        self._put(samples if self._bits == "float" else self.limiter.push(samples))

    def finish(self) -> None:
        """The rest; the stream isn't closed."""
        self._put(self.limiter.finish())

    def _put(self, samples: NDArray[np.float32]) -> None:
        if len(samples):
            self._stream.write(_bytes(samples, self._bits))
            self._stream.flush()


def _bytes(samples: NDArray[np.float32], bits: Bits) -> bytes:
    if bits == "float":
        return samples.astype("<f4").tobytes()
    full = 2 ** (int(bits) - 1)
    values = np.minimum(np.rint(samples.astype(np.float64) * full), full - 1)
    if bits == "16":
        return values.astype("<i2").tobytes()
    return values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def _header(rate: int, bits: Bits) -> bytes:
    width = _WIDTHS[bits]
    kind = 3 if bits == "float" else 1
    form = struct.pack("<HHIIHH", kind, 1, rate, rate * width, width, 8 * width)
    return b"".join(
        (
            b"RIFF" + struct.pack("<I", UNKNOWN) + b"WAVE",
            b"fmt " + struct.pack("<I", len(form)) + form,
            b"data" + struct.pack("<I", UNKNOWN),
        )
    )
