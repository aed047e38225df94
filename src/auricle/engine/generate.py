"""One request from messages to an answer: hear, render the prompt, prefill, decode.

Everything that answers goes through `stream`: the command line, the library, and what is built on them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from auricle.engine.sampling import Sampler
from auricle.engine.trace import Statistics, Trace
from auricle.errors import AuricleError, PromptError
from auricle.models.family import Family, Prompt
from auricle.models.text import Detokenizer
from auricle.types import Answer, Audio, Chunk, FinishReason, Message, Sampling, Segment, Timings


@dataclass
class _Clock:
    """Collects what `Timings` reports; `mark` waits for the device, so that a stage's time is its own."""

    device: torch.device
    started: float = field(default_factory=time.perf_counter)
    mel_s: float = 0.0
    encoder_s: float = 0.0
    prefill_s: float = 0.0
    first_token: float = 0.0

    def mark(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()  # not the device: another thread may be capturing
        return time.perf_counter()

    def timings(self, tokens: int) -> Timings:
        now = self.mark()
        decode_s = now - self.first_token
        return Timings(
            mel_s=self.mel_s,
            encoder_s=self.encoder_s,
            prefill_s=self.prefill_s,
            ttft_s=self.first_token - self.started,
            decode_s=decode_s,
            decode_tokens_per_s=(tokens - 1) / decode_s if tokens > 1 else 0.0,
            total_s=now - self.started,
        )


@dataclass(frozen=True)
class _Heard:
    """The audio of a request: its tokens in order, and where each clip came from."""

    tokens: Tensor | None  # (audio tokens, hidden); None when no message has sound
    segments: tuple[Segment, ...]


@torch.inference_mode()  # as a decorator: between two chunks the caller's own code runs, and not in that mode
def stream(
    family: Family,
    messages: list[Message],
    sampling: Sampling,
    *,
    zero_audio: bool = False,
    trace: Trace | None = None,
) -> Iterator[Chunk]:
    """Answers the last message, yielding text as soon as it is final.

    Args:
        messages: their sounds at the family's rate, each short enough for one clip.
        zero_audio: replaces the audio tokens by zeros: what is answered then owes nothing to the sound.
        trace: filled on the way.

    Yields:
        Chunks; the last one has no text of its own but carries the Answer.

    Raises:
        SoundError: a clip is too short or too long.
        PromptError: the prompt doesn't fit the context, or the model.
    """
    clock = _Clock(family.device)
    sounds = [part for message in messages for part in message.parts if isinstance(part, Audio)]
    _check_length(family, messages, sounds)
    heard = _hear(family, sounds, clock, trace)
    prompt = family.prompt(messages, [segment.tokens for segment in heard.segments])
    _check_context(prompt, family.context)
    audio = torch.zeros_like(heard.tokens) if zero_audio and heard.tokens is not None else heard.tokens
    if trace is not None:
        trace.prompt_ids, trace.layout = prompt.ids, prompt.layout
    yield from _decode(family, prompt, audio, heard.segments, sampling, clock, trace)


def _check_length(family: Family, messages: list[Message], sounds: list[Audio]) -> None:
    """Refuses what can't fit before minutes of encoding: audio tokens alone, or with the text around them."""
    counts = [family.audio_tokens(len(sound.samples)) for sound in sounds]
    if sum(counts) >= family.context:
        raise _too_long(sum(counts), family.context)
    if all(counts):
        _check_context(family.prompt(messages, counts), family.context)


def _check_context(prompt: Prompt, context: int) -> None:
    if len(prompt.ids) >= context:
        raise _too_long(len(prompt.ids), context)


def _too_long(tokens: int, context: int) -> PromptError:
    return PromptError(
        f"the prompt has {tokens} tokens and the model's context holds {context}: use less sound (25 tokens a second), "
        "fewer turns, or a model with a longer context"
    )


def _hear(family: Family, sounds: list[Audio], clock: _Clock, trace: Trace | None) -> _Heard:
    """Features and encoder, clip by clip."""
    encoded: list[Tensor] = []
    segments = []
    for i, sound in enumerate(sounds):
        begun = clock.mark()
        features = family.features(sound.samples)
        featured = clock.mark()
        if trace is None:
            tokens = family.encode(features)
        else:
            trace.features.append(Statistics.of(f"clip {i + 1} mel", torch.from_numpy(features)))
            with trace.watching(family.model):
                tokens = family.encode(features)
            trace.features.append(Statistics.of(f"clip {i + 1} audio tokens", tokens))
        clock.mel_s += featured - begun
        clock.encoder_s += clock.mark() - featured
        expected = family.audio_tokens(len(sound.samples))
        if len(tokens) != expected:
            raise AuricleError(f"the encoder gave {len(tokens)} tokens where {expected} were promised")
        segments.append(Segment(sound.source, sound.start_s, sound.start_s + sound.seconds, len(tokens)))
        encoded.append(tokens)
    return _Heard(torch.cat(encoded) if encoded else None, tuple(segments))


def _decode(
    family: Family,
    prompt: Prompt,
    audio: Tensor | None,
    segments: tuple[Segment, ...],
    sampling: Sampling,
    clock: _Clock,
    trace: Trace | None,
) -> Iterator[Chunk]:
    """Prefill, then a token at a time until a stop token, a stop string, `max_tokens` or the end of the context."""
    sampler = Sampler(sampling, prompt.ids)
    writer = _Writer(Detokenizer(family.codec), sampling.stop, family.hidden_span)
    cache = family.new_cache(observed=trace is not None)
    begun = clock.mark()
    if trace is None:
        logits = family.read(prompt.ids, audio, cache)[-1]
    else:
        with trace.watching(family.model):
            logits = family.read(prompt.ids, audio, cache)[-1]
    clock.prefill_s = clock.mark() - begun
    budget = min(sampling.max_tokens, family.context - len(prompt.ids))
    sampled: list[int] = []
    finish: FinishReason = "length"
    while True:
        token = sampler.pick(logits)
        sampled.append(token)
        if len(sampled) == 1:
            clock.first_token = clock.mark()
        if trace is not None:
            trace.sample(token, family.codec.token(token), logits)
        if token in family.stop_ids:
            finish = "stop"
            break
        text = writer.add(token)
        if text:
            yield Chunk(text)
        if writer.stopped or len(sampled) == budget:
            break
        logits = family.read([token], None, cache)[-1]
    rest = writer.finish()
    if rest:
        yield Chunk(rest)
    if writer.stopped:  # also by a stop string that shows only now, before a character that never came whole
        finish = "stop"
    notes = _notes(finish, budget, sampling, writer)
    answer = Answer(
        text=writer.text.strip(),
        tokens=tuple(sampled),
        finish_reason=finish,
        prompt_tokens=len(prompt.ids),
        segments=segments,
        timings=clock.timings(len(sampled)),
        notes=notes,
        trace=trace.as_dict() if trace is not None else None,
    )
    yield Chunk("", answer)


def _notes(finish: FinishReason, budget: int, sampling: Sampling, writer: _Writer) -> tuple[str, ...]:
    if finish == "stop":
        return ()
    reason = "max_tokens" if budget == sampling.max_tokens else "the model's context is full"
    thinking = "; it was still thinking" if writer.hidden else ""
    return (f"the answer was cut after {budget} tokens ({reason}){thinking}",)


class _Writer:
    """From tokens to the text that may be shown: hidden spans left out, stop strings held back and cut off."""

    def __init__(self, detokenizer: Detokenizer, stop: tuple[str, ...], hidden_span: tuple[int, int] | None) -> None:
        self.text = ""  # shown so far
        self.stopped = False  # a stop string was met
        self.hidden = False  # within a hidden span
        self._detokenizer, self._stop = detokenizer, stop
        self._opening, self._closing = hidden_span or (-1, -1)
        self._held = ""  # could be the beginning of a stop string

    def add(self, token: int) -> str:
        if token in (self._opening, self._closing):
            self.hidden = token == self._opening
            return ""
        return "" if self.hidden else self._show(self._detokenizer.add(token))

    def finish(self) -> str:
        if self.stopped:
            return ""
        shown = self._show(self._detokenizer.flush())
        rest, self._held = self._held, ""
        if not self.stopped:
            self.text += rest
            shown += rest
        return shown

    def _show(self, new: str) -> str:
        text = self._held + new
        places = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if places:
            self.stopped = True
            shown, self._held = text[: min(places)], ""
        else:
            held = max((_overlap(text, stop) for stop in self._stop), default=0)
            shown, self._held = text[: len(text) - held], text[len(text) - held :]
        self.text += shown
        return shown


def _overlap(text: str, stop: str) -> int:
    """How many of the text's last characters could begin the stop string."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
