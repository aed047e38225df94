"""Hours of silence in a small file are found without decoding them, whatever the header says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from auricle.errors import TooLongError
from auricle.sound import decode as decoding
from auricle.sound.decode import Limits, decode
from tests.server import bad_sounds
from tests.sound.making import encoded, tone

MINUTES = Limits(max_seconds=600.0)


@pytest.fixture
def decoded_s(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """How many seconds of sound were decoded since this was made."""
    seconds = [0.0]
    whole = decoding._Mixed.add

    def counted(self: Any, frame: Any) -> None:
        seconds[0] += frame.samples / frame.sample_rate
        whole(self, frame)

    monkeypatch.setattr(decoding._Mixed, "add", counted)
    return lambda: seconds[0]


def test_hours_are_refused_before_they_are_decoded(decoded_s: Callable[[], float]) -> None:
    for name, file in bad_sounds.endless():
        before = decoded_s()
        with pytest.raises(TooLongError, match=f"{name} .*(the limit is 600 s: cut it|bring it to a lower rate)"):
            decode(file, limits=MINUTES, name=name)
        assert decoded_s() - before < 30.0, name


def test_what_is_just_short_enough_is_heard() -> None:
    """The lengths of packets are a little more than the sound, which is trimmed at both ends."""
    for container, codec, rate in (("ogg", "libopus", 48_000), ("mp3", "libmp3lame", 16_000), ("adts", "aac", 16_000)):
        file = encoded(tone(seconds=40.0, rate=rate), rate, container, codec)
        assert decode(file, limits=Limits(max_seconds=40.2)).seconds == pytest.approx(40.0, abs=0.15)


def test_a_rate_at_which_a_minute_is_longer_than_an_hour() -> None:
    file = bad_sounds.wide_flac(seconds=200)
    with pytest.raises(TooLongError, match="more than 160,000,000 samples in its channels together"):
        decode(file, limits=Limits(max_seconds=200.0))
    with pytest.raises(TooLongError, match="samples in its channels together"):
        decode(bad_sounds.claiming(655_350, file), limits=Limits(max_seconds=200.0))


def test_a_wide_sound_that_is_short_is_heard() -> None:
    sound = decode(bad_sounds.wide_flac(seconds=2), limits=Limits(max_seconds=200.0))
    assert sound.seconds == pytest.approx(2.0, abs=0.11)
    assert not np.any(sound.samples)
