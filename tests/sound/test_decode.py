"""Any container and codec to mono float32, and every way in which that can fail."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from io import BytesIO, StringIO
from pathlib import Path

import av
import numpy as np
import pytest

from auricle.errors import OptionError, SoundError
from auricle.sound import source as source_module
from auricle.sound.decode import Limits, decode, from_samples
from auricle.sound.write import write_wav
from auricle.types import Audio
from tests.sound.making import RATE, encoded, int16, loudest_hertz, silent_video, tone, wav, written

WAV_SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW", "IMA_ADPCM"]
# container, codec, rate, seconds by which the result may be longer than what was encoded
ENCODED = [
    ("mp3", "libmp3lame", 44_100, 0.0),
    ("mp3", "libmp3lame", 16_000, 0.0),
    ("flac", "flac", 44_100, 0.0),
    ("ogg", "libopus", 48_000, 0.0),
    ("webm", "libopus", 48_000, 0.0),
    ("mp4", "aac", 44_100, 0.025),
    ("mp4", "alac", 44_100, 0.0),
    ("adts", "aac", 16_000, 0.130),
    ("matroska", "aac", 48_000, 0.045),
    ("mpegts", "mp2", 48_000, 0.025),
    ("wav", "pcm_s64le", 44_100, 0.0),
]


class Pipe:
    """A stream that can only be read, and gives less than it is asked for, as pipes do."""

    def __init__(self, data: bytes) -> None:
        self._data = BytesIO(data)
        self.given = 0

    def read(self, count: int = -1) -> bytes:
        data = self._data.read(min(count, 5000))
        self.given += len(data)
        return data


class Endless(Pipe):
    """A recording that never ends: a header, then noise."""

    def read(self, count: int = -1) -> bytes:
        data = super().read(count) or np.random.default_rng(0).bytes(min(count, 1 << 20))
        self.given += len(data)
        return data


# What is heard


@pytest.mark.parametrize("subtype", WAV_SUBTYPES)
def test_wav_in_every_sample_format(subtype: str) -> None:
    sound = decode(written(tone(), RATE, "WAV", subtype))
    assert len(sound.samples) == pytest.approx(RATE, abs=600 if "ADPCM" in subtype else 0)  # blocks of 505 samples
    coarse = 0.02 if subtype in {"ALAW", "ULAW", "IMA_ADPCM"} else 2**-7 if subtype == "PCM_U8" else 2**-15
    # ADPCM starts with a small step and catches up.
    assert sound.samples[2000:RATE] == pytest.approx(tone()[2000:], abs=coarse)
    assert (sound.rate, sound.samples.dtype.name, sound.samples.ndim) == (RATE, "float32", 1)


@pytest.mark.parametrize(("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0.0), ("DOUBLE", 0.0)])
def test_nothing_is_lost_but_the_rounding_of_the_file(subtype: str, step: float) -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, 1000).astype(np.float32)
    assert np.abs(decode(written(noise, RATE, "WAV", subtype)).samples - noise).max() <= step


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("AIFF", "PCM_16"),
        ("AU", "FLOAT"),
        ("CAF", "PCM_16"),
        ("W64", "PCM_16"),
        ("RF64", "PCM_16"),
        ("NIST", "PCM_16"),
    ],
)
def test_other_containers_of_libsndfile(container: str, subtype: str) -> None:
    sound = decode(written(tone(), RATE, container, subtype))
    assert len(sound.samples) == pytest.approx(RATE, abs=200 if subtype == "VORBIS" else 0)
    assert loudest_hertz(sound.samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(("container", "codec", "rate", "longer"), ENCODED)
def test_every_codec_gives_the_tone_at_its_time(container: str, codec: str, rate: int, longer: float) -> None:
    """The tone begins in the middle, so a codec's delay that isn't trimmed would show."""
    silence = np.zeros(rate // 2, np.float32)
    sound = decode(encoded(np.concatenate((silence, tone(rate=rate), silence)), rate, container, codec))
    assert 2.0 - 0.005 <= sound.seconds <= 2.0 + longer + 0.002
    assert loudest_hertz(sound.samples[9_000:23_000]) == pytest.approx(440, abs=2)
    begins = int(np.argmax(np.abs(sound.samples) > 0.25)) / RATE
    assert begins == pytest.approx(0.5, abs=longer + 0.012)
    assert np.abs(sound.samples[12_000:20_000]).max() == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize(
    ("container", "video", "codec"),
    [
        ("mp4", "mpeg4", "aac"),
        ("matroska", "mpeg4", "flac"),
        ("webm", "libvpx", "libopus"),
        ("avi", "mpeg4", "libmp3lame"),
    ],
)
def test_the_audio_track_of_a_video(container: str, video: str, codec: str) -> None:
    sound = decode(encoded(tone(rate=48_000), 48_000, container, codec, video=video))
    assert sound.seconds == pytest.approx(1.0, abs=0.08)
    assert loudest_hertz(sound.samples) == pytest.approx(440, abs=2)


def test_of_several_tracks_the_sound_is_taken_whatever_stands_first() -> None:
    """An attached cover picture is a video track to FFmpeg."""
    file = BytesIO()
    with av.open(file, "w", format="mp3") as out:
        sound = out.add_stream("libmp3lame", rate=RATE, layout="mono")
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8))))
        frame = av.AudioFrame.from_ndarray(tone()[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    assert file.getvalue()[:3] == b"ID3"
    assert loudest_hertz(decode(file.getvalue()).samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_becomes_the_one_wanted(rate: int) -> None:
    samples = tone(rate=rate, seconds=1.237)
    sound = decode(written(samples, rate, "WAV", "FLOAT"))
    assert len(sound.samples) == round(len(samples) * RATE / rate)
    assert loudest_hertz(sound.samples) == pytest.approx(440, abs=2)
    middle = slice(RATE // 4, RATE)  # a resampler rings at the edges
    assert sound.samples[middle] == pytest.approx(tone(seconds=1.237)[middle], abs=1e-3)
    other = decode(written(samples, rate, "WAV", "FLOAT"), rate=24_000)
    assert (other.rate, len(other.samples)) == (24_000, round(len(samples) * 24_000 / rate))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("container", "codec"), [("wav", "pcm_s16le"), ("wav", "pcm_f32le"), ("flac", "flac"), ("matroska", "aac")]
)
def test_every_channel_is_heard_with_the_same_weight(channels: int, container: str, codec: str) -> None:
    """Packed and planar samples. The frequencies are low, since AAC keeps nothing else of a low-frequency channel."""
    rate = 16_000
    hertz = [10.0 * (channel + 1) for channel in range(channels)]
    samples = np.stack([tone(h, seconds=2.0, rate=rate) for h in hertz])
    sound = decode(encoded(samples, rate, container, codec))
    time = np.arange(len(sound.samples)) / RATE
    for h in hertz:
        amplitude = 2 * np.abs(np.mean(sound.samples * np.exp(-2j * np.pi * h * time)))
        assert amplitude == pytest.approx(0.5 / channels, rel=0.1), f"{h} Hz"


def test_more_channels_than_any_layout_has_a_name_for() -> None:
    samples = np.stack([tone(100.0 * (channel + 1)) for channel in range(16)])
    sound = decode(written(samples, RATE, "WAV", "FLOAT"))
    assert sound.samples == pytest.approx(samples.mean(axis=0), abs=1e-6)
    assert decode(written(samples, RATE, "OGG", "VORBIS")).seconds == pytest.approx(1.0, abs=0.05)  # planar


def test_a_rate_that_changes_midway_is_followed() -> None:
    """Two mp3s in one file, as radio streams have them."""
    both = [
        encoded(tone(h, rate=r), r, "mp3", "libmp3lame", options={"write_xing": "0"})
        for h, r in ((300, 44_100), (700, 48_000))
    ]
    file = b"".join(file[file.index(b"\xff\xfb") :] for file in both)
    assert "goes on after 1.5 s" in refusal(file, limits=Limits(max_seconds=1.5))
    sound = decode(file)
    assert sound.seconds == pytest.approx(2.1, abs=0.1)
    assert loudest_hertz(sound.samples[4_000:12_000]) == pytest.approx(300, abs=4)
    assert loudest_hertz(sound.samples[-12_000:-4_000]) == pytest.approx(700, abs=4)


def test_overshoot_is_kept_and_not_clipped() -> None:
    assert np.abs(decode(written(tone(amplitude=1.5), RATE, "WAV", "FLOAT")).samples).max() == pytest.approx(1.5, 1e-3)


def test_a_sound_without_an_end_in_its_header_is_whole() -> None:
    """What programs write to a pipe, where they can't go back: placeholders, of several kinds."""
    data = int16(tone())
    for size in (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        assert len(decode(wav(data, data_size=size, riff_size=size)).samples) == RATE, hex(size)


def test_tags_around_an_mp3_are_no_damage() -> None:
    mp3 = encoded(tone(), RATE, "mp3", "libmp3lame")
    tag = b"ID3\x03\x00\x00\x00\x00\x00\x17TIT2\x00\x00\x00\x0d\x00\x00\x03\xff\xfe\xfa\xe9 bad \xff"  # no valid text
    for file in (
        tag + mp3,
        bytes(3000) + mp3,
        mp3 + b"TAG" + bytes(125),
        mp3 + b"APETAGEX" + bytes(5000),
        mp3 + bytes(5000),
    ):
        assert decode(file).seconds == pytest.approx(1.0, abs=0.1)
    assert decode(mp3 + mp3).seconds == pytest.approx(2.1, abs=0.1)


# Where it comes from


@pytest.mark.parametrize("container", ["wav", "mp3", "flac", "ogg", "webm", "mp4"])
@pytest.mark.parametrize("kept_bytes", [source_module.KEPT_BYTES, 4096], ids=["short", "long"])
def test_path_bytes_and_pipe_give_the_same(
    container: str, kept_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe too long to be kept in memory is another way through FFmpeg; 4096 bytes stand for it here."""
    codec = {"wav": "pcm_s16le", "mp3": "libmp3lame", "flac": "flac", "mp4": "aac"}.get(container, "libopus")
    data = encoded(tone(rate=48_000), 48_000, container, codec)
    path = tmp_path / f"a sound.{container}"
    path.write_bytes(data)
    sound = decode(path)
    assert sound.source == str(path)
    assert decode(str(path), name="mine").source == "mine"
    monkeypatch.setattr(source_module, "KEPT_BYTES", kept_bytes)
    with path.open("rb") as file:
        for other in (data, file, Pipe(data)):
            samples = decode(other).samples  # type: ignore[arg-type]
            expected = sound.samples
            if container == "mp3" and isinstance(other, Pipe) and kept_bytes == 4096:
                # Without knowing where an mp3 ends, FFmpeg doesn't trim its last frame.
                assert 0 <= len(samples) - RATE < 600
                assert samples[: RATE - 100] == pytest.approx(expected[:-100], abs=1e-6)
            else:
                assert np.array_equal(samples, expected)
        assert not file.closed


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(encoded(tone(), RATE, "mp4", "aac"),))
    writer.start()
    assert decode(fifo).seconds == pytest.approx(1.0, abs=0.1)
    writer.join()


def test_standard_input(tmp_path: Path) -> None:
    code = "import sys; from auricle.sound.decode import decode; print(len(decode(sys.stdin.buffer).samples))"
    data = encoded(tone(), RATE, "mp4", "aac")
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert int(done.stdout) == pytest.approx(RATE, abs=1100)


def test_an_interrupt_while_reading_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through FFmpeg's C code, which knows nothing of Python's exceptions."""

    class Interrupted(Endless):
        def read(self, count: int = -1) -> bytes:
            if self.given > 2 << 20:
                raise KeyboardInterrupt
            return super().read(count)

    monkeypatch.setattr(source_module, "KEPT_BYTES", 1 << 20)
    with pytest.raises(KeyboardInterrupt):
        decode(Interrupted(wav(b"", data_size=0xFFFFFFFF)), limits=Limits(max_seconds=1e6))  # type: ignore[arg-type]


# What can't be heard

TONE = tone()
WAV = wav(int16(TONE))
FLAC = encoded(tone(rate=48_000, seconds=3), 48_000, "flac", "flac")
WEBM = encoded(tone(rate=48_000, seconds=3), 48_000, "webm", "libopus")
OGG = encoded(np.random.default_rng(0).uniform(-0.5, 0.5, 240_000).astype(np.float32), 48_000, "ogg", "libopus")
MP3 = encoded(tone(seconds=3), RATE, "mp3", "libmp3lame")
M4A = encoded(tone(seconds=3), RATE, "mp4", "aac", options={"movflags": "faststart"})


def refusal(source: object, **options: object) -> str:
    """The message of the error, which is one line and names the sound."""
    with pytest.raises(SoundError) as caught:
        decode(source, name="x.wav", **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "x.wav" in message
    assert "\n" not in message
    assert caught.value.exit_status == 2
    return message


def test_paths_without_a_sound(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert refusal(tmp_path / "none.wav") == "there is no file x.wav; check the path"
    assert refusal("https://example.org/a.wav") == "there is no file x.wav; download it first"
    assert refusal(tmp_path) == "x.wav is a directory; give one sound file"
    assert refusal(tmp_path / "empty.wav") == "x.wav is empty (0 bytes); give a file with sound in it"
    assert refusal(b"") == refusal(BytesIO()) == refusal(Pipe(b"")) == refusal(tmp_path / "empty.wav")
    assert "null byte" in refusal("a\0b")
    assert "can't be opened" in refusal("x" * 5000)
    with pytest.raises(SoundError, match=r"not as int$"):
        decode(42)  # type: ignore[arg-type]
    with pytest.raises(SoundError, match=r"^there is no file a\?b; check the path$"):
        decode("a\nb")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAV)
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert refusal(path) == "x.wav can't be read: permission denied; check its permissions"


@pytest.mark.parametrize(
    "data",
    [
        b"This is a letter, not a sound.\n" * 9,
        bytes(100_000),
        np.random.default_rng(0).bytes(50_000),
        b"\x89PNG\r\n\x1a\n" + bytes(99),
        b"%PDF-1.7\n" + bytes(999),
        b"x",
    ],
)
def test_what_is_no_sound(data: bytes) -> None:
    assert refusal(data).startswith("x.wav is no sound that can be decoded; give wav, mp3, ")


@pytest.mark.parametrize(
    "script",
    ["#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"],
)
def test_a_playlist_opens_no_other_file(script: str, tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(WAV)
    assert "is no sound" in refusal(script.format(tmp_path / "secret.wav").encode())


def test_a_stream_of_text() -> None:
    for stream in (StringIO("text"), StringIO()):
        assert refusal(stream).endswith("gives str, not bytes; open it in binary mode (rb)") or not stream.getvalue()


def test_a_video_without_sound() -> None:
    assert refusal(silent_video()).startswith("x.wav has no audio track (it holds mpeg4 video); give wav, ")


def test_no_samples() -> None:
    for file in (
        wav(b""),
        written(np.zeros(0, np.float32), RATE, "OGG", "VORBIS"),
        written(TONE[:1], 96_000, "WAV", "FLOAT"),
    ):
        assert refusal(file) == "x.wav holds 0 samples at 16,000 Hz; give a file with sound in it"


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(subtype: str, bad: float) -> None:
    samples = np.stack([tone(rate=48_000, seconds=0.5)] * 2).astype(np.float64)
    samples[1, [12_000, 12_001, 23_999]] = bad
    message = refusal(written(samples, 48_000, "WAV", subtype))
    assert "has 3 of 24,000 samples that are NaN or infinite, the first at sample 12,000 (0.250 s)" in message


def test_samples_on_another_scale() -> None:
    assert "reaches 16,384 where full scale is 1" in refusal(written(TONE * 32_768, RATE, "WAV", "FLOAT"))
    assert "reaches 1e+300" in refusal(written(np.array([0.0, 1e300]), RATE, "WAV", "DOUBLE"))


def test_an_impossible_rate() -> None:
    assert "claims 1,000,000,000 samples per second; it can have at most 10,000,000" in refusal(wav(int16(TONE), 10**9))


# Limits


def test_a_limit_on_time_before_decoding() -> None:
    """By what the file claims, though next to nothing of it is there."""
    expected = "x.wav is {} s long; the limit is 60 s: cut it, or raise max_seconds"
    limits = Limits(max_seconds=60)
    assert refusal(wav(int16(TONE), data_size=0x40000000), limits=limits) == expected.format("33,554.43")
    pipe = Pipe(wav(int16(TONE), data_size=100 * 2 * RATE))
    assert refusal(pipe, limits=limits) == expected.format("100.00")
    for file in (FLAC, M4A, MP3, WEBM):
        assert "3.0" in refusal(file, limits=Limits(max_seconds=2.5))


def test_a_limit_on_time_while_decoding() -> None:
    """Of files that claim nothing, or too little."""
    expected = "x.wav goes on after 2.5 s; the limit is 2.5 s: cut it, or raise max_seconds"
    limits = Limits(max_seconds=2.5)
    adts = encoded(tone(seconds=3), RATE, "adts", "aac")
    for file in (
        adts,
        wav(int16(tone(seconds=3)), data_size=0xFFFFFFFF),
        encoded(tone(seconds=3), RATE, "mp3", "libmp3lame", options={"write_xing": "0"}),
    ):
        assert refusal(file, limits=limits) == expected
    total = 8 + 14  # in STREAMINFO: the low 32 bits of the number of samples
    lying = FLAC[:total] + (48_000).to_bytes(4, "big") + FLAC[total + 4 :]
    assert refusal(lying, limits=limits) == expected
    assert decode(FLAC, limits=Limits(max_seconds=3)).seconds == 3  # to the sample


def test_an_endless_stream_stops_at_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "KEPT_BYTES", 1 << 20)
    header = wav(b"", data_size=0xFFFFFFFF)
    stream = Endless(header)
    assert refusal(stream, limits=Limits(max_seconds=100)).startswith("x.wav goes on after 100 s; the limit is 100 s")
    assert stream.given < 100 * 2 * RATE + (2 << 20)  # what was read is bounded too
    for endless in (Endless(header), Endless(M4A)):
        message = refusal(endless, limits=Limits(max_bytes=3_000_000))
        assert (
            message == "x.wav goes on after 3,000,000 bytes; the limit is 3,000,000 bytes: cut it, or raise max_bytes"
        )
        assert endless.given < 3_000_000 + (2 << 20)


def test_a_limit_on_size(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAV)
    expected = "x.wav has 32,044 bytes; the limit is 32,043 bytes: cut it, or raise max_bytes"
    limits = Limits(max_bytes=32_043)
    assert (
        refusal(path, limits=limits) == refusal(WAV, limits=limits) == refusal(BytesIO(WAV), limits=limits) == expected
    )
    assert "goes on after 32,043 bytes" in refusal(Pipe(WAV), limits=limits)
    assert len(decode(WAV, limits=Limits(max_bytes=32_044)).samples) == RATE


@pytest.mark.parametrize(
    "option", [{"max_seconds": 0}, {"max_seconds": np.nan}, {"max_seconds": np.inf}, {"max_bytes": 0}]
)
def test_limits_are_checked_where_they_are_made(option: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=f"^{next(iter(option))} is "):
        Limits(**option)  # type: ignore[arg-type]


# Damage


@pytest.mark.parametrize(
    ("file", "whole"),
    [
        (WAV, 1.0),
        (FLAC, 3.0),
        (MP3, 3.0),
        (M4A, 3.0),
        (WEBM, 3.0),
        (OGG, 5.0),
        (written(TONE, RATE, "AIFF", "PCM_16"), 1.0),
        (written(TONE, RATE, "RF64", "PCM_16"), 1.0),
    ],
    ids=["wav", "flac", "mp3", "m4a", "webm", "ogg", "aiff", "rf64"],
)
@pytest.mark.parametrize("share", [0.5, 0.75, 0.9])
def test_a_file_that_was_cut_off(file: bytes, whole: float, share: float) -> None:
    assert decode(file).seconds == pytest.approx(whole, abs=0.1)
    message = refusal(file[: int(len(file) * share)])
    assert "cut off" in message
    assert f"of {whole:.1f}" in message or file is OGG  # which only says that it goes on


def test_a_wav_says_how_much_is_missing() -> None:
    assert refusal(WAV[: 44 + 16_000]).startswith(
        "x.wav is cut off: it ends after 0.500 s of 1.000 s; save or download it "
    )
    assert refusal(Pipe(WAV[: 44 + 16_000])).startswith("x.wav is cut off: it ends after 0.500 s of 1.000 s; ")
    assert len(decode(wav(int16(TONE), data_size=2 * RATE + 44)).samples) == RATE  # a writer that counted the header


@pytest.mark.parametrize("container", ["CAF", "W64"])
def test_the_last_packet_is_cut_of_a_file_whose_claim_is_not_read(container: str) -> None:
    assert "x.wav is damaged or cut off: decoding broke at 0." in refusal(
        written(TONE, RATE, container, "PCM_16")[:20_001]
    )


def test_an_mp3_may_count_its_header_as_a_frame_but_no_more() -> None:
    count = MP3.index(b"Info") + 8
    for more, whole in ((1, True), (4, False)):
        frames = int.from_bytes(MP3[count : count + 4], "big") + more
        file = MP3[:count] + frames.to_bytes(4, "big") + MP3[count + 4 :]
        assert whole or "x.wav is cut off: it ends after 3.0" in refusal(file)
        assert not whole or decode(file).seconds == pytest.approx(3.0, abs=0.1)


def test_an_index_that_is_missing() -> None:
    m4a = encoded(TONE, RATE, "mp4", "aac")
    assert refusal(m4a[: len(m4a) // 2]).startswith(
        "x.wav starts like mp4 but can't be opened: it is damaged or cut off"
    )
    assert refusal(FLAC[:20]).startswith("x.wav starts like flac but can't be opened")


@pytest.mark.parametrize("file", [FLAC, MP3, M4A, WEBM, OGG], ids=["flac", "mp3", "m4a", "webm", "ogg"])
def test_damage_in_the_middle(file: bytes) -> None:
    """FFmpeg's way is to leave out what it can't decode."""
    middle = len(file) // 2
    damaged = file[:middle] + np.random.default_rng(1).bytes(600) + file[middle + 600 :]
    message = refusal(damaged)
    assert " s" in message
    assert any(word in message for word in ("damaged", "cut off", "has a gap"))


def test_damage_is_told_with_its_time() -> None:
    middle = len(MP3) // 2
    message = refusal(MP3[:middle] + bytes(900) + MP3[middle + 900 :])
    assert message.startswith("x.wav is damaged or cut off: decoding broke at 1.")
    assert " s of 3.00 s; save or download it again, or keep what can be decoded: ffmpeg" in message


def test_one_flipped_bit_of_flac_is_found_by_its_checksum() -> None:
    middle = len(FLAC) // 2
    assert "x.wav" in refusal(FLAC[:middle] + bytes([FLAC[middle] ^ 4]) + FLAC[middle + 1 :])


def test_sound_missing_between_packets() -> None:
    """A live recording that lost its connection: the packets are whole, their times jump."""
    file = BytesIO()
    with av.open(file, "w", format="matroska") as out:
        sound = out.add_stream("flac", rate=RATE, layout="mono")
        for start in (0, 1, 4):
            frame = av.AudioFrame.from_ndarray(int16_frame(TONE), format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start * RATE
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    message = refusal(file.getvalue())
    assert message.startswith("x.wav has a gap: ")
    assert "aresample=async=1" in message


def int16_frame(samples: np.ndarray) -> np.ndarray:
    return np.frombuffer(int16(samples), "<i2")[None]


# Arrays


def test_arrays_of_every_type_mean_the_same() -> None:
    expected = from_samples(TONE, RATE).samples
    assert np.array_equal(expected, TONE)
    for values, step in (
        (TONE.astype(np.float64), 0),
        (TONE.tolist(), 0),
        ((TONE * 2**15).astype(np.int16), 2**-15),
        ((TONE * 2**15).astype(">i2"), 2**-15),
        ((TONE * 2.0**31).astype(np.int32), 2**-24),
        ((TONE * 128 + 128).astype(np.uint8), 2**-7),
        (np.stack([TONE, TONE]), 0),
        (np.stack([TONE * 2, TONE * 0]), 0),
    ):
        sound = from_samples(values, RATE)
        assert (sound.samples.dtype.name, sound.rate, sound.source) == ("float32", RATE, "the array given")
        assert np.abs(sound.samples - expected).max() <= step


def test_an_array_is_copied_and_resampled() -> None:
    samples = tone(rate=48_000)
    sound = from_samples(samples, 48_000, name="mine")
    assert (len(sound.samples), sound.source) == (RATE, "mine")
    assert np.array_equal(sound.samples, decode(written(samples, 48_000, "WAV", "FLOAT")).samples)
    same = TONE.copy()
    sound = from_samples(same, RATE)
    same[:] = 0
    assert np.array_equal(sound.samples, TONE)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        ([], RATE, "holds 0 samples (its shape is (0,))"),
        (np.zeros((2, 0)), RATE, "holds 0 samples"),
        (0.5, RATE, "has the shape (); give (samples,) or (channels, samples)"),
        (np.zeros((2, 2, 9)), RATE, "has the shape (2, 2, 9)"),
        (np.zeros((9000, 2)), RATE, "would be 9,000 channels; give (channels, samples): transpose it"),
        ([[1.0], [1.0, 2.0]], RATE, "is no array"),
        (np.zeros(9, np.int64), RATE, "has the type int64, which has no agreed full scale"),
        (np.zeros(9, bool), RATE, "has the type bool"),
        (np.zeros(9, complex), RATE, "has the type complex128"),
        (["a"], RATE, "has the type <U1"),
        (TONE, 0, "comes with a rate of 0"),
        (TONE, 44_100.5, "comes with a rate of 44100.5"),
        (TONE, True, "comes with a rate of True"),
        (TONE, 10**9, "claims 1,000,000,000 samples per second"),
        (TONE * 32_768, RATE, "reaches 16,384"),
        ([0.0, np.nan, np.inf], RATE, "has 2 of 3 samples that are NaN or infinite, the first at sample 1 (0.000 s)"),
    ],
)
def test_arrays_that_are_no_sound(samples: object, rate: int, message: str) -> None:
    with pytest.raises(SoundError) as caught:
        from_samples(samples, rate)  # type: ignore[arg-type]
    assert str(caught.value).startswith("the array given ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# And out again


@pytest.mark.parametrize(("as_float", "step"), [(True, 0.0), (False, 2**-16)])
def test_what_is_written_is_read(as_float: bool, step: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(2).uniform(-1, 0.9999, 5000).astype(np.float32)
    write_wav(tmp_path / "a.wav", Audio(noise, 24_000), as_float=as_float)
    sound = decode(tmp_path / "a.wav", rate=24_000)
    assert np.abs(sound.samples - noise).max() <= step
    write_wav(tmp_path / "a.wav", Audio(np.array([1.0, -1.0], np.float32), RATE), as_float=as_float)
    assert decode(tmp_path / "a.wav").samples == pytest.approx([1.0, -1.0], abs=2 * step)


def test_writing_clips_nothing_in_silence(tmp_path: Path) -> None:
    loud = Audio(tone(amplitude=1.2), RATE, "loud.mp3")
    with pytest.raises(SoundError, match=r"^loud.mp3 reaches 1.2, which 16 bits would clip; write it with as_float"):
        write_wav(tmp_path / "a.wav", loud)
    write_wav(tmp_path / "a.wav", loud, as_float=True)
    assert np.array_equal(decode(tmp_path / "a.wav").samples, loud.samples)
    with pytest.raises(SoundError, match="can't be written"):
        write_wav(tmp_path / "none" / "a.wav", Audio(TONE, RATE))
