"""Sound to files and to pipes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.errors import OptionError, SoundError
from auricle.sound.decode import decode
from auricle.sound.pcm import PcmWriter
from auricle.sound.write import Form, encoded
from auricle.types import Audio
from tests.sound.making import RATE, tone

SOUND = Audio(tone(440, 0.3), RATE, "tone")


@pytest.mark.parametrize(
    ("name", "bits", "subtype", "step"),
    [
        ("a.wav", "16", "PCM_16", 2**-16),
        ("a.WAV", "24", "PCM_24", 2**-24),
        ("a.wav", "float", "FLOAT", 0),
        ("a.flac", "16", "PCM_16", 2**-16),
        ("a.flac", "24", "PCM_24", 2**-24),
    ],
)
def test_written_and_read(tmp_path: Path, name: str, bits: str, subtype: str, step: float) -> None:
    path = tmp_path / name
    path.write_bytes(encoded(SOUND, Form.of(path, bits)))  # type: ignore[arg-type]
    info = soundfile.info(path)
    assert (info.subtype, info.samplerate, info.channels) == (subtype, RATE, 1)
    np.testing.assert_allclose(decode(path).samples, SOUND.samples, atol=step * 1.001, rtol=0)


@pytest.mark.parametrize("bits", ["16", "24"])
def test_full_scale_does_not_wrap(bits: str) -> None:
    content = encoded(Audio(np.array([1.0, -1.0], np.float32), RATE), Form("flac", bits))  # type: ignore[arg-type]
    np.testing.assert_allclose(decode(content).samples, [1, -1], atol=2**-15)


@pytest.mark.parametrize("value", [1.5, np.nan, np.inf])
def test_nothing_is_clipped_in_silence(value: float) -> None:
    with pytest.raises(SoundError):
        encoded(Audio(np.array([value], np.float32), RATE), Form())


@pytest.mark.parametrize(
    ("name", "bits", "told"),
    [
        ("a.mp3", "16", r"must end in \.wav or \.flac"),
        ("a", "16", r"must end in \.wav or \.flac"),
        ("a.flac", "float", "flac has no float samples"),
        ("a.wav", "12", "bits is '12'; it must be 16, 24, float"),
    ],
)
def test_forms_that_are_none(name: str, bits: str, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        Form.of(Path(name), bits)  # type: ignore[arg-type]


@pytest.mark.parametrize(("bits", "step"), [("16", 2**-16), ("24", 2**-24), ("float", 0)])
def test_a_stream_of_unknown_length(bits: str, step: float) -> None:
    stream = io.BytesIO()
    writer = PcmWriter(stream, RATE, bits)  # type: ignore[arg-type]
    for start in range(0, len(SOUND.samples), 333):
        writer.write(SOUND.samples[start : start + 333])
    writer.finish()
    found = decode(stream.getvalue())
    np.testing.assert_allclose(found.samples, SOUND.samples, atol=step * 1.001, rtol=0)


def test_samples_alone_and_peaks() -> None:
    stream = io.BytesIO()
    writer = PcmWriter(stream, RATE, "16", header=False)
    writer.write(1.9 * SOUND.samples / 0.5)
    assert len(stream.getvalue()) < 2 * len(SOUND.samples), "the last moments may still have to be lowered"
    writer.finish()
    values = np.frombuffer(stream.getvalue(), "<i2")
    assert len(values) == len(SOUND.samples)
    assert np.abs(values.astype(int)).max() >= 32700
    assert writer.limiter.notes("it")[0].startswith(
        "it goes beyond full scale: 0.30 s of it are lowered, by up to 5.6 dB"
    )
