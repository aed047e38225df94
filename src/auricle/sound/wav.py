"""The header of a WAV that arrives through a pipe: how its samples are written, and how many bytes of them there are.

Why not FFmpeg: its demuxer opens a stream only after two to three seconds of sound, whatever its options say, and a
header is a hundred bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from auricle.errors import SoundError
from auricle.sound.claims import PLACEHOLDER
from auricle.sound.pipe import Pipe
from auricle.sound.samples import ENCODINGS, MAX_CHANNELS, MAX_RATE, Encoding

MAX_HEADER = 1 << 20  # bytes, cover pictures and other chunks included; more would be half a minute without a sound
CONVERT = "ffmpeg -i FILE -f wav - | auricle listen"

# The format tags and bytes of a sample that are taken: PCM, float.
_WRITTEN: dict[tuple[int, int], Encoding] = {
    (1, 1): "u8",
    (1, 2): "s16le",
    (1, 3): "s24le",
    (1, 4): "s32le",
    (3, 4): "f32le",
    (3, 8): "f64le",
}
_EXTENSIBLE = 0xFFFE  # the tag stands further on


class Header(NamedTuple):
    """What the header of a WAV says of its samples."""

    encoding: Encoding
    rate: int  # samples per second
    channels: int
    size: int | None  # bytes of samples; None where the writer couldn't know, and the end of the stream is their end


def is_chunk(head: bytes, before: int) -> bool:
    """Whether what stands behind a chunk of so many bytes is another chunk, the end, or a byte that fills it up."""
    head = head[before % 2 :][:4]
    return len(head) < 4 or (head != b"RIFF" and head.decode("latin-1").isprintable() and head.isascii())


def is_wav(head: bytes) -> bool:
    """Whether the first 12 bytes are those of a WAV."""
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def read_header(pipe: Pipe) -> Header:
    """Reads up to the first sample; the 12 bytes that `is_wav` looks at have been read.

    Raises:
        SoundError: the stream ends before, the header is damaged, or the samples are neither PCM nor float.
    """
    form: tuple[Encoding, int, int] | None = None
    size_64: int | None = None
    while pipe.taken < MAX_HEADER:
        head = _exactly(pipe, 8)
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        if kind == b"data":
            if form is None:
                raise _damaged(pipe.name, "its samples come before their format")
            return Header(*form, _known(size, size_64))
        padded = size + size % 2
        if pipe.taken + padded > MAX_HEADER:
            break
        body = _exactly(pipe, padded)
        if kind == b"fmt ":
            form = _format(body, pipe.name)
        elif kind == b"ds64":  # RF64: the sizes that don't fit 32 bits
            size_64 = int.from_bytes(body[8:16], "little")
    raise _damaged(pipe.name, f"no sound begins within its first {MAX_HEADER:,} bytes")


def _known(size: int, size_64: int | None) -> int | None:
    """The size of the samples, unless it is one of those that programs write that can't go back: 0, 0xffffffff, ..."""
    if size >= PLACEHOLDER and size_64 is not None:
        return size_64 if 0 < size_64 < 2**62 else None
    return size if 0 < size < PLACEHOLDER else None


def _format(body: bytes, name: str) -> tuple[Encoding, int, int]:
    """Encoding, rate and channels."""
    tag, channels, rate, _, frame, bits = (
        int.from_bytes(body[start:end], "little")
        for start, end in ((0, 2), (2, 4), (4, 8), (8, 12), (12, 14), (14, 16))
    )
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(body[24:26], "little")
    if not 1 <= channels <= MAX_CHANNELS:
        raise _damaged(name, f"it claims {channels:,} channels; it can have 1 to {MAX_CHANNELS}")
    if not 1 <= rate <= MAX_RATE:
        raise _damaged(name, f"it claims {rate:,} samples per second; it can have 1 to {MAX_RATE:,}")
    width = (bits + 7) // 8  # 20 bits are written as 24, the lowest of them 0
    encoding = _WRITTEN.get((tag, width))
    if encoding is None:
        raise SoundError(
            f"{name} is a WAV with samples of {bits} bits in format {tag:#06x}; live sound is PCM of 8, 16, 24 or 32 "
            f"bits or float of 32 or 64: convert it on the way: {CONVERT}"
        )
    if frame != width * channels:
        raise _damaged(name, f"it claims {frame} bytes for {channels} samples of {bits} bits")
    assert ENCODINGS[encoding][0] == width
    return encoding, rate, channels


def _exactly(pipe: Pipe, count: int) -> bytes:
    data = pipe.exactly(count)
    if len(data) < count:
        raise SoundError(
            f"{pipe.name} ends within the header of its WAV, after {pipe.taken:,} bytes; "
            "check the program that writes it"
        )
    return data


def _damaged(name: str, what: str) -> SoundError:
    return SoundError(f"{name} is a WAV with a damaged header: {what}; convert it on the way: {CONVERT}")
