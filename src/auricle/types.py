"""The words that all rooms share: small frozen dataclasses, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from auricle.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Order = Literal["text-first", "audio-first"]
FinishReason = Literal["stop", "length"]

DEFAULT_QUESTION = "Describe what you hear in this audio."


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound as every room below the CLI sees it."""

    samples: NDArray[np.float32]  # (samples,), mono, in [-1, 1]
    rate: int  # samples per second
    source: str = "audio"  # what to call it in messages: a file's name, "stdin", ...
    start_s: float = 0.0  # where it starts in its source, when it is a piece of a longer sound

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Message:
    """One turn. Parts keep the order given: nothing reorders them."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[str | Audio, ...]


class SamplingOptions(TypedDict, total=False):
    """The fields of `Sampling`, for functions that take them as keyword arguments."""

    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    seed: int
    stop: tuple[str, ...]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. The defaults are greedy."""

    max_tokens: int = 80  # at most so many new tokens
    temperature: float = 0.0  # 0 is greedy; higher is more random
    top_k: int = 0  # keep the k likeliest tokens; 0 keeps all
    top_p: float = 1.0  # keep the likeliest tokens that together hold this probability
    min_p: float = 0.0  # keep tokens at least this fraction as likely as the likeliest
    repetition_penalty: float = 1.0  # above 1, tokens already in the prompt or the answer get less likely
    seed: int = 0  # of the random choices; unused when greedy
    stop: tuple[str, ...] = ()  # the answer ends before the first of these strings

    def __post_init__(self) -> None:
        _require(self.max_tokens >= 1, "max_tokens", self.max_tokens, "at least 1")
        _require(0 <= self.temperature < math.inf, "temperature", self.temperature, "a number from 0 up")
        _require(self.top_k >= 0, "top_k", self.top_k, "at least 0 (0 keeps all tokens)")
        _require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1")
        _require(0 <= self.min_p < 1, "min_p", self.min_p, "at least 0 and below 1")
        _require(
            0 < self.repetition_penalty < math.inf,
            "repetition_penalty",
            self.repetition_penalty,
            "a number above 0",
        )
        _require(0 <= self.seed < 2**63, "seed", self.seed, "from 0 to 2**63 - 1")
        if isinstance(self.stop, str) or any(not text for text in self.stop):
            raise OptionError("stop must be a tuple of strings, none of them empty")


def _require(fits: bool, name: str, value: object, allowed: str) -> None:
    if not fits:
        raise OptionError(f"{name} is {value}; it must be {allowed}")


@dataclass(frozen=True)
class Segment:
    """One clip as the model heard it: a whole sound, or a piece of one that was cut at pauses."""

    source: str  # the sound it came from
    start_s: float  # where it starts in that sound, in seconds
    end_s: float
    tokens: int  # how many audio tokens it became


@dataclass(frozen=True)
class Timings:
    """Where the time of one request went, in seconds."""

    mel_s: float = 0.0
    encoder_s: float = 0.0
    prefill_s: float = 0.0
    ttft_s: float = 0.0  # time to first token: from the request to the first token, mel and encoder included
    decode_s: float = 0.0  # from the first token to the last
    decode_tokens_per_s: float = 0.0  # of the tokens after the first
    total_s: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A finished answer and the record of how it came about."""

    text: str
    tokens: tuple[int, ...]  # the ids sampled, the stop token included
    finish_reason: FinishReason
    prompt_tokens: int
    segments: tuple[Segment, ...]  # every clip in the prompt, in order
    timings: Timings
    notes: tuple[str, ...] = ()  # what the user should know: sound that was cut, ...
    trace: dict[str, Any] | None = field(default=None, compare=False)  # filled when a trace was asked for


@dataclass(frozen=True)
class TranscriptSegment:
    """What was said in one piece of a sound."""

    source: str
    start_s: float
    end_s: float
    text: str
    notes: tuple[str, ...] = ()  # what the user should know of this piece: its text was cut, ...


@dataclass(frozen=True)
class Transcript:
    """What was said, piece by piece; sound is cut at pauses into pieces that the model takes."""

    text: str
    segments: tuple[TranscriptSegment, ...]
    notes: tuple[str, ...] = ()  # what the user should know: a piece whose text was cut, ...


@dataclass(frozen=True)
class Chunk:
    """What a stream yields: new text as soon as it is final. The last chunk carries the answer."""

    text: str
    answer: Answer | None = None
