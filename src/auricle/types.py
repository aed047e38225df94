"""The words that all rooms share: small frozen dataclasses, no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_args
from urllib.parse import urlsplit

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
        if self.logprobs is not None:
            _require(0 <= self.logprobs <= 20, "logprobs", self.logprobs, "from 0 to 20, or None")
        if isinstance(self.stop, str) or any(not text for text in self.stop):
            raise OptionError("stop must be a tuple of strings, none of them empty")
        given = [name for name in ("choices", "regex", "json_schema") if getattr(self, name) not in ((), None)]
        if len(given) > 1:
            raise OptionError(f"{' and '.join(given)} are given; an answer is held to one constraint: keep one of them")
        if "choices" in given:
            object.__setattr__(self, "choices", _choices(self.choices))
        if "regex" in given:
            _require_text("regex", self.regex)
        if "json_schema" in given:
            object.__setattr__(self, "json_schema", _schema_text(self.json_schema))


def _choices(choices: object) -> tuple[str, ...]:
    """Choices as a tuple, each checked to be an answer and given once."""
    if not isinstance(choices, tuple | list) or not choices:
        raise OptionError(f"choices is {choices!r}; it must be a tuple of strings, such as ('yes', 'no')")
    seen: set[str] = set()
    for choice in choices:
        _require_text("a choice", choice)
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
    _require_text("json_schema", schema)
    try:
        read = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"json_schema is no JSON ({error}): give a JSON schema as JSON text") from error
    if not isinstance(read, dict | bool):
        raise OptionError(f'json_schema is {schema[:40]!r}; it must be a JSON object such as {{"type": "integer"}}')
    return schema


def _require_text(name: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip():
        raise OptionError(f"{name} is {text!r}; it must be a string that is not blank")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a pair of surrogates, or bytes of a command line that are no UTF-8
        raise OptionError(f"{name} has a character at {error.start + 1} that is no text: spell it in UTF-8") from error


def _require(fits: bool, name: str, value: object, allowed: str) -> None:
    if not fits:
        raise OptionError(f"{name} is {value}; it must be {allowed}")


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
        _require(isinstance(self.priority, int), "priority", repr(self.priority), "a whole number")
        if self.timeout_s is not None:
            seconds = self.timeout_s if isinstance(self.timeout_s, int | float) else 0
            _require(0 < seconds < math.inf, "timeout_s", repr(self.timeout_s), "a number of seconds above 0")


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
            _require(False, "rate", self.rate, "at least 1000 samples per second")
        _require(0.04 <= self.step <= 10, "step", self.step, "from 0.04 (a token) to 10 seconds")
        if self.pause is not None:
            _require(0.1 <= self.pause < math.inf, "pause", self.pause, "at least 0.1 seconds")
        _require(self.vad in ("auto", "silero", "energy"), "vad", repr(self.vad), "'auto', 'silero' or 'energy'")


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

    queued_s: float = 0.0  # before anything was done for it: others were first
    mel_s: float = 0.0
    encoder_s: float = 0.0
    prefill_s: float = 0.0
    ttft_s: float = 0.0  # time to first token: from the request to the first token, all that stands between included
    decode_s: float = 0.0  # from the first token to the last
    decode_tokens_per_s: float = 0.0  # of the tokens after the first
    total_s: float = 0.0


@dataclass(frozen=True)
class TokenLogprob:
    """How likely a token was to the model, before temperature, penalties and constraints."""

    spelt: bytes  # what it adds to a text, which may be a part of a character; of a control token, its name
    logprob: float  # natural logarithm
    top: tuple[TokenLogprob, ...] = ()  # the likeliest in its place, as many as were asked for; these have none

    @property
    def text(self) -> str:
        return self.spelt.decode(errors="replace")


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
    reused_tokens: int = 0  # of the prompt, whose keys and values were there already
    reused_clips: int = 0  # that were not encoded again
    trace: dict[str, Any] | None = field(default=None, compare=False)  # filled when a trace was asked for
    logprobs: tuple[TokenLogprob, ...] | None = None  # of each of `tokens`, when they were asked for


@dataclass(frozen=True)
class TranscriptSegment:
    """What was said in one piece of a sound."""

    source: str
    start_s: float
    end_s: float
    text: str
    notes: tuple[str, ...] = ()  # what the user should know of this piece: its text was cut, ...


@dataclass(frozen=True)
class TranscriptPart:
    """A bit of a transcript that is being written: text as it comes, and its segment with the last of that."""

    text: str
    segment: TranscriptSegment | None = None


@dataclass(frozen=True)
class Transcript:
    """What was said, piece by piece; sound is cut at pauses into pieces that the model takes."""

    text: str
    segments: tuple[TranscriptSegment, ...]
    notes: tuple[str, ...] = ()  # what the user should know: a piece whose text was cut, ...


@dataclass(frozen=True)
class ChoiceScore:
    """How likely one answer is, as a whole."""

    choice: str
    logprob: float  # natural logarithm; of all its tokens and of the answer ending there
    tokens: tuple[int, ...]
    token_logprobs: tuple[float, ...]  # of each token after those before it, then of the end


@dataclass(frozen=True)
class Scores:
    """How likely each of some answers is."""

    choices: tuple[ChoiceScore, ...]  # in the order asked
    prompt_tokens: int
    segments: tuple[Segment, ...]
    timings: Timings
    reused_tokens: int = 0
    reused_clips: int = 0

    @property
    def best(self) -> str:
        return max(self.choices, key=lambda score: score.logprob).choice

    @property
    def probabilities(self) -> dict[str, float]:
        """Of each choice, if the answer is one of them."""
        most = max(score.logprob for score in self.choices)
        shares = {score.choice: math.exp(score.logprob - most) for score in self.choices}
        return {choice: share / sum(shares.values()) for choice, share in shares.items()}


@dataclass(frozen=True)
class Label:
    """One label, and how probable it is."""

    name: str
    probability: float


@dataclass(frozen=True)
class Labels:
    """What a sound is, as labels: the most probable first."""

    labels: tuple[Label, ...]
    segments: tuple[Segment, ...]  # every clip that was heard
    timings: Timings
    multiple: bool = False  # each label is true or not by itself; otherwise one of them is, and they add up to 1
    notes: tuple[str, ...] = ()  # what the user should know: sound that was cut, ...

    @property
    def best(self) -> str:
        return self.labels[0].name

    @property
    def probabilities(self) -> dict[str, float]:
        return {label.name: label.probability for label in self.labels}


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
        _require(self.max_running >= 1, "max_running", self.max_running, "at least 1")
        _require(self.max_queue >= 0, "max_queue", self.max_queue, "at least 0")


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
        _require(
            number and 0 < self.timeout <= 1e6, "timeout", repr(self.timeout), "a number of seconds above 0, up to 1e6"
        )
        whole = isinstance(self.retries, int) and not isinstance(self.retries, bool)
        _require(whole and 0 <= self.retries <= 100, "retries", repr(self.retries), "a whole number from 0 to 100")


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


@dataclass(frozen=True)
class Chunk:
    """What a stream yields: new text as soon as it is final. The last chunk carries the answer."""

    text: str
    answer: Answer | None = None
    logprobs: tuple[TokenLogprob, ...] = ()  # of the tokens since the chunk before, when they were asked for


# --- representations

Stage = Literal["encoder", "tower", "projector", "llm"]
"""Where in a model vectors are taken from.

encoder: the blocks of the audio encoder; layer 0 is what the first is given, n what block n gives.
tower: what leaves the audio tower for the projector.
projector: audio tokens as the language model is given them.
llm: the decoder's blocks; layer 0 is its input, audio tokens among it, the last is what comes after the final norm.
"""

TokenChoice = Literal["audio", "text", "last", "all"]
VectorKind = Literal["audio", "text", "all"]
Layers: TypeAlias = str | int | tuple[int, ...]
"""Which layers: "-1", "0,4,-1", "8:24:4" (a slice, as Python has them), "all"; or numbers."""


@dataclass(frozen=True)
class StageShape:
    """What a model's stage gives."""

    blocks: int  # so that layers go from 0 to this; 0 is a stage of one output, to which layers don't apply
    width: int  # numbers in a vector
    step_s: float  # seconds that one vector of sound covers


class ExtractionOptions(TypedDict, total=False):
    """The fields of `Extraction`, for functions that take them as keyword arguments."""

    stage: Stage
    layers: Layers
    tokens: TokenChoice
    pooling: str
    prompt: str
    order: Order
    overlap: float
    dtype: Literal["float32", "float16"]


@dataclass(frozen=True)
class Extraction:
    """What to take out of a model that hears a sound."""

    stage: Stage = "encoder"
    layers: Layers = "-1"
    tokens: TokenChoice = "audio"  # other than audio: of stage llm only; "last" is the prompt's last position
    pooling: str = "none"  # or mean, max, last, window=SECONDS
    prompt: str = DEFAULT_QUESTION  # of stage llm only, as `order` is
    order: Order | None = None
    overlap: float = 5.0  # seconds that neighbouring chunks share of a sound longer than a clip
    dtype: Literal["float32", "float16"] = "float32"  # of the vectors given, whatever the model computes in

    def __post_init__(self) -> None:
        for name in ("stage", "tokens", "dtype", *(["order"] if self.order is not None else [])):
            _require_one_of(name, getattr(self, name), _CHOICES[name])
        if self.tokens != "audio" and self.stage != "llm":
            raise OptionError(f"tokens is {self.tokens!r}, and stage {self.stage!r} has audio alone: use stage 'llm'")
        _require_text("prompt", self.prompt)
        number = isinstance(self.overlap, int | float) and not isinstance(self.overlap, bool)
        _require(
            number and 0 <= self.overlap < math.inf, "overlap", repr(self.overlap), "a number of seconds from 0 up"
        )
        if self.window is not None and self.tokens != "audio":
            raise OptionError(f"pooling is {self.pooling!r}, which is of sound alone: use tokens 'audio'")

    @property
    def window(self) -> float | None:
        """Of windows that are pooled, the seconds; None for any other pooling."""
        if self.pooling in ("none", "mean", "max", "last"):
            return None
        name, _, value = str(self.pooling).partition("=")
        try:
            seconds = float(value) if name == "window" else 0.0
        except ValueError:
            seconds = 0.0
        known = "none, mean, max, last or window=SECONDS, such as window=1.0"
        _require(0 < seconds < math.inf, "pooling", repr(self.pooling), known)
        return seconds


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a sound looks like inside a model: a vector for every stretch of time and asked layer, or pooled ones."""

    vectors: NDArray[Any]  # (layers, vectors, width), of the dtype asked for
    layers: tuple[int, ...]  # counted from 0, in the order asked for
    start_s: NDArray[np.float64]  # (vectors,) seconds in the source; NaN where a vector is of text alone
    end_s: NDArray[np.float64]
    kinds: tuple[VectorKind, ...]  # what each vector is of; "all" is pooled from sound and text
    source: str
    seconds: float  # of the sound
    chunks: int  # clips that the sound was cut into
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenLabel:
    """One position of a prompt."""

    kind: Literal["audio", "text"]
    text: str  # how the tokenizer writes it
    clip: int | None = None  # of sound: which clip of the prompt, counted from 0
    start_s: float = math.nan  # of sound: seconds in the clip's source
    end_s: float = math.nan


@dataclass(frozen=True, eq=False)
class HiddenStates:
    """What layers of the decoder give in one forward pass over a prompt."""

    values: NDArray[np.float32]  # (layers, tokens, width)
    layers: tuple[int, ...]  # counted from 0: 0 is the embeddings, the last comes after the final norm
    tokens: tuple[TokenLabel, ...]
    segments: tuple[Segment, ...]  # the clips of the prompt, in order
    notes: tuple[str, ...] = ()

    def of(self, kind: Literal["audio", "text"], clip: int | None = None) -> HiddenStates:
        """The positions of sound alone, all or one clip's; or of text alone."""
        at = [i for i, token in enumerate(self.tokens) if token.kind == kind and clip in (None, token.clip)]
        if not at:
            raise OptionError(f"no token is of kind {kind!r}" + ("" if clip is None else f" and clip {clip}"))
        return replace(self, values=self.values[:, at], tokens=tuple(self.tokens[i] for i in at))

    def layer(self, number: int) -> NDArray[np.float32]:
        """`(tokens, width)` of one layer, by its own number; -1 is the last one here."""
        if number != -1 and number not in self.layers:
            raise OptionError(f"layer {number} is not among those taken: {', '.join(map(str, self.layers))}")
        return self.values[-1 if number == -1 else self.layers.index(number)]


_CHOICES: dict[str, tuple[str, ...]] = {
    "stage": get_args(Stage),
    "tokens": get_args(TokenChoice),
    "order": get_args(Order),
    "dtype": ("float32", "float16"),
}


def _require_one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    _require(value in known, name, repr(value), f"{', '.join(map(repr, known[:-1]))} or {known[-1]!r}")
