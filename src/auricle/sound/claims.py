"""What a file claims about itself, against what is there: how a cut-off file is told from a whole one.

FFmpeg decodes what it finds and is content. A download that broke off, a recorder that ran out of battery, would be
heard in part and answered for as if it were the whole, so the claims are compared here.

Some of FFmpeg's durations are guesses from the bit rate and the file's size, and its interface doesn't tell which. So
only those known to be written in the file count, and where FFmpeg doesn't pass a claim on (the size of a wav's data, of
a Matroska segment, of an Ogg's last page), it is read from the bytes. A wav that was written to a pipe has only a
placeholder for its size, and an mp3 without a frame count, an aac, an mpeg stream or a live webm claim nothing either:
what is missing at their end can't be known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.sound.source import Source

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

PLACEHOLDER = 0x7FFF0000  # sizes from here up are what programs write that can't go back: 0x7ffff000, 0xffffffff, ...
WAV_SLACK = 64  # bytes: some writers count their header as sound
OGG_PAGE = 27 + 255 + 255 * 255  # the largest page, in bytes
UNCOMPRESSED = {1, 3, 6, 7, 0xFFFE}  # wav format tags: PCM, float, A-law, mu-law, extensible

# How each container calls itself to a user, by its first bytes.
MAGIC = {
    b"RIFF": "wav",
    b"RF64": "wav",
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"\x1aE\xdf\xa3": "webm or Matroska",
    b"ID3": "mp3",
    b"\xff\xfb": "mp3",  # a frame without a tag in front: layer III of MPEG 1 or 2, with a checksum or without
    b"\xff\xfa": "mp3",
    b"\xff\xf3": "mp3",
    b"\xff\xf2": "mp3",
    b"FORM": "aiff",
}


@dataclass(frozen=True)
class Claim:
    """What the header says; None where it says nothing."""

    seconds: float | None = None
    slack_s: float = 0.0  # by how much `seconds` may exceed what decoding gives when nothing is missing
    end: int | None = None  # the byte after the last one of the sound


def looks_like(source: Source) -> str | None:
    """The container that the first bytes announce."""
    return container_of(source.at(0, 12))


def container_of(head: bytes) -> str | None:
    """The container whose first 12 bytes these are, as it calls itself to a user."""
    if head[4:8] == b"ftyp":
        return "mp4"
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def read_claim(source: Source, container: InputContainer, stream: AudioStream) -> Claim:
    """What the file says about its length."""
    exact = 1.5 / stream.rate if stream.rate else 0.0
    written = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    match container.format.name:
        case "wav":
            return _wav_claim(source)
        case "avi":
            size = _little(source.at(4, 4), 0, 4)
            return Claim(end=8 + size if 0 < size < PLACEHOLDER else None)
        case "flac" | "aiff" | "au":
            return Claim(written, exact)
        case "mp3":
            return _mp3_claim(source, stream.rate)
        case "matroska,webm":
            # The duration is that of the longest track, so it speaks for the sound only where there is nothing else.
            alone = all(other.type == "audio" for other in container.streams)
            seconds = container.duration / 1e6 if container.duration and alone else None
            return Claim(seconds, 0.1, _matroska_end(source))
        case "mov,mp4,m4a,3gp,3g2,mj2":
            # An edit list may shorten it; data that is missing is an error of the demuxer's.
            return Claim(written, slack_s=float("inf"))
    return Claim()


def is_cut_off(source: Source, container: InputContainer, claim: Claim, seconds: float) -> bool:
    """Whether the file ends before it says it does, `seconds` of it having been decoded."""
    if claim.end is not None and (source.size or source.taken) < claim.end:
        return True
    if claim.seconds is not None and claim.seconds - seconds > claim.slack_s:
        return True
    return container.format.name == "ogg" and _ends_within_a_page(source)


def _wav_claim(source: Source) -> Claim:
    """The size of the data chunk, as seconds and as the position where it ends."""
    head = source.at(0, 1 << 16)
    if head[8:12] != b"WAVE":
        return Claim()
    position, bytes_per_s, size_64 = 12, 0, None
    while position + 8 <= len(head):
        kind, size = head[position : position + 4], _little(head, position + 4, 4)
        body = position + 8
        if kind == b"ds64":  # RF64: the sizes that don't fit 32 bits
            size_64 = _little(head, body + 8, 8)
        elif kind == b"fmt " and _little(head, body, 2) in UNCOMPRESSED:
            bytes_per_s = _little(head, body + 4, 4) * _little(head, body + 12, 2)  # rate * bytes of one sample
        elif kind == b"data":
            if size >= PLACEHOLDER and size_64 is not None:
                size = size_64
            elif size == 0 or size >= PLACEHOLDER:
                return Claim()
            seconds = size / bytes_per_s if bytes_per_s else None
            return Claim(seconds, float("inf"), body + size - WAV_SLACK)
        position = body + size + size % 2
    return Claim()


def _mp3_claim(source: Source, rate: int) -> Claim:
    """The number of frames, from a "Xing" or "Info" header in the first of them.

    FFmpeg's own figure is a guess as soon as something follows the last frame.
    """
    start, head = 0, source.at(0, 10)
    if head[:3] == b"ID3":  # skipped over: its size is four times seven bits
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    first = source.at(start, 2048)
    header = max(first.find(b"Xing"), first.find(b"Info"))
    fields = first[header + 7] if 0 <= header < len(first) - 7 else 0  # which of the following there are, as bits
    if not fields & 1 or not rate:
        return Claim()
    per_frame = 1152 if rate >= 32_000 else 576
    samples = int.from_bytes(first[header + 8 : header + 12], "big") * per_frame
    encoder = header + 8 + 4 * (1 + (fields >> 1 & 1) + 25 * (fields >> 2 & 1) + (fields >> 3 & 1))
    if first[encoder : encoder + 4] in (b"LAME", b"Lavf", b"Lavc"):  # these say what they added at either end
        added = int.from_bytes(first[encoder + 21 : encoder + 24], "big")
        samples -= (added >> 12) + (added & 0xFFF)
    return Claim(samples / rate, 1.5 * per_frame / rate)  # some count the header as a frame


def _matroska_end(source: Source) -> int | None:
    """Where the segment, the body of the file, ends; None for a live recording, which doesn't say."""
    head = source.at(0, 4096)
    header_size, position = _matroska_size(head, 4)
    if header_size is None:
        return None
    position += header_size
    if head[position : position + 4] != b"\x18\x53\x80\x67":
        return None
    size, position = _matroska_size(head, position + 4)
    return None if size is None else position + size


def _matroska_size(head: bytes, position: int) -> tuple[int | None, int]:
    """A number of one to eight bytes, and where it ends: leading zeros tell its length, all ones mean unknown."""
    first = head[position] if position < len(head) else 0
    length = 9 - first.bit_length()
    value = int.from_bytes(head[position : position + length], "big") & ((1 << 7 * length) - 1)
    unknown = first == 0 or value == (1 << 7 * length) - 1
    return (None if unknown else value), position + length


def _ends_within_a_page(source: Source) -> bool:
    """Whether an Ogg file's last page is cut: its header tells how long it should be."""
    if source.size is None:
        return False
    tail = source.at(max(0, source.size - OGG_PAGE), OGG_PAGE)
    start = tail.rfind(b"OggS")
    if start < 0:  # something else follows the sound
        return False
    page = tail[start:]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return len(page) < 27 or len(lengths) < page[26] or len(page) < 27 + len(lengths) + sum(lengths)


def _little(data: bytes, start: int, count: int) -> int:
    return int.from_bytes(data[start : start + count], "little")
