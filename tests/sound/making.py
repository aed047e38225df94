"""Sounds and sound files made on the spot, with NumPy, soundfile and PyAV's own encoders: no ffmpeg needed."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000


def tone(hertz: float = 440.0, seconds: float = 1.0, rate: int = RATE, amplitude: float = 0.5) -> NDArray[np.float32]:
    """`(samples,)`"""
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def loudest_hertz(samples: NDArray[np.float32], rate: int = RATE) -> float:
    """The frequency that is strongest, to about 1 Hz for a second of sound."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), n=4 * len(samples)))
    return float(np.argmax(spectrum)) * rate / (4 * len(samples))


def written(samples: NDArray[Any], rate: int, container: str, subtype: str) -> bytes:
    """A file by libsndfile; samples are `(samples,)` or `(channels, samples)`."""
    file = BytesIO()
    soundfile.write(file, samples.T, rate, format=container, subtype=subtype)
    return file.getvalue()


def encoded(
    samples: NDArray[np.float32],
    rate: int,
    container: str,
    codec: str,
    *,
    layout: str | None = None,
    video: str | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """A file by FFmpeg; samples are `(samples,)` or `(channels, samples)`. `video` adds a picture in that codec."""
    channels = np.atleast_2d(samples)
    layout = layout or {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    with TemporaryDirectory() as folder:  # some containers are read again while they are written
        path = Path(folder) / "sound"
        with av.open(path, "w", format=container, options=options or {}) as out:
            picture = _add_picture(out, video) if video else None
            sound: Any = out.add_stream(codec, rate=rate, layout=layout)
            if picture is not None:
                _encode_noise(out, picture, frames=round(10 * channels.shape[1] / rate))
            for start in range(0, channels.shape[1], 4800):
                part = np.ascontiguousarray(channels[:, start : start + 4800], dtype=np.float32)
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = rate, start
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
        return path.read_bytes()


def silent_video() -> bytes:
    file = BytesIO()
    with av.open(file, "w", format="mp4") as out:
        _encode_noise(out, _add_picture(out, "mpeg4"), frames=5)
    return file.getvalue()


def _add_picture(out: Any, codec: str) -> Any:
    picture = out.add_stream(codec, rate=10)
    picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
    return picture


def _encode_noise(out: Any, picture: Any, frames: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    for _ in range(frames):
        out.mux(picture.encode(av.VideoFrame.from_ndarray(pixels)))
    out.mux(picture.encode(None))


def wav(data: bytes, rate: int = RATE, *, data_size: int | None = None, riff_size: int | None = None) -> bytes:
    """A mono 16-bit wav by hand, whose header may lie."""
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    body += b"data" + struct.pack("<I", len(data) if data_size is None else data_size) + data
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


def int16(samples: NDArray[np.float32]) -> bytes:
    return np.rint(samples * 32767).astype("<i2").tobytes()
