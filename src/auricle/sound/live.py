"""Sound that arrives while somebody still talks: a pipe's blocks as they come, and from blocks to mono at one rate.

What comes out is, bit for bit, what `decode` and `from_samples` give of the whole: the same scaling, the same mix, the
same resampler. That one holds back 25 to 40 ms of most sound (up to 120 ms at 8 kHz) until more has come.

What can't be known before the end (that a stream broke off) is in `notes` after the last block: what was said until
then has been heard, and can't be said again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from auricle.errors import OptionError, SoundError
from auricle.sound.claims import WAV_SLACK, container_of
from auricle.sound.pipe import Pipe
from auricle.sound.samples import (
    ENCODINGS,
    MAX_CHANNELS,
    MAX_PEAK,
    MAX_RATE,
    Encoding,
    as_channels,
    checked_rate,
    from_bytes,
    mono,
    not_finite,
    other_scale,
    resampler,
    to_floats,
)
from auricle.sound.source import one_line
from auricle.sound.wav import CONVERT, is_chunk, is_wav, read_header

RECORD = "arecord -f S16_LE -r 16000 | auricle listen"
BLOCK_S = 0.1  # the longest block of a pipe that has more; one that has less gives what it has


@dataclass(frozen=True)
class RawFormat:
    """How samples without a header are written."""

    encoding: Encoding
    rate: int  # samples per second
    channels: int = 1  # interleaved

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise OptionError(f"raw is {self.encoding!r}; it must be one of {', '.join(get_args(Encoding))}")
        for name, value, most in (("rate", self.rate, MAX_RATE), ("channels", self.channels, MAX_CHANNELS)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise OptionError(f"{name} is {value!r}; it must be a whole number from 1 to {most:,}")


class LiveSound(Protocol):
    """Where live sound comes from: a pipe or a microphone."""

    @property
    def rate(self) -> int: ...  # samples per second

    @property
    def channels(self) -> int: ...

    @property
    def notes(self) -> tuple[str, ...]: ...  # what the user should know: sound that was lost, ...

    def __iter__(self) -> Iterator[NDArray[np.floating[Any]]]: ...  # blocks `(channels, samples)` in [-1, 1]


class LiveStream:
    """The blocks of a pipe, as `open_live` gives it."""

    def __init__(self, pipe: Pipe, form: RawFormat, size: int | None = None) -> None:
        self.rate = form.rate
        self.channels = form.channels
        self.notes: tuple[str, ...] = ()
        self._pipe = pipe
        self._form = form
        self._width = ENCODINGS[form.encoding][0] * form.channels  # bytes of one sample of all channels
        self._size = size  # bytes of all samples, by the header
        self._taken = 0  # bytes of samples so far
        self._rest = b""  # those of a sample that hasn't come in full

    def __iter__(self) -> Iterator[NDArray[np.floating[Any]]]:
        """Blocks `(channels, samples)` in [-1, 1] of 100 ms at most; float32, or float64 where that would round.

        Raises:
            SoundError: the stream can't be read, or ends without a sample.
        """
        most = max(1, round(BLOCK_S * self.rate)) * self._width
        while data := self._some(most - len(self._rest)):
            data = self._rest + data
            whole = len(data) - len(data) % self._width
            self._rest = data[whole:]
            if whole:
                yield from_bytes(data[:whole], self._form.encoding, self.channels)
        self._end()

    def _some(self, most: int) -> bytes:
        left = most if self._size is None else min(most, self._size - self._taken)  # other chunks may follow
        data = self._pipe.some(left) if left else b""
        self._taken += len(data)
        return data

    def _end(self) -> None:
        name, seconds = self._pipe.name, self._taken // self._width / self.rate
        if not seconds:
            raise SoundError(f"{name} ended before its first sample; check the program that writes it")
        if self._size is not None and self._size - self._taken > WAV_SLACK:
            whole = self._size / self._width / self.rate
            self.notes = (f"{name} was cut off: it ended after {seconds:,.3f} s of {whole:,.3f} s",)
        elif self._size is not None and not is_chunk(self._pipe.at_once(9), self._size):
            self.notes = (f"{name} goes on behind the {seconds:,.3f} s of its header, and that was not heard",)
        elif self._rest:
            note = (
                f"{name} ended within a sample: {len(self._rest)} of {self._width} bytes ({self.channels} x "
                f"{self._form.encoding}); it was cut off, or is written otherwise"
            )
            self.notes = (note,)


def open_live(stream: BinaryIO, *, raw: RawFormat | None = None, name: str = "stdin") -> LiveStream:
    """Opens a pipe that sound comes through; waits for its header, or its first bytes.

    Args:
        stream: a binary stream such as `sys.stdin.buffer`, read from where it stands and not closed.
        raw: how the samples are written, if they come without a header; what has one is a WAV, of PCM or float.
        name: what to call it in messages.

    Raises:
        SoundError: it is empty, or no WAV that can be heard; or it is one, and `raw` says otherwise.
    """
    pipe = Pipe(stream, one_line(name))
    head = pipe.peek(12)
    if not head:
        raise SoundError(f"{pipe.name} is empty (0 bytes); pipe some sound into it: {RECORD}")
    if raw is not None:
        if is_wav(head):
            raise SoundError(f"{pipe.name} is a WAV, which says itself how its samples are written; leave --raw out")
        return LiveStream(pipe, raw)
    if not is_wav(head):
        raise _no_wav(pipe.name, head)
    pipe.exactly(len(head))
    header = read_header(pipe)
    return LiveStream(pipe, RawFormat(header.encoding, header.rate, header.channels), header.size)


def _no_wav(name: str, head: bytes) -> SoundError:
    kind = container_of(head)
    if kind not in (None, "wav"):
        return SoundError(f"{name} looks like {kind}; live sound is WAV or raw PCM: convert it on the way: {CONVERT}")
    return SoundError(
        f"{name} is no WAV (its first bytes are {head[:8].hex(' ')}); if it is raw PCM, say how it is written: "
        "--raw s16le --rate 16000"
    )


class Intake:
    """Takes pieces of a sound, of any size, and gives it on as mono float32 at another rate.

    All that it gives, put together, equals `from_samples` of the whole. A piece that is refused changes nothing.

    Args:
        rate: samples per second of the pieces.
        target_rate: samples per second wanted.
        name: what to call the sound in messages.

    Raises:
        SoundError: the rate is no whole number above 0, or absurdly high.
        OptionError: the same of `target_rate`.
    """

    def __init__(self, rate: int, target_rate: int, name: str = "the live sound") -> None:
        self._rate = checked_rate(rate, name)
        if not 1 <= target_rate <= MAX_RATE:
            raise OptionError(f"target_rate is {target_rate}; it must be from 1 to {MAX_RATE:,}")
        self._name = name
        self._resampler = resampler(self._rate, target_rate)
        self._samples = 0  # taken so far
        self._ended = False

    @property
    def seconds(self) -> float:
        """How much was taken so far."""
        return self._samples / self._rate

    def take(self, samples: NDArray[Any] | Sequence[float]) -> NDArray[np.float32]:
        """Takes the next piece, `(samples,)` or `(channels, samples)`, 0 samples included.

        Floats in [-1, 1], or int16, int32 or uint8, which are scaled by their full scale.

        Returns:
            What can be given so far, `(samples,)`; resampling gives it some 25 to 120 ms later.

        Raises:
            SoundError: the shape or the type doesn't fit, samples are NaN, infinite or absurdly large, or the sound has
                ended.
        """
        if self._ended:
            raise SoundError(f"{self._name} has ended after {self.seconds:.3f} s; start anew for what follows")
        place = f"{self._name} at {self._at(0)}"
        channels = to_floats(as_channels(samples, place), place)
        if len(bad := not_finite(channels)):
            raise SoundError(
                f"{self._name} has {len(bad):,} samples that are NaN or infinite, the first at {self._at(bad[0])}; "
                "leave them out, or give silence for them"
            )
        peaks = np.abs(channels).max(axis=0)
        if len(loud := np.flatnonzero(peaks > MAX_PEAK)):
            raise other_scale(self._name, float(peaks[loud[0]]), f", at {self._at(loud[0])}")
        self._samples += channels.shape[1]
        part = mono(channels)
        return part if self._resampler is None else self._resampler.resample_chunk(part)

    def finish(self) -> NDArray[np.float32]:
        """Ends the sound: what the resampler still held, `(samples,)`; none without one, or the second time."""
        rest = np.empty(0, np.float32)
        if self._resampler is not None and not self._ended:
            rest = self._resampler.resample_chunk(rest, last=True)
        self._ended = True
        return rest

    def _at(self, sample: int | np.intp) -> str:
        """Where a sample of the next piece stands in the whole."""
        position = self._samples + int(sample)
        return f"sample {position:,} ({position / self._rate:.3f} s)"
