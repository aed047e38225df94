"""A loudspeaker, without one: a stand-in for sounddevice that does what its documentation says."""

from __future__ import annotations

import importlib
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from auricle.errors import DeviceError, OptionError
from auricle.sound.speaker import Speaker, open_speaker
from tests.sound.making import tone

RATE = 32_000
BLOCK = RATE // 50


class PortAudioError(Exception):
    pass


class CallbackStop(Exception):
    pass


class OutputStream:
    """Asks for sound when the test says so."""

    last: OutputStream

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.closed = self.ended = False
        OutputStream.last = self

    def start(self) -> None:
        if self.settings["device"] == "broken":
            raise PortAudioError("Device unavailable")

    def close(self) -> None:
        if not self.ended:
            self.end()
        self.closed = True

    def end(self) -> None:
        self.ended = True
        self.settings["finished_callback"]()

    def ask(self, blocks: int = 1) -> np.ndarray:
        heard = []
        for _ in range(blocks):
            block = np.full((BLOCK, 1), 9, np.float32)
            try:
                self.settings["callback"](block, BLOCK, None, None)
            except CallbackStop:
                self.end()
            heard.append(block[:, 0])
        return np.concatenate(heard)


class StandIn(ModuleType):
    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.PortAudioError, self.CallbackStop, self.OutputStream = PortAudioError, CallbackStop, OutputStream

    def query_devices(self, device: object, kind: str) -> dict[str, str]:
        assert kind == "output"
        if device == "none":
            raise ValueError("No output device matching 'none'")
        return {"name": "Speakers"}


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setattr(importlib, "import_module", {"sounddevice": module}.__getitem__)
    return module


def test_pieces_of_any_size_are_heard_as_one() -> None:
    sound = tone(440, 0.1, RATE)
    with open_speaker(RATE) as speaker:
        assert OutputStream.last.settings["samplerate"] == RATE
        for start in range(0, len(sound), 777):
            speaker.play(sound[start : start + 777])
        waiter = threading.Thread(target=speaker.wait)
        waiter.start()
        heard = OutputStream.last.ask(5)
        waiter.join(2)
        assert not waiter.is_alive()
    np.testing.assert_array_equal(heard, sound)
    assert OutputStream.last.closed
    assert speaker.notes == ()


def test_silence_where_sound_comes_too_late() -> None:
    with open_speaker(RATE) as speaker:
        assert not OutputStream.last.ask(3).any(), "nothing has begun: this is no gap"
        speaker.play(np.ones(BLOCK + 100, np.float32))
        heard = OutputStream.last.ask(4)
        assert heard[: BLOCK + 100].all()
        assert not heard[BLOCK + 100 :].any()
        speaker.play(np.ones(BLOCK, np.float32))
        assert OutputStream.last.ask(1).all()
        OutputStream.last.ask(2)
    (note,) = speaker.notes
    assert note.startswith("Speakers had to wait 2 times for sound, 0.1 s in all")


def test_what_is_left_is_the_end_and_no_gap() -> None:
    speaker = Speaker("x", RATE)
    speaker.play(np.ones(10, np.float32))
    speaker._last = True
    block = np.empty((BLOCK, 1), np.float32)
    assert speaker.give(block, BLOCK, None, None) is False
    assert speaker.notes == ()


def test_a_loudspeaker_that_stops() -> None:
    with open_speaker(RATE) as speaker:
        OutputStream.last.end()
        with pytest.raises(DeviceError, match="Speakers stopped; check that it is still plugged in"):
            speaker.play(np.ones(10, np.float32))


def test_none_of_that_name() -> None:
    with (
        pytest.raises(DeviceError, match="no loudspeaker, or more than one, that 'none' means"),
        open_speaker(RATE, "none"),
    ):
        pass


def test_one_that_cannot_be_opened() -> None:
    with pytest.raises(DeviceError, match="Speakers can't be opened"), open_speaker(RATE, "broken"):
        pass
    assert OutputStream.last.closed


def test_without_sounddevice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name)))
    with (
        pytest.raises(OptionError, match="a loudspeaker needs sounddevice, which is not installed"),
        open_speaker(RATE),
    ):
        pass
