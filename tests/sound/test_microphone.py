"""A microphone, without one: a stand-in for sounddevice that does what its documentation says.

Nothing here has met a real device. What sounddevice 0.5 and PortAudio 19 say on a machine without one is from a run.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from auricle.errors import DeviceError, OptionError
from auricle.sound import microphone as microphone_module
from auricle.sound.live import Intake, LiveSound
from auricle.sound.microphone import open_microphone
from tests.sound.making import tone

RATE = 44_100
BLOCK = RATE // 50
DEVICES = [
    {"name": "Speakers", "max_input_channels": 0, "default_samplerate": 48_000.0},
    {"name": "USB Microphone", "max_input_channels": 2, "default_samplerate": float(RATE)},
    {"name": "USB Headset", "max_input_channels": 1, "default_samplerate": 16_000.0},
]


class PortAudioError(Exception):
    pass


@dataclass
class InputStream:
    """Calls back when the test says so, with one piece of memory that it uses again."""

    samplerate: float
    blocksize: int
    device: int | str | None
    channels: int
    dtype: str
    callback: Callable[..., None]
    finished_callback: Callable[[], None]
    started: bool = False
    closed: bool = False
    memory: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.memory = np.empty((self.blocksize, self.channels), np.float32)

    def start(self) -> None:
        self.started = True

    def close(self) -> None:
        if self.started and not self.closed:
            self.finished_callback()
        self.closed = True

    def hear(self, samples: NDArray[np.float32], *, overflow: bool = False) -> None:
        assert self.started
        assert not self.closed
        for start in range(0, len(samples), self.blocksize):
            self.memory[:, 0] = samples[start : start + self.blocksize]
            status = SimpleNamespace(input_overflow=overflow and start == 0)
            self.callback(self.memory, self.blocksize, SimpleNamespace(inputBufferAdcTime=0.0), status)


class StandIn(ModuleType):
    """The parts of sounddevice that are used."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.devices = DEVICES
        self.streams: list[InputStream] = []
        self.refuses = ""

    def query_devices(self, device: int | str | None, kind: str) -> dict[str, Any]:
        assert kind == "input"
        if isinstance(device, str):
            found = [info for info in self.devices if device.lower() in str(info["name"]).lower()]
            if len(found) > 1:
                listed = "\n".join(f"[{number}] {info['name']}" for number, info in enumerate(found))
                raise ValueError(f"Multiple input devices found for {device!r}:\n{listed}")
            if not found:
                raise ValueError(f"No input device matching {device!r}")
            return found[0]
        number = (1 if self.devices else -1) if device is None else device
        if not 0 <= number < len(self.devices):
            raise PortAudioError(f"Error querying device {number}")
        return self.devices[number]

    def InputStream(self, **options: Any) -> InputStream:
        if self.refuses == "open":
            raise PortAudioError("Error opening InputStream: Invalid sample rate [PaErrorCode -9997]")
        stream = InputStream(**options)
        self.streams.append(stream)
        if self.refuses == "start":
            stream.start = lambda: (_ for _ in ()).throw(PortAudioError("Error starting stream"))  # type: ignore[method-assign]
        return stream


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setattr(importlib, "import_module", {"sounddevice": module}.__getitem__)
    return module


def test_what_is_said_is_heard(sounddevice: StandIn) -> None:
    sound = tone(seconds=0.2, rate=RATE)
    with open_microphone() as microphone:
        live: LiveSound = microphone
        (stream,) = sounddevice.streams
        assert (stream.samplerate, stream.blocksize, stream.channels, stream.dtype) == (RATE, BLOCK, 1, "float32")
        assert (live.rate, live.channels, live.notes, microphone.name) == (RATE, 1, (), "USB Microphone")
        stream.hear(sound)
        microphone.stop()
        blocks = list(live)
        assert list(live) == []  # and it doesn't wait either
    assert stream.closed
    assert [block.shape for block in blocks] == [(1, BLOCK)] * 10
    assert np.array_equal(np.concatenate(blocks, axis=1)[0], sound)
    assert np.concatenate([Intake(RATE, RATE).take(block) for block in blocks]).shape == sound.shape


def test_a_block_comes_while_more_is_awaited(sounddevice: StandIn) -> None:
    with open_microphone() as microphone:
        blocks = iter(microphone)
        threading.Timer(0.05, sounddevice.streams[0].hear, [tone(seconds=0.02, rate=RATE)]).start()
        assert next(blocks).shape == (1, BLOCK)
        threading.Timer(0.05, microphone.stop).start()
        assert list(blocks) == []


@pytest.mark.parametrize(("device", "passed"), [(None, None), ("2", 2), ("headset", "headset")])
def test_a_device_by_number_or_name(sounddevice: StandIn, device: str | None, passed: object) -> None:
    with open_microphone(device) as microphone:
        assert microphone.rate == (RATE if device is None else 16_000)
        assert sounddevice.streams[0].device == passed


def test_it_is_closed_after_an_error(sounddevice: StandIn) -> None:
    with pytest.raises(KeyboardInterrupt), open_microphone():
        raise KeyboardInterrupt
    assert sounddevice.streams[0].closed


def test_sound_that_nobody_takes_is_told(sounddevice: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone_module, "WAITING_S", 0.1)
    with open_microphone() as microphone:
        (stream,) = sounddevice.streams
        stream.hear(tone(seconds=0.2, rate=RATE))
        assert next(iter(microphone)).shape == (1, BLOCK)
        stream.hear(tone(seconds=0.02, rate=RATE))
        microphone.stop()
        assert len(list(microphone)) == 5  # the bound holds
        assert microphone.notes == ("0.10 s of USB Microphone were lost from 0.1 s on: they were not taken in time",)


def test_sound_that_the_driver_loses_is_told(sounddevice: StandIn) -> None:
    with open_microphone() as microphone:
        (stream,) = sounddevice.streams
        for overflow in (False, True, True):
            stream.hear(tone(rate=RATE), overflow=overflow)
        expected = "the system lost sound of USB Microphone 2 times, first at 1.0 s: it was too busy"
        assert microphone.notes == (expected,)


def test_a_microphone_that_is_pulled_out(sounddevice: StandIn) -> None:
    with open_microphone() as microphone:
        (stream,) = sounddevice.streams
        stream.hear(tone(rate=RATE))
        stream.finished_callback()
        blocks = iter(microphone)
        assert len([next(blocks) for _ in range(50)]) == 50  # what came before is given
        for rest in (blocks, microphone):  # asked again, it says so again
            with pytest.raises(DeviceError, match=r"^USB Microphone stopped after 1.0 s; check that it is still plug"):
                list(rest)


def refusal(device: str | None = None) -> str:
    with pytest.raises(DeviceError) as caught, open_microphone(device):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_such_microphone(sounddevice: StandIn) -> None:
    assert refusal("piano") == (
        "there is no microphone, or more than one, that 'piano' means (No input device matching 'piano'); "
        "plug one in, or name another: python -m sounddevice lists them"
    )
    assert "(Multiple input devices found for 'usb': [0] USB Microphone [1] USB Headset); plug" in refusal("usb")
    assert "that '7' means (Error querying device 7); " in refusal("7")
    assert refusal("0").startswith("Speakers is no microphone: it has 0 input channels; name another: ")
    sounddevice.devices = []
    assert refusal().startswith("there is no microphone (Error querying device -1); plug one in, or ")


@pytest.mark.parametrize("step", ["open", "start"])
def test_a_microphone_that_does_not_open(sounddevice: StandIn, step: str) -> None:
    sounddevice.refuses = step
    assert refusal().startswith(f"USB Microphone can't be opened (Error {step}ing ")
    assert all(stream.closed for stream in sounddevice.streams)


def test_without_sounddevice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name)))
    with pytest.raises(OptionError) as caught, open_microphone():
        pass
    assert str(caught.value) == 'a microphone needs sounddevice, which is not installed: pip install "auricle[live]"'


def test_without_portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib, "import_module", lambda _: (_ for _ in ()).throw(OSError("PortAudio library not found"))
    )
    assert refusal() == (
        "a microphone needs PortAudio, which can't be loaded (PortAudio library not found); "
        "install it: apt-get install libportaudio2, brew install portaudio"
    )
