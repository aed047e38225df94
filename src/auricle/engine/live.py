"""A live session: sound is heard and read while it comes in, so that the answer can begin when the speaker stops.

The instruction stands first in the prompt and is read before anything is heard. Then, step by step, what the ear makes
of the sound goes straight into the cache. When the speaker stops, what is left to do is less than a step's work, the
few tokens that close the turn, and the first one of the answer: the answer that the whole recording would have got.

Sound past the longest clip goes on in a next one. It begins in a pause, if there is one in the last third of a clip,
and else where the clip is full; not a sample is lost. About an instruction, all clips stand in one prompt, up to the
model's context. A transcript is written clip by clip, each in a prompt of its own, and has no such end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from auricle.engine.clips import Frame, OpenClip, Samples
from auricle.engine.clock import Clock
from auricle.engine.prefixes import Read
from auricle.engine.request import Begun, Goal, Request, Sound, Terms
from auricle.engine.scheduler import Scheduler
from auricle.errors import OptionError, PromptError, SoundError
from auricle.models.family import Part, Prompt, PromptCache
from auricle.sound.endpoint import Detector, open_detector
from auricle.sound.energy import RATE as DETECTED_RATE
from auricle.sound.live import Intake
from auricle.types import Answer, Chunk, Listening, Timings

MIN_PAUSE_S = 0.2  # in which one clip may end and the next begin
FULL, BROKEN = "is full", "was interrupted within a step"


class Session:
    """Made by `Model.listen`; entered with `with`. For one thread; several sessions may share a model."""

    def __init__(
        self,
        scheduler: Scheduler,
        text: str,
        listening: Listening,
        goal_of: Callable[[Prompt], Goal],
        *,
        each_clip: bool,
        max_tokens: int,
    ) -> None:
        self._scheduler, self._family, self._listening = scheduler, scheduler.family, listening
        if self._family.ear() is None:
            raise OptionError("this model's encoder needs the whole of a clip at once and can't listen live: use ask")
        self._goal_of, self._each_clip = goal_of, each_clip
        self._frame = Frame.of(self._family, text)
        self._rate = self._family.rate
        assert self._rate == DETECTED_RATE, "detectors know no other, and no family has another"
        given = self._rate if listening.rate is None else listening.rate
        self._intake = Intake(given, self._rate, listening.source)
        self._detector: Detector = open_detector(listening.vad)
        self._longest = int(self._family.max_clip_seconds * self._rate)
        self._step = min(round(listening.step * self._rate), self._longest)
        self._room = min(max_tokens, self._family.context // 4)  # tokens of the context that are left for an answer
        self._waiting: list[Samples] = []
        self._waits = 0  # samples: less than a step
        self._judged = 0  # of these, by the detector
        self._heard = 0  # samples, of all clips
        self._done: list[Sound] = []  # clips of this prompt that have ended
        self._answers: list[Answer] = []  # of clips that were transcribed
        self._ended = ""  # why no more sound is taken
        self._opened = False
        self._cache: Any = None  # a PromptCache, while the session is open
        self._instructed: PromptCache | None = None  # as it was before the first clip

    # --- the life of a session

    def __enter__(self) -> Session:
        """Reads the instruction."""
        if self._opened:
            raise OptionError("the session was entered before: open another one")
        ids = [*self._frame.before, *self._frame.after]
        if len(ids) + 1 + self._room > self._family.context:
            raise PromptError(
                f"the instruction has {len(ids)} tokens and the model's context holds {self._family.context}, which "
                "leaves no room for sound and an answer: make it shorter"
            )
        prefixes = self._scheduler.prefixes
        with self._scheduler.alone():
            keys = np.array([*self._frame.before, self._family.placeholder], dtype=np.int64)
            self._cache = prefixes.find(keys, self._scheduler.at_work()) or self._family.new_cache()
            self._read(self._frame.before[self._cache.length :])
            self._instructed = self._cache.fork(self._cache.length)
            # Kept, since after a long session its beginning can't be had from its end.
            prefixes.keep(Read(keys[:-1], self._instructed))
        self._clip = OpenClip(self._family, 0.0)
        self._opened = True
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = "is over"
        self._cache = self._instructed = None

    def feed(self, samples: Any) -> None:
        """Takes in the next samples and hears as many whole steps as there are.

        Args:
            samples: `(samples,)` or `(channels, samples)` at the session's rate, any number of them; floats in [-1, 1],
                or int16, int32 or uint8.

        Raises:
            SoundError: they are not finite or no sound, and are not taken; or the session has ended.
            PromptError: the context is full; what was heard before can still be answered.
        """
        self._check_open()
        mono = self._intake.take(samples)
        if len(mono):
            self._waiting.append(mono)
            self._waits += len(mono)
        if self._waits >= self._step:
            sound = np.concatenate(self._waiting)
            self._waits %= self._step
            whole = len(sound) - self._waits
            mono = sound[whole:].copy()
            self._waiting = [mono]
            self._ended = BROKEN  # unless it comes to the end of the step
            self._hear_steps(sound[:whole])
            self._ended = ""
        self._detector.take(mono)  # before its step is full, so that `stopped` knows at once
        self._judged = self._waits

    @property
    def seconds(self) -> float:
        """How much sound was taken so far."""
        return self._intake.seconds

    @property
    def text(self) -> str:
        """What a transcript says of the clips that have ended."""
        return " ".join(answer.text for answer in self._answers if answer.text)

    @property
    def stopped(self) -> bool:
        """Whether the speaker has spoken and then been silent for the session's `pause`."""
        pause = self._listening.pause
        return pause is not None and self._detector.spoken and self._detector.silence_s >= pause

    @property
    def detector(self) -> str:
        """What tells speech from silence: "silero" or "energy"."""
        return self._detector.name

    def partial(self) -> str:
        """The answer as it would be if the speaker stopped now; of a transcript, all of it. It changes nothing."""
        self._check_open(or_full=True)
        texts = [self.text]
        if self._clip.ear.tokens or self._done:
            with self._scheduler.alone():
                cache = self._cache.fork(self._cache.length)
                nothing = self._clip.ear.hear(np.empty(0, dtype=np.float32))
            counts = [sound.clip.tokens for sound in self._done] + [self._clip.ear.tokens]
            if not counts[-1]:  # the next clip's opening tokens are read, but nothing of it
                cache.truncate(cache.length - len(self._frame.between))
                counts.pop()
            request = self._request(counts, [], Begun(cache, nothing), Terms(reuse=False))
            texts.append(self._scheduler.result(self._scheduler.submit_when_free(request)).text)
        return " ".join(text for text in texts if text)

    def answer(self) -> Answer:
        """Ends the session and answers; errors as for `stream`."""
        last = None
        for chunk in self.stream():
            last = chunk.answer
        assert last is not None, "a stream ends with its answer"
        return last

    def stream(self) -> Iterator[Chunk]:
        """Ends the session and answers, as it comes; the last chunk carries the `Answer`.

        A transcript's earlier clips come first. `ttft_s` counts from this call: from the last sample.

        Raises:
            SoundError: nothing was heard, or the session has ended before.
            PromptError: nothing was heard, since the context was full.
        """
        if self._ended == BROKEN and self._answers:
            yield from self._what_was_written()
            return
        self._check_open(or_full=True)
        clock, full = Clock(self._family.device), self._ended == FULL
        self._ended = "has given its answer"
        rest, notes = np.concatenate([*self._waiting, self._intake.finish()]), []
        self._waiting = []
        if len(rest) and (full or not self._fits(len(rest))):
            if not self._heard:
                raise self._full()
            notes.append(f"the last {len(rest) / self._rate:.2f} s were not heard: the model's context was full")
            rest = rest[:0]
        elif len(rest) > self._longest - self._clip.ear.samples:  # a step may be longer than what is left
            self._hear_steps(rest)
            rest = rest[:0]
        if self.text:
            yield Chunk(self.text)
        request = self._last_request(rest, notes, clock)
        if request is None:
            yield Chunk("", self._whole(None, notes))
            return
        between = " " if self.text else ""  # the last clip's text and those before it
        for chunk in self._scheduler.chunks(self._scheduler.submit_when_free(request)):
            if chunk.answer is not None:
                chunk = replace(chunk, answer=self._whole(chunk.answer, notes))
            elif between and chunk.text.strip():
                chunk, between = Chunk(between + chunk.text.lstrip()), ""
            yield chunk

    def _what_was_written(self) -> Iterator[Chunk]:
        """Of a transcript that an error broke off: the clips before it."""
        self._ended = "has given its answer"
        end_s = self._answers[-1].segments[-1].end_s
        if self.text:
            yield Chunk(self.text)
        yield Chunk(
            "", self._whole(None, [f"nothing was written down from {end_s:.1f} s on: an error came in between"])
        )

    # --- hearing

    def _hear_steps(self, sound: Samples) -> None:
        """Hears whole steps, and ends clips where they end; as much at once as belongs to one clip."""
        start = 0
        for step in range(0, len(sound), self._step):
            end = min(step + self._step, len(sound))
            if not self._fits(end - start):
                self._hear(sound[start:step])
                self._waiting.insert(0, sound[step:])
                self._ended = FULL
                raise self._full()
            self._detector.take(sound[step + self._judged : end])
            self._judged = 0
            length = self._clip.ear.samples + end - start
            if length >= self._longest:
                cut = start + self._longest - self._clip.ear.samples
                self._hear(sound[start:cut], last=True)
                start = cut
            elif 3 * length >= 2 * self._longest and self._pauses(length):
                self._hear(sound[start:end], last=True)
                start = end
        if start < len(sound):
            self._hear(sound[start:])

    def _pauses(self, length: int) -> bool:
        """Whether a clip so long ends in a pause; where nobody has spoken in it, there is nothing to cut between."""
        return MIN_PAUSE_S <= self._detector.silence_s <= length / self._rate - MIN_PAUSE_S

    def _hear(self, samples: Samples, *, last: bool = False) -> None:
        """The next samples of the clip, into the cache; `last` ends the clip and opens the next."""
        with self._scheduler.alone():
            tokens = self._clip.hear(samples, last=last)
            if not last:
                self._read([self._family.placeholder] * len(tokens), tokens)
            elif not self._each_clip:
                self._read([self._family.placeholder] * len(tokens) + self._frame.between, tokens)
        self._heard += len(samples)
        if last:
            self._end_clip(tokens)

    def _end_clip(self, tokens: torch.Tensor) -> None:
        """Begins the next clip: in the same prompt, or after a transcript of this one in a new one."""
        sound = self._heard_clip()
        if self._each_clip:
            request = self._request([sound.clip.tokens], [sound], Begun(self._cache, tokens), Terms())
            self._answers.append(self._scheduler.result(self._scheduler.submit_when_free(request)))
            with self._scheduler.alone():
                assert self._instructed is not None, "the session is open"
                self._cache = self._instructed.fork(self._instructed.length)
        else:
            self._done.append(sound)
        self._clip = OpenClip(self._family, self._heard / self._rate)

    def _fits(self, samples: int) -> bool:
        """Whether the context holds so much more, and an answer; a clip may end within."""
        clip, family, frame = self._clip.ear, self._family, self._frame
        length = clip.samples + samples
        over = 0 if self._each_clip else max(0, length - self._longest)  # begins the next clip of the same prompt
        tokens = family.audio_tokens(min(length, self._longest)) + family.audio_tokens(over) - clip.tokens
        after = len(frame.between) + len(frame.after) + self._room
        return bool(self._cache.length + tokens + after <= family.context)

    def _full(self) -> PromptError:
        return PromptError(
            f"the model's context of {self._family.context} tokens is full after {self._heard / self._rate:.1f} s of "
            "sound: ask for the answer to what was heard, or listen in shorter sessions"
        )

    def _read(self, ids: list[int], audio: torch.Tensor | None = None) -> None:
        if ids:
            self._family.read([Part(self._cache, ids, audio, wanted=0)])

    # --- answering

    def _last_request(self, rest: Samples, notes: list[str], clock: Clock) -> Request | None:
        """The request that ends the session; None when there is nothing left to ask after what was transcribed."""
        clip, family = self._clip, self._family
        length = clip.ear.samples + len(rest)
        if not self._done and not self._answers:
            family.check_clip(length)
        if not family.audio_tokens(length):
            if length:
                notes.append(f"the last {1000 * length / self._rate:.1f} ms are too short to be heard")
            if self._each_clip:
                return None
            # The next clip's opening tokens were read, and there is no next clip.
            self._cache.truncate(self._cache.length - len(self._frame.between))
            counts, sounds, tokens = [sound.clip.tokens for sound in self._done], self._done, clip.ear.hear(rest[:0])
        else:
            with self._scheduler.alone():
                begun, mel_s = clock.mark(), clip.ear.mel_s
                tokens = clip.hear(rest, last=True)
                clock.mel_s = clip.ear.mel_s - mel_s
                clock.encoder_s = clock.mark() - begun - clock.mel_s
            self._heard += len(rest)
            sounds = [*self._done, self._heard_clip()]
            counts = [sound.clip.tokens for sound in sounds]
        return self._request(counts, sounds, Begun(self._cache, tokens), Terms(), clock)

    def _heard_clip(self) -> Sound:
        """The clip that has ended; its tokens are kept for whoever asks about it again."""
        sound, tokens = self._clip.sound(self._family, self._listening.source), torch.cat(self._clip.tokens)
        self._scheduler.prefixes.store.put("audio", sound.clip.digest, tokens, tokens.nbytes)
        return sound

    def _request(
        self, counts: list[int], sounds: list[Sound], begun: Begun, terms: Terms, clock: Clock | None = None
    ) -> Request:
        prompt = Prompt(self._frame.around(counts, self._family.placeholder), [])
        return Request(self._family, self._goal_of(prompt), prompt, sounds, terms, begun=begun, clock=clock)

    def _whole(self, last: Answer | None, notes: list[str]) -> Answer:
        """The answers of all clips as one."""
        parts = [*self._answers, *([last] if last is not None else [])]
        return Answer(
            text=" ".join(part.text for part in parts if part.text),
            tokens=tuple(token for part in parts for token in part.tokens),
            finish_reason=parts[-1].finish_reason,
            prompt_tokens=sum(part.prompt_tokens for part in parts),
            segments=tuple(segment for part in parts for segment in part.segments),
            timings=last.timings if last is not None else Timings(),
            notes=(*notes, *(self._where(part) + note for part in parts for note in part.notes)),
            reused_tokens=last.reused_tokens if last is not None else 0,
        )

    def _where(self, part: Answer) -> str:
        """Of which clip of a transcript a note speaks."""
        clip = part.segments[0]
        return f"from {clip.start_s:.1f} s to {clip.end_s:.1f} s: " if self._each_clip else ""

    def _check_open(self, *, or_full: bool = False) -> None:
        if not self._opened:
            raise OptionError("the session is not open: enter it with `with`")
        if self._ended and not (or_full and self._ended == FULL):
            raise SoundError(f"the session {self._ended} and takes no more sound: open another one")
