"""Files that a stranger may send as a sound: what is none, what is damaged, what is longer than it looks.

All are made here, by NumPy and FFmpeg's encoders; hours of silence are the frames of some seconds, again and again.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from io import BytesIO
from typing import Any

import av
import numpy as np

from tests.sound.making import encoded, int16, silent_video, tone, wav, written

HOURS = 2


def no_sounds() -> Iterator[tuple[str, bytes]]:
    """What is no sound at all: 415."""
    yield "text", b"Hello, this is a recording of my voice."
    yield "a line of zeros", bytes(5000)
    yield "noise", np.random.default_rng(0).bytes(50_000)
    yield "one byte", b"\0"
    yield "a page", b"<!doctype html><html><body>404 Not Found</body></html>"
    yield "json", b'{"error": "not found"}'
    yield "a picture", _png()
    yield "a zip", _zip(b"x" * 1000)
    yield "a zip bomb", _zip(bytes(30_000_000))
    yield "a pdf", b"%PDF-1.7\n1 0 obj <</Type /Catalog>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF"
    yield "an svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "a playlist of local files", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n"
    yield "a script of ffmpeg's concat", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "a script of ffmpeg's concat over http", b"ffconcat version 1.0\nfile http://127.0.0.1:1/x\n"
    yield "a session description", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\nc=IN IP4 127.0.0.1\n"
    yield "a dash manifest", b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:1/</BaseURL></MPD>'
    yield "a video without sound", silent_video()
    yield "a magic number alone", b"fLaC"
    yield "a tag alone", b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    yield "an ogg page of nothing", b"OggS\0\2" + bytes(21) + b"\1\0"
    yield "a matroska of nothing", b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\x80"
    yield "an mp4 of nothing", b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom"
    yield "an mp4 whose box is larger than the world", b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom" + b"\xff\xff\xff\xffmoov"
    yield "an mp4 nested deep", _nested_boxes(2000)


def damaged() -> Iterator[tuple[str, bytes]]:
    """Sounds that break off or can't be what they say: 415."""
    samples = tone(seconds=3.0)
    for name, whole in (
        ("mp3", encoded(samples, 16_000, "mp3", "libmp3lame")),
        ("flac", encoded(samples, 16_000, "flac", "flac")),
        ("opus", encoded(samples, 48_000, "ogg", "libopus")),
        ("vorbis", written(samples, 16_000, "OGG", "VORBIS")),
        ("webm", encoded(samples, 48_000, "webm", "libopus")),
    ):
        for share in (0.02, 0.5, 0.9):
            yield f"{name} cut at {share:.0%}", whole[: int(len(whole) * share)]
    whole = encoded(samples, 44_100, "mp4", "aac")
    yield "m4a without its end", whole[:-500]
    flac = encoded(samples, 16_000, "flac", "flac")
    yield "flac with a hole", flac[:-9000] + bytes(3000) + flac[-6000:]
    sound = written(samples, 16_000, "WAV", "PCM_16")
    yield "a wav cut off", sound[: len(sound) // 2]
    yield "a wav of a header alone", sound[:44]
    yield "a wav that breaks off in its header", sound[:30]
    yield "a wav that claims no samples", wav(b"")
    for name, channels, rate, bits in (
        ("no channels", 0, 16_000, 16),
        ("65,535 channels", 65_535, 16_000, 16),
        ("no rate", 1, 0, 16),
        ("4 GHz", 1, 2**32 - 1, 16),
        ("2 GHz", 1, 2**31 - 1, 16),
        ("no bits", 1, 16_000, 0),
        ("65,535 bits", 1, 16_000, 65_535),
    ):
        yield f"a wav of {name}", raw_wav(int16(samples), channels=channels, rate=rate, bits=bits)
    yield "a wav in an unknown codec", raw_wav(int16(samples), tag=0x7777)
    yield "a wav that says it is mp3", raw_wav(int16(samples), tag=0x55)
    for name, value in (("NaN", np.nan), ("infinity", np.inf), ("minus infinity", -np.inf), ("1e30", 1e30)):
        yield f"floats with {name}", written(_with(samples, value), 16_000, "WAV", "FLOAT")
    yield "floats that are 16-bit numbers", written(samples * 32767, 16_000, "WAV", "FLOAT")
    yield "doubles with NaN", written(_with(samples, np.nan), 16_000, "WAV", "DOUBLE")


@cache
def endless() -> tuple[tuple[str, bytes], ...]:
    """Hours in a file of little: 413, without hours of work."""
    return tuple(_endless())


def _endless() -> Iterator[tuple[str, bytes]]:
    plain = {"write_xing": "0", "id3v2_version": "0"}
    yield "an mp3 without a header", _again(silence("mp3", "libmp3lame", plain, {}, 8000))
    yield "an adts aac", _again(silence("adts", "aac", {}, {}, 8000))
    yield "a flac", written(np.zeros(8000 * 3600 * HOURS, np.int16), 8000, "FLAC", "PCM_16")
    yield "a flac whose header tells no length", claiming(0, long_flac())
    yield "a flac that claims a second", claiming(16_000, long_flac())
    yield "an ogg of opus", repeated("ogg", {})
    yield "a webm without a length", repeated("webm", {"live": "1"})
    yield "a transport stream", repeated("mpegts", {}, hours=1.0)
    yield "a wav of 3 s that claims a gigabyte", wav(int16(tone(seconds=3.0)), data_size=1 << 30)
    yield "a wav of one sample a second", written(np.zeros(3600 * HOURS, np.int16), 1, "WAV", "PCM_16")
    yield "a wav whose header tells no length", wav(bytes(16 * 3600 * HOURS), 8, data_size=0xFFFFFFFF)
    yield "a flac of 8 channels at 655,350 Hz", wide_flac()


def raw_wav(data: bytes, *, tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    """A wav whose header says what it is told to."""
    block = max(1, channels * bits // 8) & 0xFFFF
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def silence(container: str, codec: str, muxer: dict[str, str], encoder: dict[str, str], bit_rate: int) -> bytes:
    """20 s."""
    out = BytesIO()
    with av.open(out, "w", format=container, options=muxer) as file:
        stream = file.add_stream(codec, rate=16_000, layout="mono", options=encoder)
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 320_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return out.getvalue()


def repeated(container: str, muxer: dict[str, str], hours: float = HOURS) -> bytes:
    """Hours of Opus: packets of silence, 60 ms each, muxed anew."""
    with av.open(BytesIO(silence("ogg", "libopus", {}, {"frame_duration": "60"}, 6000))) as source:
        template = source.streams.audio[0]
        packets = [packet for packet in source.demux(template) if packet.size]
        out = BytesIO()
        with av.open(out, "w", format=container, options=muxer) as file:
            stream = file.add_stream_from_template(template)
            for number in range(round(hours * 60_000)):
                packet = packets[number % 100 + 10]
                packet.pts = packet.dts = number * 2880
                packet.time_base = Fraction(1, 48_000)
                packet.stream = stream
                file.mux(packet)
    return out.getvalue()


@cache
def long_flac() -> bytes:
    return written(np.zeros(16_000 * 3600, np.int16), 16_000, "FLAC", "PCM_16")


def wide_flac(seconds: int = 1500) -> bytes:
    """25 minutes, which most limits allow, and yet 8 billion samples: 8 channels at 655,350 Hz, in constant blocks.

    The format: https://www.rfc-editor.org/rfc/rfc9639
    """
    block, rate, channels = 65_535, 655_350, 8
    total = seconds * rate
    info = struct.pack(">HH", block, block) + bytes(6) + (rate << 44 | 7 << 41 | 15 << 36 | total).to_bytes(8, "big")
    file = b"fLaC" + struct.pack(">I", 0x80 << 24 | 34) + info + bytes(16)
    frames = [file]
    for number in range(total // block):
        head = (
            b"\xff\xf8\x7e\x78"
            + chr(number).encode("utf-8", "surrogatepass")
            + struct.pack(">HH", block - 1, rate // 10)
        )
        frame = head + bytes([_crc(head, 8, 0x07)]) + b"\0\0\0" * channels
        frames.append(frame + _crc(frame, 16, 0x8005).to_bytes(2, "big"))
    return b"".join(frames)


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    value, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
    return value


def claiming(samples: int, file: bytes) -> bytes:
    """Its header's count of samples replaced: 36 bits behind the rate, channels and bits."""
    kept = int.from_bytes(file[18:26], "big") >> 36 << 36
    return file[:18] + (kept | samples).to_bytes(8, "big") + file[26:]


def _again(file: bytes) -> bytes:
    return file * (HOURS * 180)


def _with(samples: np.ndarray[Any, np.dtype[np.float32]], value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    changed = samples.copy()
    changed[len(samples) // 2] = value
    return changed


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0\0\0\0" * 4)
    head = struct.pack(">IIBBBBB", 1, 4, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _zip(content: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.wav", content)
    return out.getvalue()


def _nested_boxes(levels: int) -> bytes:
    inner = b""
    for _ in range(levels):
        inner = struct.pack(">I", 8 + len(inner)) + b"moov" + inner
    return b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom" + inner
