"""A loudspeaker, through sounddevice and PortAudio: the extra `live`.

PortAudio asks for sound on a thread of its own, which must never wait: what is to be played lies ready, and where
nothing does there is silence until there is, which `notes` tells.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.errors import DeviceError
from auricle.sound.portaudio import LISTED, numbered, one_line, sounddevice, started

BLOCK_S = 0.02


class Speaker:
    """A loudspeaker that is open, as `open_speaker` gives it."""

    def __init__(self, name: str, rate: int) -> None:
        self.name = name
        self.rate = rate  # samples a second
        self._waiting: deque[NDArray[np.float32]] = deque()
        self._last = False  # nothing comes after what is waiting
        self._done = threading.Event()
        self._begun = False
        self._gap = False  # nothing was there when it was last asked for
        self._silent = 0  # samples that had to be silence, because nothing was there
        self._gaps = 0  # times that this happened

    @property
    def notes(self) -> tuple[str, ...]:
        """How often sound came too late, if it did."""
        if not self._gaps:
            return ()
        note = (
            f"{self.name} had to wait {self._gaps} times for sound, {self._silent / self.rate:.1f} s in all: "
            "it is made more slowly than it is heard here; the sound itself has no gaps"
        )
        return (note,)

    def play(self, samples: NDArray[np.float32]) -> None:
        """Takes the next `(samples,)`, from any thread, and returns at once.

        Raises:
            DeviceError: the loudspeaker has stopped by itself.
        """
        if self._done.is_set():
            raise DeviceError(f"{self.name} stopped; check that it is still plugged in")
        if len(samples):
            self._waiting.append(np.ascontiguousarray(samples, np.float32))

    def wait(self) -> None:
        """Until everything has been played."""
        self._last = True
        while not self._done.wait(0.1):  # in steps, so that Ctrl-C gets through
            pass

    def give(self, block: NDArray[np.float32], frames: int, time: object, status: object) -> bool:
        """PortAudio's callback: fills `(frames, 1)`. Gives whether more will come."""
        filled = 0
        while filled < frames and self._waiting:
            part = self._waiting.popleft()
            taken = part[: frames - filled]
            if len(taken) < len(part):
                self._waiting.appendleft(part[len(taken) :])
            block[filled : filled + len(taken), 0] = taken
            filled += len(taken)
        block[filled:] = 0
        self._begun = self._begun or filled > 0
        gap = filled < frames and self._begun and not self._last
        if gap:
            self._gaps += not self._gap or filled > 0  # an empty block goes on with the gap before it
            self._silent += frames - filled
        self._gap = gap
        return bool(self._waiting) or not self._last

    def end(self) -> None:
        """PortAudio's callback when the stream has ended, whoever ended it."""
        self._done.set()


@contextmanager
def open_speaker(rate: int, device: str | None = None) -> Iterator[Speaker]:
    """Opens a loudspeaker for as long as the block lasts; leaving it cuts off what has not been played yet.

    Args:
        rate: samples a second of what will be played.
        device: a part of its name, or its number; the system's default unless given.

    Raises:
        OptionError: sounddevice isn't installed.
        DeviceError: PortAudio isn't, or there is no such loudspeaker, or it can't be opened.
    """
    driver = sounddevice("a loudspeaker")
    which = numbered(device)
    try:
        found = driver.query_devices(which, "output")
    except (ValueError, driver.PortAudioError) as error:
        called = "no loudspeaker" if device is None else f"no loudspeaker, or more than one, that {device!r} means"
        raise DeviceError(
            f"there is {called} ({one_line(error)}); name another: {LISTED}, or leave out --play"
        ) from None
    speaker = Speaker(found["name"], rate)
    stream = _started(driver, speaker, which)
    try:
        yield speaker
    finally:
        stream.close()


def _started(driver: Any, speaker: Speaker, which: int | str | None) -> Any:
    def callback(block: NDArray[np.float32], frames: int, time: object, status: object) -> None:
        if not speaker.give(block, frames, time, status):
            raise driver.CallbackStop  # what is in the driver is still played

    def made() -> Any:
        return driver.OutputStream(
            samplerate=speaker.rate,
            blocksize=round(BLOCK_S * speaker.rate),
            device=which,
            channels=1,
            dtype="float32",
            callback=callback,
            finished_callback=speaker.end,
        )

    return started(driver, made, speaker.name, "leave out --play")
