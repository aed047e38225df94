"""How sound is made: what the three ways of making it have in common."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TypedDict, TypeVar

from auricle.audiolm.loading import Loaded, load_audiolm
from auricle.audiolm.making.defaults import DAY_S, FADE_S, MODEL, MOST_S
from auricle.audiolm.making.generating import Manner, Progress, with_seed
from auricle.audiolm.making.windows import Frames, Window
from auricle.audiolm.model.sampling import TokenSampling
from auricle.engine.threads import threads_for
from auricle.errors import OptionError
from auricle.types.checks import require

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
        require(finite(self.fade) and 0 <= self.fade <= 1, "fade", repr(self.fade), "from 0 to 1 second")
        most = self.max_new_seconds
        fits = finite(most) and 0 < most <= DAY_S
        require(fits, "max_new_seconds", repr(most), f"a number of seconds above 0, at most a day ({DAY_S:g})")

    def loaded(self) -> Loaded:
        return self.model if isinstance(self.model, Loaded) else load_audiolm(self.model)

    def threads(self, loaded: Loaded) -> Threads:
        """What work is done in."""
        if self.all_threads:
            return nullcontext
        return partial(threads_for, loaded.lm.device, sum(weight.numel() for weight in loaded.lm.parameters()))

    def manner(self) -> Manner:
        sampling = self.sampling if self.seed is None else replace(self.sampling, seed=self.seed)
        return Manner(with_seed(sampling), cancel=self.cancel, progress=self.progress)

    def frames(self, loaded: Loaded, *, beside: int = 0) -> Frames:
        """The window, within what the model takes in one go less what it hears beside it."""
        config = loaded.lm.config
        return self.window.frames(config.max_frames - beside, config.frame_rate)

    def check_seconds(self, name: str, seconds: float) -> None:
        """
        Raises:
            OptionError: so much sound isn't made, or so little.
        """
        require(finite(seconds) and seconds > 0, name, repr(seconds), "a number of seconds above 0")
        if seconds > self.max_new_seconds:
            raise OptionError(
                f"{name} is {seconds:.9g}; at most {self.max_new_seconds:.9g} s are made: raise max_new_seconds "
                "if so many are meant"
            )


def finite(value: object) -> bool:
    """Whether it is a number, of Python's or NumPy's, and neither NaN nor infinite."""
    return isinstance(value, Real) and math.isfinite(value)


def timed(do: Callable[[], _T], threads: Threads) -> tuple[_T, float]:
    """What it gives, and how many seconds it took."""
    began = time.perf_counter()
    with threads():
        found = do()
    return found, time.perf_counter() - began


def listed(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes without those that say the same again."""
    return tuple(dict.fromkeys(notes))
