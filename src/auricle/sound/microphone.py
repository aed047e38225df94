"""A microphone, through sounddevice and PortAudio: the extra `live`.

PortAudio hands over its blocks on a thread of its own, which must never wait. So they go into a queue, and whoever
listens takes them from there. Sound is lost when nobody takes it for half a minute, or when the machine is too busy for
its own driver. Either is told in `notes`, for what was said can't be said again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.errors import DeviceError
from auricle.sound.portaudio import LISTED, numbered, one_line, sounddevice, started

BLOCK_S = 0.02
WAITING_S = 30.0  # of sound that nobody has taken yet; what comes then is lost


class Microphone:
    """The blocks of a microphone that is open, as `open_microphone` gives it."""

    def __init__(self, name: str, rate: int) -> None:
        self.name = name
        self.rate = rate  # samples per second
        self.channels = 1
        self._blocks: SimpleQueue[NDArray[np.float32] | None] = SimpleQueue()  # None ends them
        self._stopped = False
        self._samples = 0  # that came, lost ones included
        self._lost = 0  # of these
        self._first_lost = 0
        self._overflows = 0  # of the driver, which doesn't say how much was lost
        self._first_overflow = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was lost so far, a line each; empty if nothing was."""
        lost, overflows = self._lost / self.rate, self._overflows
        notes = []
        if lost:
            at = self._first_lost / self.rate
            notes.append(f"{lost:.2f} s of {self.name} were lost from {at:.1f} s on: they were not taken in time")
        if overflows:
            at = self._first_overflow / self.rate
            notes.append(
                f"the system lost sound of {self.name} {overflows} times, first at {at:.1f} s: it was too busy"
            )
        return tuple(notes)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Blocks `(1, samples)` of 20 ms, until `stop`.

        Raises:
            DeviceError: the microphone stops by itself.
        """
        while (block := self._blocks.get()) is not None:
            yield block
        self._blocks.put(None)  # for the next who asks
        if not self._stopped:
            raise DeviceError(
                f"{self.name} stopped after {self._samples / self.rate:.1f} s; check that it is still plugged in"
            )

    def stop(self) -> None:
        """Ends the sound, from any thread: what is waiting is still given."""
        self._stopped = True
        self._blocks.put(None)

    def take(self, block: NDArray[np.float32], frames: int, time: object, status: Any) -> None:
        """PortAudio's callback: `(frames, 1)`, in memory that it uses again."""
        if status.input_overflow:
            self._first_overflow = self._first_overflow if self._overflows else self._samples
            self._overflows += 1
        if self._blocks.qsize() * BLOCK_S < WAITING_S:
            self._blocks.put(block.T.copy())
        else:
            self._first_lost = self._first_lost if self._lost else self._samples
            self._lost += frames
        self._samples += frames

    def end(self) -> None:
        """PortAudio's callback when the stream has ended, whoever ended it."""
        self._blocks.put(None)


@contextmanager
def open_microphone(device: str | None = None) -> Iterator[Microphone]:
    """Opens a microphone for as long as the block lasts, at its own rate, with one channel.

    Args:
        device: a part of its name, or its number; the system's default unless given.

    Raises:
        OptionError: sounddevice isn't installed.
        DeviceError: PortAudio isn't, or there is no such microphone, or it can't be opened.
    """
    driver = sounddevice("a microphone")
    which = numbered(device)
    try:
        found = driver.query_devices(which, "input")
    except (ValueError, driver.PortAudioError) as error:
        called = "no microphone" if device is None else f"no microphone, or more than one, that {device!r} means"
        raise DeviceError(f"there is {called} ({one_line(error)}); plug one in, or name another: {LISTED}") from None
    if found["max_input_channels"] < 1:
        raise DeviceError(f"{found['name']} is no microphone: it has 0 input channels; name another: {LISTED}")
    microphone = Microphone(found["name"], round(found["default_samplerate"]))
    stream = _started(driver, microphone, which)
    try:
        yield microphone
    finally:
        microphone.stop()
        stream.close()


def _started(driver: Any, microphone: Microphone, which: int | str | None) -> Any:
    def made() -> Any:
        return driver.InputStream(
            samplerate=microphone.rate,
            blocksize=round(BLOCK_S * microphone.rate),
            device=which,
            channels=microphone.channels,
            dtype="float32",
            callback=microphone.take,
            finished_callback=microphone.end,
        )

    return started(driver, made, microphone.name, f"name another: {LISTED}")
