"""A turn of a realtime session: what is said until a pause or a commit, heard while it comes in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from auricle.api import Model
from auricle.errors import PromptError
from auricle.server.failures import ApiError
from auricle.server.languages import language_name
from auricle.server.realtime.session import Config
from auricle.server.realtime.wire import new_id
from auricle.server.settings import Settings
from auricle.sound.energy import RATE
from auricle.types import Chunk

if TYPE_CHECKING:
    from auricle.engine.live import Session

Samples = NDArray[np.float32]
SOURCE = "the turn"
PARTIAL_S = 1.0  # of sound, at least, between two partial transcripts


@dataclass(frozen=True)
class Partial:
    """What a transcript says so far, and what can be added to what was told of it before."""

    text: str
    delta: str


class Turn:
    """What is said until a pause or a commit, and the live sessions that hear it."""

    def __init__(self, model: Model, config: Config, settings: Settings) -> None:
        self.item = new_id("item")
        self.seconds = 0.0
        self.heard: Session | None = None  # gives the answer
        self.written: Session | None = None  # gives the transcript
        self.told = ""  # of the transcript
        self._limit_s = settings.max_seconds
        self._full = False
        self._last = ""  # partial transcript
        self._next_s = PARTIAL_S  # of sound
        self._not_before = 0.0  # by the clock: half the time at most goes into partial transcripts
        # Clips are cut by energy in any case; `Hearing` finds the end.
        if config.writes:
            language = language_name(config.language)
            self.written = model.listen(vad="energy", language=language, source=SOURCE)
        if config.answers:
            options = config.sampling(settings)
            self.heard = model.listen(config.instructions, vad="energy", source=SOURCE, **options)
        for session in self._sessions:
            session.__enter__()

    @property
    def _sessions(self) -> list[Session]:
        return [session for session in (self.written, self.heard) if session is not None]

    def feed(self, samples: Samples) -> None:
        """Hears `(samples,)` at 16 kHz.

        Raises:
            ApiError: 413, the model's context is full; what was heard can be answered.
        """
        try:
            for session in self._sessions:
                session.feed(samples)
        except PromptError as error:
            self._full = True
            raise ApiError(413, f"{error}; here that is to commit or clear the turn") from error
        self.seconds += len(samples) / RATE

    def finish(self, samples: Samples) -> None:
        """The very last samples; where there is no room for them, the answer's notes say so."""
        if not self._full:
            with suppress(ApiError):
                self.feed(samples)

    def no_room_for(self, samples: Samples) -> ApiError | None:
        """What to say when the turn can't take so much more."""
        if not self._full and self.seconds + len(samples) / RATE <= self._limit_s:
            return None
        limit = "the end of the model's context" if self._full else f"the limit of {self._limit_s:g} s"
        return ApiError(
            413, f"the turn has reached {limit} after {self.seconds:.1f} s: commit or clear it before more is sent"
        )

    def partial(self) -> Partial | None:
        """What is understood so far, about once a second."""
        now = time.perf_counter()
        if self.written is None or self._full or self.seconds < self._next_s or now < self._not_before:
            return None
        text = self.written.partial()
        self._next_s = self.seconds + PARTIAL_S
        self._not_before = 2 * time.perf_counter() - now
        before, self._last = self._last, text
        return Partial(text, self.added(_agreed(before, text))) if text != before else None

    def added(self, text: str) -> str:
        """What the transcript has more than was told; nothing where it begins otherwise than that."""
        if not text.startswith(self.told):
            return ""
        delta, self.told = text[len(self.told) :], text
        return delta

    def close(self) -> None:
        """Lets go of what the sessions hold."""
        for session in self._sessions:
            session.__exit__(None, None, None)


def answered(session: Session) -> Iterator[Chunk]:
    """What a session of a turn that has ended answers; it is closed behind that."""
    try:
        yield from session.stream()
    finally:
        session.__exit__(None, None, None)


def _agreed(before: str, now: str) -> str:
    """What two partial transcripts have in common, to the end of a word: what comes later will hardly change it."""
    if before == now:
        return now
    common = os.path.commonprefix((before, now))  # noqa: RUF071 - these are no paths
    if len(common) == len(before) and now[len(common)] == " ":
        return common
    return common[: common.rfind(" ")] if " " in common else ""
