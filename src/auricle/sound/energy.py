"""Whether somebody speaks, by energy alone, while the sound comes in: `activity` for sound that has no end yet.

Levels are measured over 10 ms as there, and smoothed over the last 50 ms. What `activity` takes from the whole sound is
followed here: the noise floor from the last six seconds, the loudest moment as a peak that sinks slowly. What is steady
is no speech, however loud; noise that begins or grows in the middle is taken for speech until the floor has followed.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.sound.activity import INAUDIBLE_DB, MAX_DEPTH_DB, MIN_CONTRAST_DB, SILENT_DB, levels
from auricle.types import Audio

RATE = 16_000
HOP = 160  # samples: 10 ms
SMOOTHING_HOPS = 5
PAST_HOPS = 600  # what the noise floor is taken from
FLOOR_SHARE = 0.05  # of these are below the floor: the gaps between syllables are more, a dropout is less
SINK_DB = 0.02  # of the loudest moment at every hop: 2 dB a second, so that a slammed door is forgotten
ENTER_SHARE, LEAVE_SHARE = 0.4, 0.25  # of the way from the floor to the loudest moment, for speech to begin, to go on
ENTER_DB, LEAVE_DB = 15.0, 9.0  # above the floor is enough in any case


class Thresholds(NamedTuple):
    """Levels in dB from which something is speech: for it to begin, and to go on."""

    enter: float
    leave: float


class Levels:
    """The levels of the last six seconds, and what follows from them; grows no further."""

    def __init__(self) -> None:
        self.past: deque[float] = deque(maxlen=PAST_HOPS)  # in dB, smoothed
        self._powers: deque[float] = deque(maxlen=SMOOTHING_HOPS)
        self._loudest = SILENT_DB

    def add(self, frame: NDArray[np.float32]) -> Thresholds | None:
        """Takes `(160,)`; None as long as nothing stands out."""
        self._powers.append(10 ** (float(levels(Audio(frame, RATE))[0]) / 10))
        level = 10 * float(np.log10(sum(self._powers) / len(self._powers)))
        # A microphone or a program may begin with zeros: they would be a floor that the noise never goes back to.
        if level > SILENT_DB + 1 or self.past:
            self.past.append(level)
        self._loudest = max(level, self._loudest - SINK_DB)
        floor = self._floor()
        contrast = self._loudest - floor
        if contrast < MIN_CONTRAST_DB or self._loudest < INAUDIBLE_DB:
            return None
        deep = self._loudest - MAX_DEPTH_DB
        return Thresholds(
            max(floor + min(ENTER_SHARE * contrast, ENTER_DB), deep),
            max(floor + min(LEAVE_SHARE * contrast, LEAVE_DB), deep),
        )

    def since_run(self, threshold: float, hops: int) -> int | None:
        """How many hops ago the last `hops` in a row ended that reached a threshold; None if none did."""
        reached = np.cumsum([0, *(level >= threshold for level in self.past)])
        ends = np.flatnonzero(reached[hops:] - reached[:-hops] == hops)
        return len(reached) - 1 - hops - int(ends[-1]) if len(ends) else None

    def _floor(self) -> float:
        if not self.past:
            return SILENT_DB
        below = int(FLOOR_SHARE * len(self.past))
        return float(np.partition(np.array(self.past), below)[below])
