"""Sound as it arrives: every block as soon as it is written, and all of them together what the whole would be."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auricle.errors import OptionError, SoundError
from auricle.sound import wav as wav_module
from auricle.sound.decode import decode, from_samples
from auricle.sound.live import Intake, LiveStream, RawFormat, open_live
from auricle.sound.samples import MAX_PEAK
from tests.sound.making import RATE, encoded, int16, tone, wav, written

TONE = tone()
WAV = wav(int16(TONE))
NOISE = np.random.default_rng(0).uniform(-1, 1, (10, 5000)).astype(np.float32)
S16 = RawFormat("s16le", RATE)


def together(intake: Intake, pieces: list[NDArray[Any]]) -> NDArray[np.float32]:
    return np.concatenate([*map(intake.take, pieces), intake.finish()])


def cut(samples: NDArray[Any], sizes: list[int]) -> list[NDArray[Any]]:
    """Pieces of these sizes, over and over, with one of no size at the end."""
    rounds = samples.shape[-1] // sum(sizes) + 1
    ends = np.cumsum(sizes * rounds)
    return [*np.split(samples, ends[ends < samples.shape[-1]], axis=-1), samples[..., :0]]


# The intake


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=8).filter(any),
    st.sampled_from([8_000, 16_000, 44_100, 48_000]),
    st.integers(1, 10),
    st.integers(1, 5000),
    st.booleans(),
)
def test_pieces_are_the_whole(sizes: list[int], rate: int, channels: int, count: int, interleaved: bool) -> None:
    """Bit for bit, at any rate, in any number of channels, however they lie in memory."""
    samples = NOISE[:channels, :count]
    pieces = [np.asfortranarray(piece) if interleaved else piece for piece in cut(samples, sizes)]
    got = together(Intake(rate, RATE), pieces)
    assert got.dtype == np.float32
    if len(got):
        assert np.array_equal(got, from_samples(samples, rate).samples)
    else:  # a sample or two
        with pytest.raises(SoundError, match="holds 0 samples at"):
            from_samples(samples, rate)


def test_pieces_of_every_type_and_shape() -> None:
    for values, step in (
        (TONE, 0),
        (TONE.astype(np.float64), 0),
        ((TONE * 2**15).astype(np.int16), 2**-15),
        ((TONE * 2.0**31).astype(np.int32), 2**-24),
        ((TONE * 128 + 128).astype(np.uint8), 2**-7),
        (np.stack([TONE * 2, TONE * 0]), 0),
    ):
        got = together(Intake(RATE, RATE), cut(values, [160]))
        assert np.array_equal(got, from_samples(values, RATE).samples)
        assert np.abs(got - TONE).max() <= step
    assert Intake(RATE, RATE).take([0.5, -0.5]).tolist() == [0.5, -0.5]
    assert Intake(RATE, RATE).take(np.zeros((2, 0))).shape == Intake(RATE, RATE).take([]).shape == (0,)


def test_what_is_given_is_a_copy() -> None:
    piece = TONE.copy()
    got = Intake(RATE, RATE).take(piece)
    piece[:] = 0
    assert np.array_equal(got, TONE)


@pytest.mark.parametrize(("rate", "seconds"), [(16_000, 0), (24_000, 0.04), (44_100, 0.045), (48_000, 0.04)])
def test_the_resampler_holds_back_little(rate: int, seconds: float) -> None:
    intake = Intake(rate, RATE)
    given = 0
    for piece in cut(NOISE[0], [rate // 50]):
        given += len(intake.take(piece))
        assert intake.seconds - given / RATE <= seconds


def test_an_intake_without_sound() -> None:
    for rate in (8_000, RATE, 48_000):
        assert together(Intake(rate, RATE), [np.empty(0, np.float32)]).shape == (0,)


def test_an_intake_that_has_ended() -> None:
    intake = Intake(48_000, RATE, "the line")
    intake.take(TONE)
    assert len(intake.finish())
    assert len(intake.finish()) == 0
    with pytest.raises(SoundError, match=r"^the line has ended after 0.333 s; start anew for what follows$"):
        intake.take(TONE)


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (
            [0, np.nan, np.inf],
            "has 2 samples that are NaN or infinite, the first at sample 16,001 (0.333 s); leave them out, or ",
        ),
        (np.float64([[0, 0], [0, 1e300]]), "reaches 1e+300 where full scale is 1, at sample 16,001 (0.333 s): it is "),
        ([16.1], "reaches 16.1 where full scale is 1, at sample 16,000 (0.333 s): it is damaged, or "),
        (np.zeros(9, np.int64), "at sample 16,000 (0.333 s) has the type int64, which has no agreed full scale"),
        (np.zeros(0, bool), "at sample 16,000 (0.333 s) has the type bool"),
        (np.zeros((9000, 2)), "at sample 16,000 (0.333 s) has the shape (9000, 2), which would be 9,000 channels"),
        (np.zeros((2, 2, 9)), "at sample 16,000 (0.333 s) has the shape (2, 2, 9); give (samples,) or (channels, "),
        (np.zeros((0, 9)), "at sample 16,000 (0.333 s) has the shape (0, 9)"),
        (0.5, "at sample 16,000 (0.333 s) has the shape ()"),
        ([[1.0], [1.0, 2.0]], "at sample 16,000 (0.333 s) is no array"),
    ],
)
def test_a_refused_piece_changes_nothing(piece: Any, message: str) -> None:
    intake = Intake(48_000, RATE)
    first = intake.take(TONE)
    with pytest.raises(SoundError) as caught:
        intake.take(piece)
    assert str(caught.value).startswith(f"the live sound {message}")
    assert "\n" not in str(caught.value)
    assert intake.seconds == len(TONE) / 48_000
    rest = together(intake, [TONE])
    assert np.array_equal(np.concatenate((first, rest)), from_samples(np.tile(TONE, 2), 48_000).samples)


def test_headroom_is_no_damage() -> None:
    assert Intake(RATE, RATE).take([MAX_PEAK]).tolist() == [MAX_PEAK]


@pytest.mark.parametrize("rate", [0, -1, 44_100.5, True, "16000", 10**9])
def test_a_rate_that_is_none(rate: Any) -> None:
    with pytest.raises(SoundError, match=r"^mine (comes with a rate of|claims 1,000,000,000 samples per second)"):
        Intake(rate, RATE, "mine")


def test_a_target_that_is_none() -> None:
    with pytest.raises(OptionError, match=r"^target_rate is 0; it must be from 1 to 10,000,000$"):
        Intake(RATE, 0)


# Pipes


@contextmanager
def pipe(buffering: int = -1) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A pipe's two ends. What waits for more than was written gets an end after five seconds, and so fails."""
    out, into = os.pipe()
    with os.fdopen(out, "rb", buffering=buffering) as reader, os.fdopen(into, "wb", buffering=0) as writer:
        watch = threading.Timer(5, writer.close)
        watch.start()
        yield reader, writer
        watch.cancel()


def heard(stream: LiveStream) -> NDArray[np.float32]:
    return together(Intake(stream.rate, RATE), list(stream))


@pytest.mark.parametrize("buffering", [-1, 0], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("raw", [None, S16])
def test_a_block_comes_when_it_is_written(buffering: int, raw: RawFormat | None) -> None:
    """One thread writes and reads: it would wait forever for anything that it hasn't written."""
    with pipe(buffering) as (reader, writer):
        writer.write(wav(b"", data_size=0xFFFFFFFF) if raw is None else int16(TONE[:160]))
        stream = open_live(reader, raw=raw)
        blocks = iter(stream)
        if raw is not None:
            assert next(blocks).shape[1] + next(blocks).shape[1] == 160  # the first was looked at for a header
        for milliseconds in (20, 100, 1, 50):
            count = milliseconds * RATE // 1000
            writer.write(int16(TONE[:count]))
            assert np.array_equal(next(blocks)[0], np.rint(TONE[:count] * 32767) / 2**15)
        writer.write(int16(TONE))
        assert next(blocks).shape == (1, RATE // 10)  # of more, no more than 100 ms
        writer.write(b"\1")
        writer.close()
        for _ in range(9):
            next(blocks)
        assert list(blocks) == []
        assert stream.notes


def test_a_pipe_that_somebody_made_non_blocking() -> None:
    """Its "nothing yet" is no end."""
    for buffering in (-1, 0):
        with pipe(buffering) as (reader, writer):
            os.set_blocking(reader.fileno(), False)
            threading.Timer(0.05, writer.write, [WAV[:30]]).start()
            threading.Timer(0.1, writer.write, [WAV[30:-1]]).start()
            threading.Timer(0.15, writer.write, [WAV[-1:]]).start()
            stream = open_live(reader)
            assert np.array_equal(heard(stream), decode(WAV).samples)
            assert stream.notes == ()


def test_listening_goes_on_after_a_break() -> None:
    """One sentence, then the next, though blocks end within samples."""

    class Uneven(BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            return super().read1(min(333, size or 0))

    stream = open_live(Uneven(WAV))
    first = []
    for block in stream:
        first.append(block[0])
        if sum(map(len, first)) > RATE // 2:
            break
    assert np.array_equal(np.concatenate([*first, *(block[0] for block in stream)]), decode(WAV).samples)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_wav_as_decode_reads_it(container: str, subtype: str, rate: int, channels: int) -> None:
    """Bit for bit; libsndfile writes other chunks before and after the samples."""
    file = written(NOISE[:channels, :4001], rate, container, subtype)
    stream = open_live(BytesIO(file))
    assert (stream.rate, stream.channels) == (rate, channels)
    assert np.array_equal(heard(stream), decode(file).samples)
    assert stream.notes == ()


def test_wav_by_ffmpeg_through_a_pipe() -> None:
    """Which can't go back to fill in the size, and writes a list of tags first."""

    class OneWay(BytesIO):
        def seekable(self) -> bool:
            return False

    import av

    file = OneWay()
    with av.open(file, "w", format="wav") as out:
        sound = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.frombuffer(int16(TONE), "<i2")[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    data = file.getvalue()
    assert b"LIST" in data
    assert data[data.index(b"data") + 4 :][:4] == b"\xff\xff\xff\xff"
    stream = open_live(BytesIO(data))
    assert np.array_equal(heard(stream), decode(WAV).samples)
    assert stream.notes == ()


@pytest.mark.parametrize(
    ("encoding", "dtype", "gain"),
    [
        ("u8", np.uint8, 0),
        ("s16le", "<i2", 2**15),
        ("s32le", "<i4", 2.0**31),
        ("f32le", "<f4", 1),
        ("f64le", "<f8", 1),
    ],
)
def test_raw_samples(encoding: Any, dtype: Any, gain: float) -> None:
    values = (NOISE[:2] * gain if gain else NOISE[:2] * 127 + 128).astype(dtype)
    stream = open_live(BytesIO(values.T.tobytes()), raw=RawFormat(encoding, 44_100, channels=2))
    assert (stream.rate, stream.channels, stream.notes) == (44_100, 2, ())
    assert np.array_equal(heard(stream), from_samples(values, 44_100).samples)


def test_raw_samples_of_24_bits() -> None:
    file = written(TONE, RATE, "WAV", "PCM_24")
    raw = file[file.index(b"data") + 8 :][: 3 * RATE]
    assert np.array_equal(heard(open_live(BytesIO(raw), raw=RawFormat("s24le", RATE))), decode(file).samples)


@pytest.mark.parametrize("size", [0, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_size_that_means_until_the_end(size: int) -> None:
    """GStreamer, espeak, sox, libsndfile, arecord, FFmpeg."""
    stream = open_live(BytesIO(wav(int16(TONE), data_size=size)))
    assert len(heard(stream)) == RATE
    assert stream.notes == ()


def test_a_size_of_64_bits() -> None:
    for size, count in ((2000, 1000), (0, RATE), (2**64 - 1, RATE)):
        ds64 = b"ds64" + struct.pack("<IQQQI", 28, 0, size, 0, 0)
        file = b"RF64\xff\xff\xff\xffWAVE" + ds64 + wav(int16(TONE), data_size=0xFFFFFFFF)[12:]
        assert len(heard(open_live(BytesIO(file)))) == count


def test_what_follows_the_samples_is_not_heard() -> None:
    assert len(heard(open_live(BytesIO(wav(int16(TONE), data_size=2000))))) == 1000


def test_other_chunks_come_first() -> None:
    extra = b"LIST" + struct.pack("<I", 5) + b"abcde\0" + b"JUNK" + struct.pack("<I", 100_000) + bytes(100_000)
    file = WAV[:36] + extra + WAV[36:]
    assert np.array_equal(heard(open_live(BytesIO(file))), decode(file).samples)


def test_a_wav_that_was_cut_off() -> None:
    stream = open_live(BytesIO(WAV[: 44 + 16_001]))
    assert len(heard(stream)) == 8_000
    assert stream.notes == ("stdin was cut off: it ended after 0.500 s of 1.000 s",)
    stream = open_live(BytesIO(wav(int16(TONE), data_size=2 * RATE + 44)))  # a writer that counted the header
    assert len(heard(stream)) == RATE
    assert stream.notes == ()


def test_a_stream_that_ends_within_a_sample() -> None:
    stereo = RawFormat("s24le", RATE, channels=2)
    for data, raw, count, rest in (
        (int16(TONE) + b"\1", S16, RATE, "1 of 2 bytes (1 x s16le)"),
        (bytes(65), stereo, 10, "5 of 6 bytes (2 x s24le)"),
        (wav(int16(TONE), data_size=0xFFFFFFFF)[:-1], None, RATE - 1, "1 of 2 bytes (1 x s16le)"),
    ):
        stream = open_live(BytesIO(data), raw=raw, name="the pipe")
        assert len(heard(stream)) == count
        expected = f"the pipe ended within a sample: {rest}; it was cut off, or is written otherwise"
        assert stream.notes == (expected,)


# What can't be heard


def refusal(data: bytes | BinaryIO, raw: RawFormat | None = None) -> str:
    with pytest.raises(SoundError) as caught:
        heard(open_live(BytesIO(data) if isinstance(data, bytes) else data, raw=raw))
    message = str(caught.value)
    assert message.startswith("stdin ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("raw", [None, S16])
def test_nothing_comes(raw: RawFormat | None) -> None:
    assert refusal(b"", raw) == (
        "stdin is empty (0 bytes); pipe some sound into it: arecord -f S16_LE -r 16000 | auricle listen"
    )


def test_no_sample_comes() -> None:
    expected = "stdin ended before its first sample; check the program that writes it"
    assert refusal(wav(b"")) == refusal(wav(b"", data_size=999)) == refusal(b"\1", S16) == expected


def test_no_wav() -> None:
    assert refusal(b"This is a letter, not a sound.") == (
        "stdin is no WAV (its first bytes are 54 68 69 73 20 69 73 20); if it is raw PCM, say how it is written: "
        "--raw s16le --rate 16000"
    )
    assert "(its first bytes are 01);" in refusal(b"\1")
    assert "is no WAV" in refusal(b"RIFF\0\0\0\0AVI LIST")


@pytest.mark.parametrize(
    ("kind", "container", "codec"),
    [
        ("mp3", "mp3", "libmp3lame"),
        ("flac", "flac", "flac"),
        ("ogg", "ogg", "libopus"),
        ("webm or Matroska", "webm", "libopus"),
        ("mp4", "mp4", "aac"),
    ],
)
def test_what_has_to_be_converted(kind: str, container: str, codec: str) -> None:
    file = encoded(TONE, RATE, container, codec)
    assert refusal(file) == (
        f"stdin looks like {kind}; live sound is WAV or raw PCM: convert it on the way: "
        "ffmpeg -i FILE -f wav - | auricle listen"
    )
    if kind == "mp3":
        assert refusal(file[file.index(b"\xff\xfb") :]) == refusal(file)  # without a tag in front


def test_a_wav_that_is_said_to_be_raw() -> None:
    assert refusal(WAV, S16) == "stdin is a WAV, which says itself how its samples are written; leave --raw out"


def test_a_codec_in_a_wav() -> None:
    assert "samples of 4 bits in format 0x0011; live sound is PCM" in refusal(written(TONE, RATE, "WAV", "IMA_ADPCM"))
    assert "samples of 8 bits in format 0x0007" in refusal(written(TONE, RATE, "WAV", "ULAW"))
    assert "samples of 64 bits in format 0x0001" in refusal(WAV[:34] + b"\x40\0" + WAV[36:])


def test_a_header_that_is_cut_off() -> None:
    for count in (12, 20, 40, 43):
        assert refusal(WAV[:count]).startswith(f"stdin ends within the header of its WAV, after {count} bytes; check ")


def test_a_damaged_header(monkeypatch: pytest.MonkeyPatch) -> None:
    start = "stdin is a WAV with a damaged header: "
    for position, value, message in (
        (22, bytes(2), "it claims 0 channels; it can have 1 to 64; convert it on the way: ffmpeg -i FILE"),
        (22, b"\xff\xff", "it claims 65,535 channels"),
        (24, bytes(4), "it claims 0 samples per second; it can have 1 to 10,000,000"),
        (24, b"\xff" * 4, "it claims 4,294,967,295 samples per second"),
        (32, b"\x04\0", "it claims 4 bytes for 1 samples of 16 bits"),
        (12, b"wave", "its samples come before their format"),
        (16, b"\xff" * 4, "no sound begins within its first 1,048,576 bytes"),
    ):
        assert refusal(WAV[:position] + value + WAV[position + len(value) :]).startswith(start + message)
    monkeypatch.setattr(wav_module, "MAX_HEADER", 999)
    assert "within its first 999 bytes" in refusal(WAV[:36] + (b"JUNK" + bytes(4)) * 999)


def test_a_stream_of_text() -> None:
    assert refusal(StringIO("text")) == "stdin gives str, not bytes; open it in binary mode (rb)"  # type: ignore[arg-type]


def test_a_stream_that_fails() -> None:
    class Broken(BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    assert refusal(Broken()) == "stdin can't be read: Input/output error"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"encoding": "s16"}, "raw is 's16'; it must be one of u8, s16le, s24le, s32le, f32le, f64le"),
        ({"rate": 0}, "rate is 0; it must be a whole number from 1 to 10,000,000"),
        ({"rate": 44_100.5}, "rate is 44100.5; it must be a whole number"),
        ({"rate": 10**9}, "rate is 1000000000; it must be"),
        ({"channels": 0}, "channels is 0; it must be a whole number from 1 to 64"),
        ({"channels": True}, "channels is True; it must be"),
    ],
)
def test_raw_formats_are_checked_where_they_are_made(option: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        RawFormat(**{"encoding": "s16le", "rate": RATE, **option})
    assert str(caught.value).startswith(message)
