"""What is asked: sound, messages, how tokens are chosen, how a request is treated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from auricle.errors import OptionError
from auricle.types.checks import require, require_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Order = Literal["text-first", "audio-first"]


DEFAULT_QUESTION = "Describe what you hear in this audio."


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound as every room below the CLI sees it."""

    samples: NDArray[np.float32]  # (samples,), mono, in [-1, 1]
    rate: int  # samples per second
    source: str = "audio"  # what to call it in messages: a file's name, "stdin", ...
    start_s: float = 0.0  # where it starts in its source, when it is a piece of a longer sound
    channels: int = 1  # of its source, mixed into this one

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
    choices: tuple[str, ...]
    regex: str | None
    json_schema: str | Mapping[str, Any] | None
    logprobs: int | None


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. The defaults are greedy, and the answer is free.

    `choices`, `regex` and `json_schema` hold the answer to a constraint, at most one of them.
    """

    max_tokens: int = 80  # at most so many new tokens
    temperature: float = 0.0  # 0 is greedy; higher is more random
    top_k: int = 0  # keep the k likeliest tokens; 0 keeps all
    top_p: float = 1.0  # keep the likeliest tokens that together hold this probability
    min_p: float = 0.0  # keep tokens at least this fraction as likely as the likeliest
    repetition_penalty: float = 1.0  # above 1, tokens already in the prompt or the answer get less likely
    seed: int = 0  # of the random choices; unused when greedy
    stop: tuple[str, ...] = ()  # the answer ends before the first of these strings
    choices: tuple[str, ...] = ()  # the answer is one of these, to the letter
    regex: str | None = None  # the answer as a whole matches it
    json_schema: str | Mapping[str, Any] | None = None  # the answer is JSON that fits it; kept as JSON text
    logprobs: int | None = None  # how likely each token was, and so many others that were likeliest; None: not told

    def __post_init__(self) -> None:
        require(self.max_tokens >= 1, "max_tokens", self.max_tokens, "at least 1")
        require(0 <= self.temperature < math.inf, "temperature", self.temperature, "a number from 0 up")
        require(self.top_k >= 0, "top_k", self.top_k, "at least 0 (0 keeps all tokens)")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1")
        require(0 <= self.min_p < 1, "min_p", self.min_p, "at least 0 and below 1")
        require(
            0 < self.repetition_penalty < math.inf,
            "repetition_penalty",
            self.repetition_penalty,
            "a number above 0",
        )
        require(0 <= self.seed < 2**63, "seed", self.seed, "from 0 to 2**63 - 1")
        if self.logprobs is not None:
            require(0 <= self.logprobs <= 20, "logprobs", self.logprobs, "from 0 to 20, or None")
        if isinstance(self.stop, str) or any(not text for text in self.stop):
            raise OptionError("stop must be a tuple of strings, none of them empty")
        given = [name for name in ("choices", "regex", "json_schema") if getattr(self, name) not in ((), None)]
        if len(given) > 1:
            raise OptionError(f"{' and '.join(given)} are given; an answer is held to one constraint: keep one of them")
        if "choices" in given:
            object.__setattr__(self, "choices", _choices(self.choices))
        if "regex" in given:
            require_text("regex", self.regex)
        if "json_schema" in given:
            object.__setattr__(self, "json_schema", _schema_text(self.json_schema))


def _choices(choices: object) -> tuple[str, ...]:
    """Choices as a tuple, each checked to be an answer and given once."""
    if not isinstance(choices, tuple | list) or not choices:
        raise OptionError(f"choices is {choices!r}; it must be a tuple of strings, such as ('yes', 'no')")
    seen: set[str] = set()
    for choice in choices:
        require_text("a choice", choice)
        if choice != choice.strip():
            raise OptionError(f"choice {choice!r} begins or ends with white space, and no answer does: take it off")
        if choice in seen:
            raise OptionError(f"choices has {choice!r} {choices.count(choice)} times: give each choice once")
        seen.add(choice)
    return tuple(choices)


def _schema_text(schema: object) -> str:
    """A schema given as JSON text, or as the objects that such a text describes -> the text, checked."""
    if not isinstance(schema, str):
        try:
            schema = json.dumps(dict(schema) if isinstance(schema, Mapping) else schema, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise OptionError(f"json_schema can't be written as JSON ({error}): use only what JSON has") from error
    require_text("json_schema", schema)
    try:
        read = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"json_schema is no JSON ({error}): give a JSON schema as JSON text") from error
    if not isinstance(read, dict | bool):
        raise OptionError(f'json_schema is {schema[:40]!r}; it must be a JSON object such as {{"type": "integer"}}')
    return schema


class TermOptions(TypedDict, total=False):
    """What a request may say of how it is treated: fields of `Ask`, for functions that take keyword arguments."""

    zero_audio: bool
    priority: int
    timeout_s: float | None
    cancel: Event | None


class AskOptions(SamplingOptions, TermOptions, total=False):
    """All that may be said of a request beside its question."""

    trace: bool


@dataclass(frozen=True)
class Ask:
    """One request to a model."""

    messages: tuple[Message, ...]  # sounds at the model's rate, each short enough for one clip
    sampling: Sampling = field(default_factory=Sampling)
    zero_audio: bool = False  # the ablation: every audio token becomes zeros
    trace: bool = False  # fill the answer's trace
    priority: int = 0  # where several wait, those of higher priority go first
    timeout_s: float | None = None  # until the answer must be done; None is for ever
    cancel: Event | None = None  # when another thread sets it, the request is given up
    notes: tuple[str, ...] = ()  # what the answer's notes begin with

    def __post_init__(self) -> None:
        require(isinstance(self.priority, int), "priority", repr(self.priority), "a whole number")
        if self.timeout_s is not None:
            seconds = self.timeout_s if isinstance(self.timeout_s, int | float) else 0
            require(0 < seconds < math.inf, "timeout_s", repr(self.timeout_s), "a number of seconds above 0")
