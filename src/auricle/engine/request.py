"""One request on its way: its sounds are heard, its prompt is read, then its goal goes on from the last position.

A request does a bounded piece of work at a time, when the scheduler says so, and never waits for anything.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.engine.clock import Clock
from auricle.engine.prefixes import Clip, Keys, Prefixes, Read, keys_of
from auricle.engine.store import Store
from auricle.engine.trace import Statistics, Trace
from auricle.errors import AuricleError, CancelledError, DeadlineError, PromptError
from auricle.models.family import Ear, Family, Part, Prompt
from auricle.types import Ask, Audio, Message, Segment


class Goal(Protocol):
    """What is done with a prompt that was read."""

    read_ids: list[int]  # what the request's cache has read beyond the prompt

    def begin(self, request: Request, logits: Tensor) -> None:
        """Goes on from the `(vocabulary,)` logits of the prompt's last position."""

    def parts(self, request: Request) -> list[Part]:
        """What it reads next; nothing when it is done."""

    def take(self, request: Request, logits: list[Tensor]) -> None:
        """Goes on from the logits of its parts."""


@dataclass(frozen=True)
class Terms:
    """How a request is treated: see `types.Ask`."""

    priority: int = 0
    timeout_s: float | None = None  # from when it was handed in; then it fails
    cancel: threading.Event | None = None  # set by whoever gives it up
    zero_audio: bool = False
    trace: Trace | None = None  # filled on the way; such a request reads alone
    reuse: bool = True  # whether what was computed earlier may serve it, and it others
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, ask: Ask) -> Terms:
        trace = Trace() if ask.trace else None
        return cls(ask.priority, ask.timeout_s, ask.cancel, ask.zero_audio, trace, notes=ask.notes)


class Request:
    """See this file's head. `chunks` and `result` are what it gives; made by `request_of` and by live sessions."""

    def __init__(
        self,
        family: Family,
        goal: Goal,
        prompt: Prompt,
        sounds: Sequence[Sound],
        terms: Terms,
        *,
        begun: Begun | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.family, self.goal, self.prompt, self.terms = family, goal, prompt, terms
        self.sounds = tuple(sounds)
        self.clock = clock or Clock(family.device)
        self.chunks: deque[Any] = deque()
        self.result: Any = None
        self.error: BaseException | None = None
        self.reused_tokens = self.reused_clips = 0
        self.given: dict[bytes, Given] = {}  # clips that were heard before its turn, by digest (`hearing.py`)
        self.cache: Any = None
        silenced = [sound.clip.silenced() if terms.zero_audio else sound.clip for sound in sounds]
        self._keys = keys_of(prompt.ids, family.placeholder, silenced)
        self._placed = np.cumsum(np.array(prompt.ids) == family.placeholder)  # audio tokens up to each position
        self._audio: list[Tensor] = []
        self._unheard: deque[Sound] = deque()
        self._skipped = 0  # audio tokens that the cache held from the beginning
        self._ear: tuple[Ear, list[Tensor]] | None = None  # that hears the next clip, and what it gave so far
        self._ending = threading.RLock()
        if begun is not None:
            self.cache, self._audio = begun.cache, [begun.audio]
            self.clock.begun = self.clock.started
            self._skipped = int(self._placed[begun.cache.length - 1]) if begun.cache.length else 0

    # --- where it stands

    @property
    def done(self) -> bool:
        return self.error is not None or self.result is not None

    @property
    def hearing(self) -> bool:
        return not self.done and bool(self._unheard)

    @property
    def going(self) -> bool:
        """Whether its prompt was read."""
        return self.cache is not None and self.cache.length >= len(self.prompt.ids)

    @property
    def unread(self) -> int:
        """Positions of its prompt that are still to be read."""
        return len(self.prompt.ids) - (0 if self.cache is None else self.cache.length)

    def alike(self, other: Request) -> int:
        """How many positions two prompts begin with alike."""
        most = min(len(self._keys), len(other._keys))
        differing = np.flatnonzero(self._keys[:most] != other._keys[:most])
        return int(differing[0]) if len(differing) else most

    @property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(sound.segment for sound in self.sounds)

    @property
    def _shares(self) -> bool:
        """Whether what was computed earlier may serve it, and it others."""
        return self.terms.reuse and self.terms.trace is None

    def read(self) -> Read | None:
        """What its cache holds, for others to go on from; None when they may not, or its cache is of another kind."""
        if self.cache is None or not self._shares:
            return None
        keys: Keys = np.concatenate([self._keys, np.array(self.goal.read_ids, dtype=np.int64)])
        return Read(keys, self.cache)

    def finish(self, result: Any, *last: Any) -> None:
        """Ends it with a result and its last chunks, if nothing else has ended it."""
        with self._ending:
            if not self.done:
                self.chunks.extend(last)
                self.result = result

    def fail(self, error: BaseException) -> None:
        """Ends it with an error, if nothing else has ended it."""
        with self._ending:
            if not self.done:
                self.error = error

    def fail_if_over(self) -> None:
        """Its time may be up, or whoever asked have gone."""
        timeout_s, cancel = self.terms.timeout_s, self.terms.cancel
        if cancel is not None and cancel.is_set():
            self.fail(CancelledError("the request was cancelled before its answer was done"))
        if timeout_s is not None and time.perf_counter() - self.clock.started >= timeout_s:
            self.fail(
                DeadlineError(
                    f"the request was not done within its {timeout_s:g} s: give it more (timeout_s), "
                    "ask for fewer tokens, or send fewer requests at once"
                )
            )

    # --- what it does

    def begin(self, prefixes: Prefixes, at_work: Sequence[Read]) -> None:
        """Its turn has come: takes over what was read before, and finds out what is left to hear."""
        self.clock.begun = self.clock.mark()
        observed = self.terms.trace is not None
        cache = prefixes.find(self._keys, at_work) if self.terms.reuse and not observed else None
        if cache is None:
            cache = self.family.new_cache(observed=observed)
        self.reused_tokens = cache.length
        held = int(self._placed[cache.length - 1]) if cache.length else 0
        ends = np.cumsum([0, *(sound.clip.tokens for sound in self.sounds)])
        self.reused_clips = int((ends[1:] <= held).sum())  # one that is held in part has to be heard
        self._skipped = int(ends[self.reused_clips])
        self._unheard = deque(self.sounds[self.reused_clips :])
        self.cache = cache  # last: now it has begun

    def recall(self, prefixes: Prefixes) -> None:
        """Takes over those of the next clips that were heard before."""
        while self.hearing and self._ear is None and (kept := self._recalled(prefixes.store)) is not None:
            self._heard(self._unheard[0], kept)

    def hear(self, prefixes: Prefixes, seconds: float | None) -> None:
        """Hears the next clip, which `recall` didn't find, or of a long one the next seconds; None is all of it."""
        sound = self._unheard[0]
        store = prefixes.store if self._shares else None
        if self._ear is None and store is not None:
            store.count("audio", hit=False)
        if self._ear is None and seconds is not None and self.terms.trace is None:
            ear = self.family.ear()
            self._ear = None if ear is None else (ear, [])
        tokens = self._hear_whole(sound) if self._ear is None else self._hear_piece(sound.audio.samples, seconds)
        if tokens is None:
            return
        if len(tokens) != sound.clip.tokens:
            raise AuricleError(f"the encoder gave {len(tokens)} tokens where {sound.clip.tokens} were promised")
        if store is not None:
            store.put("audio", sound.clip.digest, tokens, tokens.nbytes)
        self._heard(sound, tokens)

    def parts(self, rows: int) -> list[Part]:
        """What it reads in the next pass: of its prompt at most so many positions, or what its goal asks for."""
        if self.going:
            return self.goal.parts(self)
        start, ids = self.cache.length, self.prompt.ids
        end = len(ids) if self.terms.trace else min(len(ids), start + rows)
        first, last = (int(self._placed[at - 1]) - self._skipped if at else 0 for at in (start, end))
        if len(self._audio) > 1:
            self._audio = [torch.cat(self._audio)]
        audio = self._audio[0][first:last] if last > first else None
        return [Part(self.cache, ids[start:end], audio, wanted=int(end == len(ids)))]

    def take(self, logits: list[Tensor], seconds: float, *, prompt: bool) -> None:
        """Goes on from what a pass gave, which took so long; `prompt` says that it read a part of the prompt."""
        if not prompt:
            return self.goal.take(self, logits)
        self.clock.prefill_s += seconds
        if self.going:
            self._audio = []
            self.goal.begin(self, logits[0][-1])
        return None

    def take_back(self, length: int) -> None:
        """Forgets what a pass has read that was not taken; one that read too much for that, for a trace, fails."""
        if self.cache.shortest <= length:
            self.cache.truncate(length)
        else:
            self.fail(interrupted())

    def let_go(self) -> None:
        """It is done: whoever still holds it, as an error's traceback does, holds nothing large."""
        self.cache, self.sounds, self._audio, self._ear, self.given = None, (), [], None, {}
        self._unheard.clear()

    def watching(self) -> AbstractContextManager[None]:
        """While this lasts, its trace sees what every layer gives."""
        trace = self.terms.trace
        return nullcontext() if trace is None or self.going else trace.watching(self.family.model)

    def _recalled(self, store: Store) -> Tensor | None:
        """The tokens of the next clip, if it was heard before."""
        if not self._shares:
            return None
        digest = self._unheard[0].clip.digest
        given = self.given.pop(digest, None)
        if given is not None and given.first:
            self.clock.mel_s += given.mel_s
            self.clock.encoder_s += given.encoder_s
            store.count("audio", hit=False)
            store.put("audio", digest, given.tokens, given.tokens.nbytes)
            return given.tokens
        kept: Tensor | None = store.get("audio", digest) if given is None else given.tokens
        if kept is not None:
            store.count("audio", hit=True)
            self.reused_clips += 1
        return kept

    def _heard(self, sound: Sound, tokens: Tensor) -> None:
        self._audio.append(torch.zeros_like(tokens) if self.terms.zero_audio else tokens)
        self._unheard.popleft()

    def _hear_piece(self, samples: NDArray[np.float32], seconds: float | None) -> Tensor | None:
        """Hears so many seconds more of a clip -> its tokens, if that was the rest."""
        assert self._ear is not None, "see `hear`"
        (ear, pieces), self._ear = self._ear, None  # if this breaks off, the clip is heard anew
        begun, mel_s = self.clock.mark(), ear.mel_s
        end = len(samples) if seconds is None else ear.samples + round(seconds * self.family.rate)
        last = end >= len(samples)
        pieces.append(ear.hear(samples[ear.samples : end], last=last))
        self.clock.mel_s += ear.mel_s - mel_s
        self.clock.encoder_s += self.clock.mark() - begun - (ear.mel_s - mel_s)
        if last:
            return torch.cat(pieces)
        self._ear = ear, pieces
        return None

    def _hear_whole(self, sound: Sound) -> Tensor:
        """Features and encoder at once."""
        begun, trace = self.clock.mark(), self.terms.trace
        features = self.family.features(sound.audio.samples)
        featured = self.clock.mark()
        if trace is None:
            tokens = self.family.encode(features)
        else:
            number = len(self._audio) + 1
            trace.features.append(Statistics.of(f"clip {number} mel", torch.from_numpy(features)))
            with trace.watching(self.family.model):
                tokens = self.family.encode(features)
            trace.features.append(Statistics.of(f"clip {number} audio tokens", tokens))
        self.clock.mel_s += featured - begun
        self.clock.encoder_s += self.clock.mark() - featured
        return tokens


@dataclass(frozen=True)
class Sound:
    """One clip of a prompt."""

    audio: Audio  # at the family's rate
    clip: Clip

    @property
    def segment(self) -> Segment:
        audio = self.audio
        return Segment(audio.source, audio.start_s, audio.start_s + audio.seconds, self.clip.tokens)


@dataclass(frozen=True)
class Given:
    """The tokens of a clip that was heard with others before its request's turn, and its share of the time."""

    tokens: Tensor
    first: bool  # whether it was heard for this request; otherwise for another with the same clip
    mel_s: float = 0.0
    encoder_s: float = 0.0


@dataclass(frozen=True)
class Begun:
    """What a live session has done of a request already."""

    cache: Any  # has read a beginning of the prompt
    audio: Tensor  # the audio tokens behind it


def request_of(family: Family, ask: Ask, goal_of: Callable[[Prompt], Goal]) -> Request:
    """A request whose prompt was rendered, and checked as far as that can be done before any work.

    Raises:
        SoundError: a clip is too short or too long.
        PromptError: the prompt doesn't fit the context, or the model.
    """
    clock, terms = Clock(family.device), Terms.of(ask)
    sounds, prompt = prompt_of(family, ask.messages)
    if terms.trace is not None:
        terms.trace.prompt_ids, terms.trace.layout = prompt.ids, prompt.layout
    return Request(family, goal_of(prompt), prompt, sounds, terms, clock=clock)


def prompt_of(family: Family, messages: Sequence[Message]) -> tuple[list[Sound], Prompt]:
    """The clips of messages, and the prompt that they become; errors as for `request_of`."""
    audios = [part for message in messages for part in message.parts if isinstance(part, Audio)]
    for audio in audios:
        family.check_clip(len(audio.samples))
    sounds = [Sound(audio, Clip.of(audio.samples, family.audio_tokens(len(audio.samples)))) for audio in audios]
    counts = [sound.clip.tokens for sound in sounds]
    if sum(counts) >= family.context:
        raise too_long(sum(counts), family.context)
    prompt = family.prompt(list(messages), counts)
    if len(prompt.ids) >= family.context:
        raise too_long(len(prompt.ids), family.context)
    return sounds, prompt


def interrupted() -> CancelledError:
    return CancelledError("the request was interrupted in the middle of a step and can't go on: ask again")


def too_long(tokens: int, context: int) -> PromptError:
    return PromptError(
        f"the prompt has {tokens} tokens and the model's context holds {context}: use less sound (25 tokens a second), "
        "fewer turns, or a model with a longer context"
    )
