"""A run that is asked to stop does so after its step, when it can be gone on with."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from auricle.audiolm.training.launch import PARENT

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ENDING = "ending the step and saving it; Ctrl-C again breaks off and loses it"


class Stop:
    """Within `with`, Ctrl-C (or SIGTERM) is only noted; a second one breaks off at once.

    Args:
        minutes: until the time is up; 0: never.
        noted: called when it is asked to stop.
    """

    def __init__(self, minutes: float = 0.0, noted: Callable[[], None] = lambda: None) -> None:
        self._asked, self._noted = False, noted
        self._parent = os.environ.get(PARENT)
        self._end = time.monotonic() + 60 * minutes if minutes else None
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether somebody wants it to stop, or who launched it is gone."""
        return self._asked or (self._parent is not None and str(os.getppid()) != self._parent)

    @property
    def time_is_up(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._noted()
