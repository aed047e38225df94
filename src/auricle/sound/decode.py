"""From any file, bytes or stream to mono float32 at the model's rate; and from an array of samples.

PyAV brings FFmpeg with it, so every container and codec is read without an `ffmpeg` on the machine. What FFmpeg would
pass over in silence is an error here: damaged packets, sound missing in the middle, a file that ends before it says so.

Decisions that show in the result:
- Channels are mixed by their plain mean, whatever their number: a downmix matrix would drop the low-frequency channel,
  and a voice on any one channel of six must be heard.
- A codec's own delay is trimmed as the file says (LAME and Opus headers, edit lists), so that time 0 is the first
  sample that was recorded. A track that starts late in a video starts at 0 here.
- Samples beyond [-1, 1] stay as they are: lossy codecs and resampling overshoot a little by nature, float files have
  headroom, and to clip them would be to distort them in silence. What is beyond +24 dB of full scale is no headroom but
  another scale (16-bit numbers stored as floats), and is refused.
- Of several audio tracks, the one the file marks as its default is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from auricle.errors import SoundError
from auricle.sound.claims import Claim, is_cut_off, looks_like, read_claim
from auricle.sound.limits import VALUES_PER_S
from auricle.sound.limits import Limits as Limits  # decoding is where it is looked for
from auricle.sound.samples import (
    MAX_PEAK,
    SAMPLE_FORMATS,
    as_channels,
    checked_rate,
    mono,
    not_finite,
    other_scale,
    resampler,
    scaled,
    to_floats,
)
from auricle.sound.source import Source, open_source
from auricle.types import Audio

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer

MAX_GAP_S = 0.25  # between packets; clocks of live recordings jitter by less
MAX_FLAC_GAP_S = 0.001  # its frames are numbered by their samples
LOOK_AFTER_S = 20.0  # of sound decoded; then the rest is measured by its packets before any more is

# Containers that hold sound. Playlists and scripts (HLS, concat, ...) are left out on purpose: they make FFmpeg open
# other files and addresses, which a file from a stranger must not do.
CONTAINERS = (
    "wav,w64,aiff,au,caf,voc,sox,nistsphere,iff,dsf,flac,ape,wv,tta,tak,mp3,aac,loas,ac3,eac3,dts,dtshd,truehd,mlp,ogg,"
    "matroska,mov,mpegts,mpeg,avi,asf,xwma,flv,amr,amrnb,amrwb,gsm,qcp,rm,wtv,mxf,nut"
)
FORMATS = "wav, mp3, flac, ogg, m4a, webm, or a video with sound"
MP3_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # between and after the frames of joined or tagged files


def decode(
    source: str | Path | bytes | BinaryIO,
    *,
    rate: int = 16_000,
    limits: Limits | None = None,
    name: str | None = None,
) -> Audio:
    """Decodes a sound in any container and codec.

    Args:
        source: a path (a named pipe will do), the bytes of a file, or a binary stream such as `sys.stdin.buffer`. A
            stream is read from where it stands and not closed.
        rate: samples per second wanted.
        limits: what is too long or too large; `Limits()` unless given.
        name: what to call the sound in messages; the path or the stream's own name unless given.

    Returns:
        Samples `(samples,)`, float32, all channels mixed; `source` is the name.

    Raises:
        SoundError: it isn't there or can't be read, is empty, isn't sound, has no audio track, has no samples, has some
            that are NaN or infinite or absurdly large, is damaged or cut off, or is over a limit.
    """
    limits = limits or Limits()
    with open_source(source, limits.max_bytes, name) as opened, _open_container(opened) as container:
        stream = _audio_stream(container, opened)
        claim = read_claim(opened, container, stream)
        if claim.seconds is not None:
            if claim.seconds > limits.max_seconds:
                raise limits.too_long(opened.name, claim.seconds)
            limits.check_values(opened.name, claim.seconds * _values_per_s(stream))
        mixed = _Mixed(opened.name, rate, limits)
        measured = not opened.seekable()
        for frame in _frames(container, stream, opened, claim, mixed):
            mixed.add(frame)
            if not measured and (mixed.seconds > LOOK_AFTER_S or mixed.values > LOOK_AFTER_S * VALUES_PER_S):
                measured = True
                _check_packets(opened, limits)
        if is_cut_off(opened, container, claim, mixed.seconds):
            _raise_cut_off(opened.name, claim, mixed.seconds)
        return Audio(mixed.finish(), rate, opened.name, channels=mixed.channels)


def from_samples(
    samples: NDArray[Any] | Sequence[float],
    rate: int,
    target_rate: int = 16_000,
    *,
    name: str = "the array given",
) -> Audio:
    """Takes samples that are already decoded.

    Args:
        samples: `(samples,)` or `(channels, samples)`, as torchaudio and librosa have them (soundfile's are
            transposed). Floats in [-1, 1], or int16, int32 or uint8, which are scaled by their full scale.
        rate: their samples per second.
        target_rate: samples per second wanted.

    Raises:
        SoundError: the shape, the type or the rate doesn't fit, there are no samples, or some are NaN, infinite or
            absurdly large.
    """
    rate = checked_rate(rate, name)
    channels = as_channels(samples, name)
    if channels.size == 0:
        raise SoundError(f"{name} holds 0 samples (its shape is {np.shape(samples)}); give some sound")
    mixed = _Mixed(name, target_rate, limits=None)
    mixed.add_channels(to_floats(channels, name), rate)
    return Audio(mixed.finish(), target_rate, name, channels=mixed.channels)


class _Mixed:
    """Mono sound at one rate, growing as frames come in; holds no more than that and a frame."""

    def __init__(self, name: str, rate: int, limits: Limits | None) -> None:
        self._name = name
        self._rate = rate
        self._limits = limits
        self._parts: list[NDArray[np.float32]] = []
        self._resampler: Any = None
        self._source_rate = 0
        self.values = 0  # taken in, of all channels
        self.channels = 1  # the most that there were at a time
        self._samples = 0  # taken in at `_source_rate`
        self._earlier_s = 0.0  # taken in at other rates, in seconds
        self._not_finite = 0
        self._first_not_finite = ""

    @property
    def seconds(self) -> float:
        """How much was taken in."""
        return self._earlier_s + (self._samples / self._source_rate if self._source_rate else 0.0)

    def add(self, frame: AudioFrame) -> None:
        self.add_channels(_channels(frame, self._name), frame.sample_rate)

    def add_channels(self, channels: NDArray[np.floating[Any]], rate: int) -> None:
        """Takes in `(channels, samples)` of one moment. Rate and channels may change from one call to the next."""
        if rate != self._source_rate:
            self._change_rate(rate)
        before = self._samples
        self._samples += channels.shape[1]
        self.values += channels.size
        self.channels = max(self.channels, len(channels))
        if self._limits is not None:
            if self.seconds > self._limits.max_seconds:
                raise self._limits.too_long(self._name)
            self._limits.check_values(self._name, self.values)
        peak = float(np.abs(channels).max(initial=0.0))
        if not math.isfinite(peak):
            self._note_not_finite(channels, before)
        elif peak > MAX_PEAK:
            raise other_scale(self._name, peak)
        else:
            self._append(mono(channels))  # a copy: the frame's own memory goes back to FFmpeg

    def finish(self) -> NDArray[np.float32]:
        """All of it, `(samples,)`."""
        self._flush()
        if self._not_finite:
            raise SoundError(
                f"{self._name} has {self._not_finite:,} of {self._samples:,} samples that are NaN or infinite, "
                f"the first at {self._first_not_finite}; export it again without them"
            )
        samples = np.concatenate(self._parts) if self._parts else np.empty(0, np.float32)
        if not len(samples):
            raise SoundError(f"{self._name} holds 0 samples at {self._rate:,} Hz; give a file with sound in it")
        return samples

    def _append(self, part: NDArray[np.float32]) -> None:
        if self._resampler is not None:
            part = self._resampler.resample_chunk(part)
        self._parts.append(part)

    def _change_rate(self, rate: int) -> None:
        checked_rate(rate, self._name)
        self._earlier_s = self.seconds
        self._flush()
        self._source_rate, self._samples = rate, 0
        self._resampler = resampler(rate, self._rate)

    def _flush(self) -> None:
        if self._resampler is not None:
            self._parts.append(self._resampler.resample_chunk(np.empty(0, np.float32), last=True))
            self._resampler = None

    def _note_not_finite(self, channels: NDArray[np.floating[Any]], before: int) -> None:
        bad = not_finite(channels)
        if not self._not_finite:
            at = self.seconds - (channels.shape[1] - int(bad[0])) / self._source_rate
            self._first_not_finite = f"sample {before + int(bad[0]):,} ({at:.3f} s)"
        self._not_finite += len(bad)


def _open_container(source: Source) -> InputContainer:
    try:
        container = av.open(
            source,
            mode="r",
            metadata_errors="replace",  # titles in old encodings must not keep a song from being heard
            options={"format_whitelist": CONTAINERS},
            io_open=_refuse_other_files,
        )
    except av.error.FFmpegError:
        source.raise_failure()
        if kind := looks_like(source):
            raise SoundError(
                f"{source.name} starts like {kind} but can't be opened: it is damaged or cut off; "
                "save or download it again"
            ) from None
        raise SoundError(f"{source.name} is no sound that can be decoded; give {FORMATS}") from None
    if source.failure is not None:
        container.close()
        source.raise_failure()
    return container


def _refuse_other_files(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError(f"a sound may not open other files: {url}")


def _audio_stream(container: InputContainer, source: Source) -> AudioStream:
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        if container.streams.audio:
            raise SoundError(f"{source.name} is damaged: its header describes no sound; save or download it again")
        others = ", ".join(sorted({_codec_name(other) for other in container.streams})) or "nothing"
        raise SoundError(f"{source.name} has no audio track (it holds {others}); give {FORMATS}")
    if stream.codec_context is None:
        raise SoundError(f"{source.name} has its sound in a codec that can't be decoded; convert it to wav or flac")
    if stream.codec_context.name == "flac":
        stream.codec_context.options = {"err_detect": "crccheck+explode"}  # else damage is decoded as noise
    return stream


def _check_packets(source: Source, limits: Limits) -> None:
    """Refuses what is too long by the lengths of its packets: to read them is tens of times faster than to decode them.

    A header may lie or say nothing, and hours of silence are a small file. Where packets don't tell their length, or
    are damaged, decoding comes to the limit or to the damage by itself.
    """
    position = source.tell()
    source.seek(0)
    try:
        with _open_container(source) as container:
            stream = _audio_stream(container, source)
            seconds = 0.0
            for packet in container.demux(stream):
                seconds += float(packet.duration or 0) * float(packet.time_base or 0)
                if seconds > 1.01 * limits.max_seconds + 1.0:  # what is trimmed at either end is not sound
                    raise limits.too_long(source.name)
                limits.check_values(source.name, (seconds / 1.01 - 1.0) * _values_per_s(stream))
    except av.error.FFmpegError:
        return
    finally:
        source.seek(position)


def _values_per_s(stream: AudioStream) -> int:
    return (stream.rate or 0) * (stream.channels or 0)


def _codec_name(stream: Any) -> str:
    return f"{stream.codec_context.name} {stream.type}" if stream.codec_context else str(stream.type)


def _frames(
    container: InputContainer, stream: AudioStream, source: Source, claim: Claim, mixed: _Mixed
) -> Iterator[AudioFrame]:
    """The frames of one track in order, up to its end or the first sign of damage, which is an error.

    `mixed` knows how much has been taken in so far, for the messages.
    """
    kind = container.format.name
    max_gap_s = MAX_FLAC_GAP_S if kind == "flac" else MAX_GAP_S
    damaged_packets = 0
    expected: float | None = None  # where the next frame should start, by the file's own clock, in seconds
    try:
        for packet in container.demux(stream):
            source.raise_failure()
            # A wav's last packet counts as corrupt whenever it was written to a pipe; its claim tells better.
            if packet.is_corrupt and kind != "wav":
                _raise_damaged(source.name, claim, mixed.seconds)
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                if kind != "mp3":
                    raise
                # Tags look like damaged packets, and so does what some programs leave behind the last frame: an mp3 is
                # damaged if frames follow.
                damaged_packets += not bytes(packet).startswith(MP3_TAGS)
                continue
            for frame in frames:
                if damaged_packets:
                    _raise_damaged(source.name, claim, mixed.seconds)
                starts = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else None
                if starts is not None and expected is not None and starts - expected > max_gap_s:
                    _raise_gap(source.name, mixed.seconds, starts - expected)
                expected = expected if starts is None else starts
                expected = None if expected is None else expected + frame.samples / frame.sample_rate
                yield frame
    except (av.error.FFmpegError, ValueError):  # ValueError: a codec unknown to this FFmpeg
        source.raise_failure()
        _raise_damaged(source.name, claim, mixed.seconds)
    source.raise_failure()
    if damaged_packets and not mixed.seconds:  # anything may look like an mp3
        raise SoundError(f"{source.name} is no sound that can be decoded; give {FORMATS}")


def _channels(frame: AudioFrame, name: str) -> NDArray[np.floating[Any]]:
    """A frame's samples, `(channels, samples)`, scaled to [-1, 1]."""
    count = frame.layout.nb_channels
    if frame.format.is_planar and count > 8:
        # PyAV 18 counts the planes of such frames wrongly and reads past their end: packed ones have a single plane.
        try:
            (frame,) = av.AudioResampler(format=frame.format.packed.name).resample(frame)
        except (av.error.FFmpegError, ValueError):
            raise SoundError(f"{name} has {count} channels in no known order; convert it to wav or flac") from None
    kind = frame.format.name.removesuffix("p")
    if kind not in SAMPLE_FORMATS:
        raise SoundError(f"{name} has samples of the type {kind}, which isn't supported; convert it to wav or flac")
    dtype = SAMPLE_FORMATS[kind][0]
    planes: tuple[Any, ...] = frame.planes  # PyAV 18 may find one too many: `count` is right
    if frame.format.is_planar:
        values = np.stack([np.frombuffer(plane, dtype, frame.samples) for plane in planes[:count]])
    else:
        values = np.frombuffer(planes[0], dtype, frame.samples * count).reshape(frame.samples, count).T
    return scaled(values, kind)


def _raise_damaged(name: str, claim: Claim, seconds: float) -> NoReturn:
    of = f" of {claim.seconds:,.2f} s" if claim.seconds is not None else ""
    raise SoundError(
        f"{name} is damaged or cut off: decoding broke at {seconds:,.2f} s{of}; save or download it again, "
        "or keep what can be decoded: ffmpeg -i FILE repaired.wav"
    )


def _raise_cut_off(name: str, claim: Claim, seconds: float) -> NoReturn:
    of = f" of {claim.seconds:,.3f} s" if claim.seconds is not None else ""
    raise SoundError(
        f"{name} is cut off: it ends after {seconds:,.3f} s{of}; save or download it again, "
        "or keep what is there: ffmpeg -i FILE repaired.wav"
    )


def _raise_gap(name: str, seconds: float, gap: float) -> NoReturn:
    raise SoundError(
        f"{name} has a gap: {gap:,.2f} s of sound are missing at {seconds:,.2f} s; save or download it again, "
        "or fill it with silence: ffmpeg -i FILE -af aresample=async=1 repaired.wav"
    )
