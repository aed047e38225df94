"""When does the speaker stop? Asked while the sound comes in, answered the same however it is cut into pieces.

Two detectors judge the sound frame by frame: by energy, which needs nothing (`energy`), and by the model Silero, where
the package is installed. What follows from their judgements is the same for both: speech begins when it has lasted a
moment, goes on down to a lower threshold, and silence doesn't grow while something that may be speech is going on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from auricle.errors import OptionError
from auricle.sound.energy import HOP, RATE, Levels
from auricle.sound.silero import FRAME, find_silero, load_silero
from auricle.types import Vad

ENERGY_START = 8  # frames of 10 ms that speech must last: a click is shorter
SILERO_ENTER, SILERO_LEAVE = 0.5, 0.35  # probabilities for speech to begin and to go on, as its own iterator has them
SILERO_START = 3  # frames that it must last to be speech
SILERO_WARM_UP = 3  # frames after which TorchScript has compiled itself; the first takes 0.1 s


class Detector(Protocol):
    """Follows mono sound at 16 kHz, with state that doesn't grow."""

    @property
    def name(self) -> str: ...  # "silero" or "energy"

    @property
    def seconds(self) -> float: ...  # taken so far

    @property
    def spoken(self) -> bool: ...  # whether speech was heard so far

    @property
    def silence_s(self) -> float: ...  # since the last speech; since the start, while there was none

    def take(self, samples: NDArray[np.float32]) -> None: ...  # `(samples,)` in [-1, 1], as many as there are


class _Framed:
    """A detector's memory: frames of one size out of pieces of any, and speech and silence out of judgements."""

    def __init__(self, frame: int, start: int) -> None:
        self.spoken = False
        self._frame = frame  # samples
        self._start = start  # frames that speech must last to have begun
        self._rest = np.empty(0, np.float32)  # of a frame that isn't full yet
        self._frames = 0  # judged so far
        self._run = 0  # the last so many of them might begin speech
        self._speaking = False
        self._spoken_until = 0  # in frames

    @property
    def seconds(self) -> float:
        return (self._frames * self._frame + len(self._rest)) / RATE

    @property
    def silence_s(self) -> float:
        if self._speaking:
            return 0.0
        return max(0, self._frames - self._run - self._spoken_until) * self._frame / RATE

    def take(self, samples: NDArray[np.float32]) -> None:
        assert samples.ndim == 1 and samples.dtype == np.float32, (samples.shape, samples.dtype)
        pending = np.concatenate((self._rest, samples))
        whole = len(pending) - len(pending) % self._frame
        for frame in pending[:whole].reshape(-1, self._frame):
            self._add(*self._judge(frame))
        self._rest = pending[whole:].copy()

    def _judge(self, frame: NDArray[np.float32]) -> tuple[bool, bool]:
        """Whether speech may begin in a frame, and whether it may go on."""
        raise NotImplementedError

    def _add(self, begins: bool, goes_on: bool) -> None:
        self._frames += 1
        self._run = self._run + 1 if begins else 0
        self._speaking = self._run >= self._start or (self._speaking and goes_on)
        if self._speaking:
            self.spoken = True
            self._spoken_until = self._frames


class EnergyDetector(_Framed):
    """Speech is what stands out from the noise."""

    name = "energy"

    def __init__(self) -> None:
        super().__init__(HOP, ENERGY_START)
        self._levels = Levels()

    def _judge(self, frame: NDArray[np.float32]) -> tuple[bool, bool]:
        thresholds = self._levels.add(frame)
        if thresholds is None:
            return False, False
        level = self._levels.past[-1]
        if not self.spoken:
            # Who speaks at once can't be told from noise until the first gap shows how quiet it is here.
            ago = self._levels.since_run(thresholds.enter, ENERGY_START)
            if ago is not None:
                self.spoken, self._spoken_until = True, self._frames + 1 - ago
        return level >= thresholds.enter, level >= thresholds.leave


class SileroDetector(_Framed):
    """Speech is what the model Silero takes for speech."""

    name = "silero"

    def __init__(self, path: Path) -> None:
        super().__init__(FRAME, SILERO_START)
        import torch  # only here: this room loads no torch

        self._torch = torch
        self._model: Any = load_silero(path)
        for _ in range(SILERO_WARM_UP):
            self._judge(np.zeros(FRAME, np.float32))
        self._model.reset_states()

    def _judge(self, frame: NDArray[np.float32]) -> tuple[bool, bool]:
        with self._torch.inference_mode():
            probability = self._model(self._torch.from_numpy(frame), RATE).item()
        return probability >= SILERO_ENTER, probability >= SILERO_LEAVE


def open_detector(kind: Vad = "auto") -> Detector:
    """A detector at the start of a sound; `auto` is Silero where it is installed, and energy elsewhere.

    Raises:
        OptionError: Silero is asked for and not installed, or installed without its model.
    """
    path = None if kind == "energy" else find_silero()
    if path is not None:
        return SileroDetector(path)
    if kind == "silero":
        raise OptionError('vad is silero, which is not installed: pip install "auricle[live]", or choose energy')
    return EnergyDetector()
