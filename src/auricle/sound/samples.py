"""Samples of any type and any number of channels to mono float32: what files, arrays and live sound have in common.

Everything here gives the same numbers whether it is given a sound as a whole or in pieces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from auricle.errors import SoundError
from auricle.sound.source import one_line

MAX_PEAK = 16.0  # +24 dB over full scale
MAX_RATE = 10_000_000  # samples per second; more is a damaged header, and would take the resampler minutes
MAX_CHANNELS = 64  # of an array: more than that is a transposed one

# FFmpeg's sample formats (planar ones have a "p" behind): NumPy's type, the value of silence, the value of full scale.
SAMPLE_FORMATS = {
    "u8": ("u1", 128, 2**7),
    "s16": ("i2", 0, 2**15),
    "s32": ("i4", 0, 2**31),
    "s64": ("i8", 0, 2**63),
    "flt": ("f4", 0, 1),
    "dbl": ("f8", 0, 1),
}

Encoding = Literal["u8", "s16le", "s24le", "s32le", "f32le", "f64le"]
# How samples are written in a WAV or without a header, by FFmpeg's names: bytes of a sample, the format above.
ENCODINGS: dict[Encoding, tuple[int, str]] = {
    "u8": (1, "u8"),
    "s16le": (2, "s16"),
    "s24le": (3, "s32"),
    "s32le": (4, "s32"),
    "f32le": (4, "flt"),
    "f64le": (8, "dbl"),
}


def checked_rate(rate: object, name: str) -> int:
    """Samples per second, if it can be that.

    Raises:
        SoundError: it isn't a whole number above 0, or is absurdly high.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or rate < 1:
        raise SoundError(f"{name} comes with a rate of {rate!r}; give samples per second, a whole number such as 16000")
    if rate > MAX_RATE:
        raise SoundError(f"{name} claims {rate:,} samples per second; it can have at most {MAX_RATE:,}")
    return int(rate)


def as_channels(samples: NDArray[Any] | Sequence[float], name: str) -> NDArray[Any]:
    """`(samples,)` or `(channels, samples)` of any type as `(channels, samples)`; there may be 0 samples.

    Raises:
        SoundError: it is no array, or has another shape.
    """
    try:
        values = np.asarray(samples)
    except Exception as error:  # whatever an array-like throws: ragged lists, tensors on another device, ...
        raise SoundError(f"{name} is no array ({one_line(str(error))}); give a NumPy array") from None
    if values.ndim not in (1, 2) or (values.ndim == 2 and not len(values)):
        raise SoundError(f"{name} has the shape {values.shape}; give (samples,) or (channels, samples)")
    channels = np.atleast_2d(values)
    if len(channels) > MAX_CHANNELS:
        raise SoundError(
            f"{name} has the shape {values.shape}, which would be {len(channels):,} channels; "
            "give (channels, samples): transpose it"
        )
    return channels


def to_floats(values: NDArray[Any], name: str) -> NDArray[np.floating[Any]]:
    """Floats as they are, integers scaled by their full scale.

    Raises:
        SoundError: the type is another than float, int16, int32 or uint8.
    """
    if values.dtype.kind == "f":
        return values.astype(np.float32) if values.dtype.itemsize < 4 else values
    kind = {"u1": "u8", "i2": "s16", "i4": "s32"}.get(values.dtype.str[1:])  # of either byte order
    if kind is None:
        raise SoundError(
            f"{name} has the type {values.dtype}, which has no agreed full scale; "
            "give floats in [-1, 1], int16, int32 or uint8"
        )
    return scaled(values, kind)


def scaled(values: NDArray[Any], kind: str) -> NDArray[np.floating[Any]]:
    """Values in one of `SAMPLE_FORMATS` as floats in [-1, 1]."""
    dtype, silence, full_scale = SAMPLE_FORMATS[kind]
    if dtype[0] == "f":
        return values
    # float32 is exact for 16 bits, and half the work.
    wide: NDArray[np.floating[Any]] = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    return (wide - silence) / full_scale


def from_bytes(data: bytes, encoding: Encoding, channels: int) -> NDArray[np.floating[Any]]:
    """Interleaved samples as floats in [-1, 1], `(channels, samples)`; the bytes are those of whole samples."""
    width, kind = ENCODINGS[encoding]
    if encoding == "s24le":  # as the upper three bytes of four, which is what FFmpeg makes of them
        quads = np.zeros((len(data) // width, 4), np.uint8)
        quads[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, width)
        data = quads.tobytes()
    values = np.frombuffer(data, "<" + SAMPLE_FORMATS[kind][0])
    return scaled(values.reshape(-1, channels).T, kind)


def mono(channels: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The plain mean of `(channels, samples)`, `(samples,)`: a copy.

    Summed channel by channel, because NumPy's mean adds in an order that depends on how the samples lie in memory and
    how many there are: a piece would differ from the whole in its last bits.
    """
    if len(channels) == 1:
        return channels[0].astype(np.float32)
    total = channels[0].copy()
    for channel in channels[1:]:
        total += channel
    return (total / len(channels)).astype(np.float32)


def not_finite(channels: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """Which samples of `(channels, samples)` are NaN or infinite in any channel."""
    return np.flatnonzero(~np.isfinite(channels).all(axis=0))


def other_scale(name: str, peak: float, where: str = "") -> SoundError:
    """What to say of a sample beyond `MAX_PEAK`."""
    return SoundError(
        f"{name} reaches {peak:,.6g} where full scale is 1{where}: it is damaged, or its numbers have another "
        "scale; divide them by it first (32768 for 16-bit numbers)"
    )


def resampler(rate: int, target_rate: int) -> Any:
    """A `soxr.ResampleStream` for mono float32; None if there is nothing to do."""
    return None if rate == target_rate else soxr.ResampleStream(rate, target_rate, 1, dtype="float32", quality="HQ")


def content_hash(samples: NDArray[np.floating[Any]]) -> str:
    """SHA-256 of mono float32 samples: what `sha256` says in every index of ours."""
    return hashlib.sha256(np.ascontiguousarray(samples, np.float32).data).hexdigest()
