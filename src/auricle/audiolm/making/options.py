"""How sound is made: what the three ways of making it have in common."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypedDict, TypeVar

from auricle.audiolm.loading import Loaded, load_audiolm
from auricle.audiolm.making.defaults import FADE_S, MODEL, MOST_S
from auricle.audiolm.making.generating import Manner, Progress, drawn_seed
from auricle.audiolm.making.windows import Frames, Window
from auricle.audiolm.model.sampling import TokenSampling
from auricle.engine.threads import threads_for
from auricle.errors import OptionError

_T = TypeVar("_T")
Threads = Callable[[], AbstractContextManager[None]]


class MakingOptions(TypedDict, total=False):
    """The fields of `Options`, for functions that take them as keyword arguments."""

    model: str | Path | Loaded
    sampling: TokenSampling
    seed: int | None
    window: Window
    fade: float
    max_new_seconds: float
    all_threads: bool
    cancel: threading.Event | None
    progress: Progress


@dataclass(frozen=True)
class Options:
    """How sound is made."""

    model: str | Path | Loaded = MODEL  # a name, a folder, or what `load_audiolm` gave: loaded once for many calls
    sampling: TokenSampling = field(default_factory=TokenSampling)
    seed: int | None = None  # instead of the sampling's; without either, one is drawn, and said in the result
    window: Window = field(default_factory=Window)
    fade: float = FADE_S  # seconds at each seam
    max_new_seconds: float = MOST_S  # more is refused: a slip of the keyboard must not run for a day
    all_threads: bool = False  # use all of torch's, since somebody chose their number; else as many as are worth it
    cancel: threading.Event | None = None  # set it to give up
    progress: Progress = lambda done, whole: None  # frames made, and in all

    def __post_init__(self) -> None:
        if not 0 <= self.fade <= 1:
            raise OptionError(f"fade is {self.fade}; it must be from 0 to 1 second")
        if not 0 < self.max_new_seconds < math.inf:
            raise OptionError(f"max_new_seconds is {self.max_new_seconds}; it must be a number of seconds above 0")

    def loaded(self) -> Loaded:
        return self.model if isinstance(self.model, Loaded) else load_audiolm(self.model)

    def threads(self, loaded: Loaded) -> Threads:
        """What work is done in."""
        if self.all_threads:
            return nullcontext
        return partial(threads_for, loaded.lm.device, sum(weight.numel() for weight in loaded.lm.parameters()))

    def manner(self) -> Manner:
        sampling = self.sampling if self.seed is None else replace(self.sampling, seed=self.seed)
        return Manner(drawn_seed(sampling), cancel=self.cancel, progress=self.progress)

    def frames(self, loaded: Loaded) -> Frames:
        config = loaded.lm.config
        return self.window.frames(config.max_frames, config.frame_rate)

    def check_seconds(self, name: str, seconds: float) -> None:
        """
        Raises:
            OptionError: so much sound isn't made, or so little.
        """
        if not 0 < seconds < math.inf:
            raise OptionError(f"{name} is {seconds}; it must be a number of seconds above 0")
        if seconds > self.max_new_seconds:
            raise OptionError(
                f"{name} is {seconds:g}; at most {self.max_new_seconds:g} s are made: raise max_new_seconds "
                "if so many are meant"
            )


def timed(do: Callable[[], _T], threads: Threads) -> tuple[_T, float]:
    """What it gives, and how many seconds it took."""
    began = time.perf_counter()
    with threads():
        found = do()
    return found, time.perf_counter() - began


def listed(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes without those that say the same again."""
    return tuple(dict.fromkeys(notes))
