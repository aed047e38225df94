"""What comes back: answers, transcripts, scores and labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length"]


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
class Chunk:
    """What a stream yields: new text as soon as it is final. The last chunk carries the answer."""

    text: str
    answer: Answer | None = None
    logprobs: tuple[TokenLogprob, ...] = ()  # of the tokens since the chunk before, when they were asked for


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
class AskedOrder:
    """What a model said that was asked with the labels in one order."""

    labels: tuple[str, ...]  # in the order in which the prompt names them
    prompt: str
    logprobs: tuple[float, ...]  # of each of `Asked.labels`: natural logarithm of all answers that say it, summed


@dataclass(frozen=True)
class Asked:
    """How a model was asked for labels, and the log-likelihoods behind their probabilities."""

    prompt_id: str  # the prompt's name and a fingerprint of its text
    labels: tuple[str, ...]  # as they were given
    orders: tuple[AskedOrder, ...]


@dataclass(frozen=True)
class Labels:
    """What a sound is, as labels: the most probable first."""

    labels: tuple[Label, ...]
    segments: tuple[Segment, ...]  # every clip that was heard
    timings: Timings
    multiple: bool = False  # each label is true or not by itself; otherwise one of them is, and they add up to 1
    notes: tuple[str, ...] = ()  # what the user should know: sound that was cut, ...
    asked: Asked | None = None  # of a model that was asked; None of a head

    @property
    def best(self) -> str:
        return self.labels[0].name

    @property
    def probabilities(self) -> dict[str, float]:
        return {label.name: label.probability for label in self.labels}
