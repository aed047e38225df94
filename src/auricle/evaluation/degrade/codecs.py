"""What a codec leaves of a sound: encoded and decoded again by FFmpeg, at a stated bit rate, in its place.

Codecs delay: by a look-ahead, by filters, by whole frames. Some files say by how much, some don't. So the delay is
measured, once for each codec and rate, with a sound made for it, and taken out. Silence is put around the clip before,
because a codec's frame may be longer than the clip, and its first frames start from nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import av
import av.error
import numpy as np
import soxr

from auricle.errors import AuricleError, OptionError, SoundError
from auricle.evaluation.degrade.levels import Samples
from auricle.jobs.parts import generator
from auricle.sound.decode import decode

MARGIN_S = 0.25  # of silence before and behind
LONGEST_DELAY_S = 0.2

_MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_AMR = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)


@dataclass(frozen=True)
class Kind:
    """One codec, as FFmpeg has it."""

    encoder: str
    container: str
    rates: tuple[int, ...]  # it works at
    kbps: tuple[float, ...] | tuple[()]  # it has; empty: any from `least` to `most`
    least: float = 6.0
    most: float = 510.0
    options: tuple[tuple[str, str], ...] = ()


KINDS = {
    "mp3": Kind("libmp3lame", "mp3", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), _MPEG1),
    # Opus at a constant bit rate: otherwise it would give a short clip after silence whatever it likes.
    "opus": Kind("libopus", "ogg", (8000, 12000, 16000, 24000, 48000), (), 6.0, 256.0, (("vbr", "off"),)),
    "aac": Kind("aac", "mp4", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), (), 8.0, 256.0),
    "amr-nb": Kind("libopencore_amrnb", "amr", (8000,), _AMR),
    "g722": Kind("g722", "wav", (16000,), (64,)),
    "mulaw": Kind("pcm_mulaw", "wav", (8000,), (64,)),
    "alaw": Kind("pcm_alaw", "wav", (8000,), (64,)),
}
_WORDS = re.compile(r"([\w-]+?)(?::([\d.]+)k?)?")


@dataclass(frozen=True)
class Codec:
    """A codec at a bit rate."""

    name: str
    kbps: float

    @classmethod
    def parse(cls, text: str, rate: int) -> Codec:
        """`mp3:32k`, `opus:16k`, `aac:24k`, `amr-nb:12.2k`, `g722`, `mulaw`, `alaw`.

        Raises:
            OptionError: there is no such codec, this FFmpeg hasn't got it, or it doesn't have that bit rate.
        """
        found = _WORDS.fullmatch(text)
        kind = KINDS.get(found[1]) if found else None
        if found is None or kind is None:
            raise OptionError(f"codec is {text!r}; it must be none, or one of {', '.join(KINDS)}, as in mp3:32k")
        if kind.encoder not in av.codecs_available:
            raise OptionError(
                f"codec {found[1]} needs {kind.encoder}, which this FFmpeg was built without; use another"
            )
        allowed = _MPEG2 if found[1] == "mp3" and _rate(kind, rate) < 32_000 else kind.kbps
        if found[2] is None and len(allowed) != 1:
            raise OptionError(f"codec {text} has no bit rate; give one in thousands of bits a second: {text}:32k")
        try:
            kbps = float(found[2]) if found[2] else float(allowed[0])
        except ValueError:
            raise OptionError(f"codec {text} has a bit rate that is no number; write it as in {found[1]}:32k") from None
        if allowed and kbps not in allowed:
            raise OptionError(
                f"codec {text}: {found[1]} at {_rate(kind, rate)} Hz has {', '.join(f'{k:g}' for k in allowed)}k"
            )
        if not allowed and not kind.least <= kbps <= kind.most:
            raise OptionError(
                f"codec {text}: {found[1]} goes from {kind.least:g}k to {kind.most:g}k; give one of these"
            )
        return cls(found[1], kbps)


@dataclass(frozen=True)
class Coded:
    """What came back."""

    samples: Samples  # as many as went in, in their place
    kbps: float  # of the packets
    delay_ms: float  # that was taken out


def reached(samples: Samples, rate: int, codec: Codec) -> float:
    """The highest sample at the codec's own rate: resampling overshoots where a sound is full."""
    return float(np.abs(_sent(np.pad(samples, round(MARGIN_S * rate)), rate, codec)).max())


def coded(samples: Samples, rate: int, codec: Codec) -> Coded:
    """A sound within [-1, 1] through a codec.

    Raises:
        SoundError: at the codec's own rate it goes beyond.
    """
    margin = round(MARGIN_S * rate)
    heard, kbps = _round_trip(np.pad(samples, margin), rate, codec)
    delay = _delay(codec, rate)
    heard = np.pad(heard, (0, max(0, margin + delay + len(samples) - len(heard))))
    return Coded(heard[margin + delay : margin + delay + len(samples)], kbps, 1000 * delay / rate)


@lru_cache
def _delay(codec: Codec, rate: int) -> int:
    """In samples, of what decoding leaves: where a sound of sudden noises and gliding pulses fits best."""
    sound = _calibration(rate)
    heard, _ = _round_trip(np.pad(sound, round(MARGIN_S * rate)), rate, codec)
    size = 1 << (len(heard) + len(sound)).bit_length()
    fit = np.fft.irfft(
        np.fft.rfft(heard, size) * np.conj(np.fft.rfft(np.pad(sound, (round(MARGIN_S * rate), 0)), size))
    )
    farthest = round(LONGEST_DELAY_S * rate)
    lags = np.arange(-farthest, farthest + 1)
    return int(lags[np.argmax(fit[lags])])


def _calibration(rate: int) -> Samples:
    """One second `(samples,)`: pulses whose distance grows, as of a falling voice, and bursts of noise among them."""
    count = rate
    random = generator("codec delay")
    sound = np.zeros(count)
    place, distance = 0.0, 0.004
    while place < count - 1:
        sound[int(place)] = 1.0
        place, distance = place + distance * rate, distance * 1.01
    noise = random.standard_normal(count) * np.repeat(random.integers(0, 2, 20), -(-count // 20))[:count]
    hertz = np.fft.rfftfreq(count, 1 / rate)
    band = 1 / np.sqrt(1 + (200 / np.maximum(hertz, 1)) ** 4) / np.sqrt(1 + (hertz / 2000) ** 4)  # where voices are
    shaped = np.fft.irfft(np.fft.rfft(sound + 0.1 * noise) * band, count)
    return 0.5 * shaped / np.abs(shaped).max()


def _round_trip(samples: Samples, rate: int, codec: Codec) -> tuple[Samples, float]:
    """Encoded, decoded, at the same rate again; and the bit rate."""
    kind = KINDS[codec.name]
    inner = _rate(kind, rate)
    sent = _sent(samples, rate, codec)
    if (peak := float(np.abs(sent).max())) > 1:
        raise SoundError(
            f"{codec.name} at {inner} Hz would clip a sound that reaches {peak:.6g}: lower its level or gain, or let "
            "it be lowered (--over scale)"
        )
    file = BytesIO()
    try:
        size = _encode(file, sent.astype(np.float32), inner, kind, codec.kbps)
    except av.error.FFmpegError as error:
        raise AuricleError(f"{kind.encoder} failed ({error}); leave codec {codec.name} out, and report it") from None
    heard = decode(file.getvalue(), rate=rate, name=f"{codec.name} sound").samples.astype(np.float64)
    return heard, 8 * size / (len(sent) / inner) / 1000


def _sent(samples: Samples, rate: int, codec: Codec) -> Samples:
    """At the codec's own rate."""
    inner = _rate(KINDS[codec.name], rate)
    found: Samples = soxr.resample(samples, rate, inner, quality="HQ") if inner != rate else samples
    return found


def _encode(file: BytesIO, samples: Any, rate: int, kind: Kind, kbps: float) -> int:
    """Writes a file; gives how many bytes its packets have."""
    size = 0
    with av.open(file, "w", format=kind.container) as out:
        stream: Any = out.add_stream(kind.encoder, rate=rate, layout="mono", options=dict(kind.options))
        if not kind.encoder.startswith("pcm"):
            stream.bit_rate = round(1000 * kbps)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            size += packet.size
            out.mux(packet)
    return size


def _rate(kind: Kind, rate: int) -> int:
    """The lowest rate of the codec that holds the whole band of the sound; its highest where none does."""
    return next((inner for inner in kind.rates if inner >= rate), kind.rates[-1])
