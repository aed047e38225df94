"""The library: `load` a model, then ask it, stream from it, chat with it, let it transcribe.

import auricle

model = auricle.load("tiny")
print(model.ask("clip.wav", "What does the speaker say?").text)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from auricle.backends import BACKENDS, open_backend
from auricle.errors import OptionError
from auricle.hub import ModelName
from auricle.sound.decode import decode, from_samples
from auricle.sound.segment import segment
from auricle.types import (
    DEFAULT_QUESTION,
    Answer,
    Audio,
    Chunk,
    Message,
    Order,
    Sampling,
    SamplingOptions,
    Transcript,
    TranscriptSegment,
)

if TYPE_CHECKING:
    from typing import Unpack

    from auricle.backends import Backend

Sound: TypeAlias = str | Path | bytes | Audio
"""A file's path, a file's bytes, or samples that are already an Audio."""

TRANSCRIBE_TOKENS = 440  # the default limit for one piece of at most 30 s: fast speech has about 5 words a second


def load(name: str = "tiny", *, device: str = "auto", dtype: str = "auto", threads: int | None = None) -> Model:
    """Loads a model.

    Args:
        name: `[backend:]name[@revision]`: "tiny" (built in), a folder, or a hub name such as "google/gemma-4-E2B-it",
            which is downloaded when it is not in the hub's cache.
        device: "auto", "cpu", "cuda" or "mps".
        dtype: "auto", "float32", "bfloat16" or "float16".
        threads: how many CPU threads to use; None leaves torch's choice.

    Raises:
        HubError: there is no such model, or it can't be fetched.
        CheckpointError: its folder is incomplete, damaged, or of a model type that doesn't run here.
        DeviceError: the device is not there.
        OptionError: an option is outside its range.
    """
    model = ModelName.parse(name, tuple(BACKENDS))
    return Model(name, open_backend(model, device=device, dtype=dtype, threads=threads))


class Model:
    """A loaded model. Made by `load`."""

    def __init__(self, name: str, backend: Backend) -> None:
        self.name = name
        self.backend = backend

    def ask(
        self,
        audio: Sound | Sequence[Sound],
        question: str = DEFAULT_QUESTION,
        *,
        order: Order = "text-first",
        zero_audio: bool = False,
        trace: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Answer:
        """Answers a question about one or several sounds. See `stream` for arguments and errors."""
        last = None
        for chunk in self.stream(audio, question, order=order, zero_audio=zero_audio, trace=trace, **options):
            last = chunk.answer
        assert last is not None, "a stream ends with its answer"
        return last

    def stream(
        self,
        audio: Sound | Sequence[Sound],
        question: str = DEFAULT_QUESTION,
        *,
        order: Order = "text-first",
        zero_audio: bool = False,
        trace: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Iterator[Chunk]:
        """Answers a question, yielding text as it comes; the last chunk carries the `Answer`.

        Args:
            audio: one sound or several: paths, bytes, or `Audio` of any rate. A sound longer than the model takes as
                one clip (30 s) is cut at pauses; the answer's `segments` and `notes` say so.
            question: what to ask.
            order: what stands first in the prompt, the text or the audio.
            zero_audio: the ablation: every audio token becomes zeros.
            trace: fill the answer's `trace` with token ids, prompt layout and activation statistics.
            options: the fields of `Sampling`: max_tokens, temperature, top_k, ...

        Raises:
            SoundError: a sound can't be read, is empty, too short, too long, or not finite.
            PromptError: the prompt does not fit the model's context.
            OptionError: an option is outside its range.
        """
        message = user_message(audio, question, order)
        return self.chat([message], zero_audio=zero_audio, trace=trace, **options)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        zero_audio: bool = False,
        trace: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Iterator[Chunk]:
        """Answers the last message of a conversation; arguments and errors as for `stream`."""
        sampling = Sampling(**options)
        if not messages or messages[-1].role != "user":
            raise OptionError("the last message must be the user's: there is nothing to answer")
        notes: list[str] = []
        fitted = [Message(message.role, tuple(self._fit(message.parts, notes))) for message in messages]
        return _with_notes(self.backend.stream(fitted, sampling, zero_audio=zero_audio, trace=trace), notes)

    def transcribe(self, audio: Sound, *, language: str = "English", **options: Unpack[SamplingOptions]) -> Transcript:
        """Writes down what is said.

        Args:
            audio: one sound; what is longer than the model takes as one clip is cut at pauses and read piece by piece.
            language: the language spoken, in English ("English", "German", ...).
            options: the fields of `Sampling`; `max_tokens` counts for each piece and is 440 unless given.

        Raises:
            The errors of `stream`.
        """
        segments = tuple(self.stream_transcript(audio, language=language, **options))
        text = " ".join(segment.text for segment in segments if segment.text)
        return Transcript(text, segments, tuple(note for segment in segments for note in segment.notes))

    def stream_transcript(
        self, audio: Sound, *, language: str = "English", **options: Unpack[SamplingOptions]
    ) -> Iterator[TranscriptSegment]:
        """As `transcribe`, yielding each piece as soon as it is written down."""
        options.setdefault("max_tokens", TRANSCRIBE_TOKENS)
        for piece in self._pieces(read_sound(audio, self.backend.rate)):
            answer = self.ask(piece, transcription_prompt(language), **options)
            end_s = piece.start_s + piece.seconds
            notes = tuple(f"from {piece.start_s:.1f} s to {end_s:.1f} s: {note}" for note in answer.notes)
            yield TranscriptSegment(piece.source, piece.start_s, end_s, answer.text, notes)

    def _fit(self, parts: Sequence[str | Audio], notes: list[str]) -> Iterator[str | Audio]:
        """Sounds at the model's rate, long ones in pieces, with a note for each that was cut."""
        for part in parts:
            if isinstance(part, str):
                yield part
                continue
            pieces = self._pieces(read_sound(part, self.backend.rate))
            if len(pieces) > 1:
                notes.append(
                    f"{part.source} is {part.seconds:.1f} s long and was cut at pauses into {len(pieces)} clips "
                    f"of at most {self.backend.max_clip_seconds:g} s"
                )
            yield from pieces

    def _pieces(self, audio: Audio) -> list[Audio]:
        return [
            Audio(piece.audio.samples, audio.rate, audio.source, audio.start_s + piece.start_s)
            for piece in segment(audio, self.backend.max_clip_seconds)
        ]


class Chat:
    """A conversation about sounds, turn by turn. The first question carries the sounds; later ones refer to them."""

    def __init__(self, model: Model, audio: Sound | Sequence[Sound], *, order: Order = "text-first") -> None:
        self.model = model
        self.messages: list[Message] = []
        self._audio, self._order = audio, order

    def say(self, text: str, **options: Unpack[SamplingOptions]) -> Iterator[Chunk]:
        """Asks, and keeps question and answer once the answer is complete; errors as for `Model.stream`."""
        turn = Message("user", (text,)) if self.messages else user_message(self._audio, text, self._order)
        for chunk in self.model.chat([*self.messages, turn], **options):
            if chunk.answer is not None:
                self.messages += [turn, Message("assistant", (chunk.answer.text,))]
            yield chunk


def read_sound(sound: Sound, rate: int) -> Audio:
    """Decodes a path or bytes, or checks and resamples an Audio: mono float32 at `rate`."""
    if not isinstance(sound, Audio):
        return decode(sound, rate=rate)
    return from_samples(sound.samples, sound.rate, rate, name=sound.source)


def user_message(audio: Sound | Sequence[Sound], question: str, order: Order = "text-first") -> Message:
    """One user turn: the text, then the sounds; with `audio-first` the other way round."""
    sounds: Sequence[Sound] = [audio] if isinstance(audio, str | Path | bytes | Audio) else audio
    if not sounds:
        raise OptionError("no sound given: name at least one")
    if not question.strip():
        raise OptionError("the question is empty: say what to ask about the sound")
    if order not in ("text-first", "audio-first"):
        raise OptionError(f"order is {order!r}; it must be 'text-first' or 'audio-first'")
    heard = tuple(sound if isinstance(sound, Audio) else decode(sound) for sound in sounds)
    return Message("user", (question, *heard) if order == "text-first" else (*heard, question))


def transcription_prompt(language: str) -> str:
    """The instruction of Gemma 4's model card for transcription, and how to write it down."""
    return (
        f"Transcribe the following speech segment in {language} into {language} text. "
        "Write only the transcription, without line breaks, and numbers as digits."
    )


def _with_notes(chunks: Iterator[Chunk], notes: list[str]) -> Iterator[Chunk]:
    for chunk in chunks:
        if chunk.answer is not None and notes:
            chunk = replace(chunk, answer=replace(chunk.answer, notes=(*notes, *chunk.answer.notes)))
        yield chunk
