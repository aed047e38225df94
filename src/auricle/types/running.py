"""How a model runs: live sound, many requests at once, a server, caches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from auricle.errors import OptionError
from auricle.types.checks import require

Vad = Literal["auto", "silero", "energy"]


@dataclass(frozen=True)
class Listening:
    """How a live session takes sound in."""

    rate: int | None = None  # samples per second of what is fed; None is the model's own
    step: float = 0.5  # seconds of sound that are heard at a time: shorter answers sooner, and costs more
    pause: float | None = None  # seconds of silence after speech that mean the speaker has stopped; None: nothing does
    vad: Vad = "auto"  # what tells speech from silence; auto is Silero where it is installed
    source: str = "live"  # what to call the sound in messages

    def __post_init__(self) -> None:
        if isinstance(self.rate, int) and 0 < self.rate < 1000:  # one that is no rate at all is the intake's to refuse
            require(False, "rate", self.rate, "at least 1000 samples per second")
        require(0.04 <= self.step <= 10, "step", self.step, "from 0.04 (a token) to 10 seconds")
        if self.pause is not None:
            require(0.1 <= self.pause < math.inf, "pause", self.pause, "at least 0.1 seconds")
        require(self.vad in ("auto", "silero", "energy"), "vad", repr(self.vad), "'auto', 'silero' or 'energy'")


@dataclass(frozen=True)
class CacheUse:
    """What a model keeps of earlier requests, and how often that was of use."""

    bytes: int
    capacity: int  # bytes; what was used longest ago goes when they are full
    clips: int  # encoded ones
    clip_hits: int
    clip_misses: int
    prefixes: int  # prompts and answers that were read
    prefix_hits: int
    prefix_misses: int
    reused_tokens: int  # positions that were not read again


@dataclass(frozen=True)
class Scheduling:
    """How requests to one model share it."""

    max_running: int = 8  # answered at the same time; more give a CPU no more tokens a second
    max_queue: int = 64  # that wait beyond these; one more is refused

    def __post_init__(self) -> None:
        require(self.max_running >= 1, "max_running", self.max_running, "at least 1")
        require(self.max_queue >= 0, "max_queue", self.max_queue, "at least 0")


@dataclass(frozen=True)
class Remote:
    """The server that answers, of a model that runs on one."""

    base_url: str | None = None  # such as http://localhost:8000/v1; None is what OPENAI_BASE_URL says
    timeout: float = 600.0  # seconds until one attempt must be done
    retries: int = 3  # further attempts, when the server is busy, fails or can't be reached before its first text

    def __post_init__(self) -> None:
        if self.base_url is not None:
            _require_url("base_url", self.base_url)
        number = isinstance(self.timeout, int | float) and not isinstance(self.timeout, bool)
        require(
            number and 0 < self.timeout <= 1e6, "timeout", repr(self.timeout), "a number of seconds above 0, up to 1e6"
        )
        whole = isinstance(self.retries, int) and not isinstance(self.retries, bool)
        require(whole and 0 <= self.retries <= 100, "retries", repr(self.retries), "a whole number from 0 to 100")


def _require_url(name: str, url: object) -> None:
    """An address that can be asked, without a password in it: messages name it."""
    wanted = "must be an address such as http://localhost:8000/v1"
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise OptionError(f"{name} is {url!r}; it {wanted}")
    except ValueError as error:  # a port that is no number, a bracket that is not closed
        raise OptionError(f"{name} is {url!r} ({error}); it {wanted}") from error
    if parts.username or parts.password:
        raise OptionError(f"{name} has a user or password in it, which messages would show: set OPENAI_API_KEY instead")
    if parts.query or parts.fragment:
        raise OptionError(f"{name} is {url!r}; it {wanted}, without ? and #")
