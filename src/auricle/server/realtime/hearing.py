"""The sound of a realtime session: cut into turns while it comes in.

All of it computes, and runs in threads; one at a time for each connection. What the other side has to be told comes as
`Happening`s, in the order of the sound.

With turn detection, one detector follows all sound of the connection, and what comes between turns is not shown to the
model: an open microphone in a silent room costs next to nothing. Without, a turn is all sound up to a commit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.api import Model
from auricle.server.failures import ApiError
from auricle.server.realtime.session import Config, Detection
from auricle.server.realtime.turns import SOURCE, Partial, Samples, Turn
from auricle.server.settings import Settings
from auricle.sound.endpoint import Detector, open_detector
from auricle.sound.energy import RATE
from auricle.sound.live import Intake

BLOCK = RATE // 10  # samples that are judged, and heard, at a time
LATE_S = 0.3  # by which speech is noticed later than it began, at most
LATE_AT_FIRST_S = 2.0  # by energy, of who speaks at once: the first gap shows how quiet it is
NEW_S = 0.15  # of speech after a turn's end that begin another


@dataclass(frozen=True)
class Started:
    """Somebody speaks; the turn begins so far into the connection's sound."""

    at_s: float


@dataclass(frozen=True)
class Stopped:
    """They have stopped, or the turn can take no more, for a reason that is told."""

    at_s: float
    full: ApiError | None = None


Happening = Started | Stopped | Partial


class Hearing:
    """The sound of one connection under one config."""

    def __init__(self, model: Model, config: Config, settings: Settings, start_s: float = 0.0) -> None:
        self.config = config
        self.turn: Turn | None = None
        self.seconds = start_s  # of the connection's sound
        self._model, self._settings = model, settings
        self._intake = Intake(config.rate, RATE, SOURCE)
        self._waiting: deque[Samples] = deque()  # blocks
        self._detector: Detector | None = None  # opened in a thread
        self._before: deque[Samples] = deque()  # the last sound outside of a turn
        self._ended_s = 0.0  # by the detector's clock: when the last turn ended
        self._over = False

    def take(self, samples: NDArray[np.int16]) -> Happening | None:
        """Takes the next sound in, and hears it as `go_on` does."""
        self._add(self._intake.take(samples))
        return self.go_on()

    def go_on(self) -> Happening | None:
        """Hears what was taken in up to the next thing that happens; None when nothing is left.

        Raises:
            ApiError: 413, the turn is full, and what is behind that is not heard. With turn detection, a full turn has
                stopped instead.
        """
        try:
            while self._waiting and not self._over:
                happening = self._hear(self._waiting.popleft())
                if happening is not None:
                    return happening
        except Exception:  # what stood behind it would only meet the same
            self._waiting.clear()
            raise
        return None

    def end_turn(self, *, asked: bool) -> Turn:
        """Ends the turn that is being heard; `asked`: by the client, who has appended all of it.

        Raises:
            ApiError: 400, nothing was heard.
        """
        if asked:
            self._finish()
        if self.turn is None or self.turn.seconds < 0.1:
            heard = 0.0 if self.turn is None else self.turn.seconds
            raise ApiError(
                400,
                f"the buffer has {1000 * heard:.0f} ms of sound and a turn has at least 100 ms: append more first",
                code="input_audio_buffer_commit_empty",
            )
        turn, self.turn = self.turn, None
        self._rest()
        return turn

    def clear(self) -> None:
        """Forgets the turn that is being heard."""
        if self.turn is not None:
            self.turn.close()
        self.turn = None
        self._waiting.clear()
        self._intake = Intake(self.config.rate, RATE, SOURCE)
        self._rest()

    def stop(self) -> None:
        """The connection is over: what still computes in a thread ends soon."""
        self._over = True

    def _finish(self) -> None:
        """Hears what the resampler has held back until more comes."""
        rest = self._intake.finish()
        self._intake = Intake(self.config.rate, RATE, SOURCE)
        self.seconds += len(rest) / RATE
        if self.turn is not None:
            self.turn.finish(rest)

    def _add(self, samples: Samples) -> None:
        self._waiting.extend(samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK))

    def _rest(self) -> None:
        self._before.clear()
        if self._detector is not None:
            self._ended_s = self._detector.seconds

    def _hear(self, samples: Samples) -> Happening | None:
        full = self.turn and self.turn.no_room_for(samples)
        if full and self.config.detection is None:
            raise full
        if full:
            self._waiting.appendleft(samples)  # the next turn's
            return Stopped(self.seconds, full)
        self.seconds += len(samples) / RATE
        if self.config.detection is not None:
            return self._detect(self.config.detection, samples)
        self.turn = self.turn or Turn(self._model, self.config, self._settings)
        self.turn.feed(samples)
        return self.turn.partial()

    def _detect(self, detection: Detection, samples: Samples) -> Happening | None:
        detector = self._detector = self._detector or open_detector()
        at_first = detector.name == "energy" and not detector.spoken
        detector.take(samples)
        if self.turn is None:
            late_s = LATE_AT_FIRST_S if at_first else LATE_S
            return self._wait(detector, samples, late_s + detection.padding_ms / 1000)
        try:
            self.turn.feed(samples)
        except ApiError as error:
            return Stopped(self.seconds, error)
        if 1000 * detector.silence_s >= detection.silence_ms:
            return Stopped(self.seconds)
        return self.turn.partial()

    def _wait(self, detector: Detector, samples: Samples, keep_s: float) -> Started | None:
        """Keeps the last moments, until somebody speaks; then these begin the turn."""
        self._before.append(samples)
        spoke_s = detector.seconds - detector.silence_s
        if detector.spoken and spoke_s > self._ended_s + NEW_S:
            turn = Turn(self._model, self.config, self._settings)
            turn.feed(np.concatenate(self._before))
            self._before.clear()
            self.turn = turn
            return Started(self.seconds - turn.seconds)
        while sum(map(len, self._before)) - len(self._before[0]) >= keep_s * RATE:
            self._before.popleft()
        return None
