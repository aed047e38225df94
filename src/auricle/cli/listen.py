"""`auricle listen`: sound that is still coming in, from a pipe or a microphone."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias, cast

import numpy as np
import typer
from numpy.typing import NDArray

from auricle.api import TRANSCRIBE_TOKENS, live_instruction
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.loading import load
from auricle.cli.options import Choice, Constraint, Hardware, Json, Model, ShowTimings, with_options
from auricle.cli.sounds import looks_like_file
from auricle.errors import OptionError, PromptError, SoundError
from auricle.sound.live import LiveSound, RawFormat, open_live
from auricle.types import Answer, Chunk, Listening, Sampling, Vad

if TYPE_CHECKING:
    from auricle.engine.live import Session
    from auricle.sound.samples import Encoding

app = new_app()

Block: TypeAlias = NDArray[np.floating[Any]]  # (channels, samples)
MICROPHONE_PAUSE_S = 0.8  # somebody speaks and expects an answer; a pipe ends by itself
PARTIAL_EVERY_S = 1.0  # of sound, at least


@dataclass(frozen=True)
class Source:
    """Where sound comes from."""

    PANEL: ClassVar = "Sound"

    microphone: Annotated[bool, typer.Option("--microphone", help="Listen to the microphone instead of stdin.")] = False
    input_device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which microphone: its number, or part of its name.")
    ] = None
    raw: Annotated[
        str | None,
        typer.Option(metavar="ENCODING", help="Stdin is raw PCM, not WAV: s16le, s24le, s32le, f32le, f64le, u8."),
    ] = None
    rate: Annotated[int | None, typer.Option(metavar="HZ", help="Of raw PCM: samples per second.")] = None
    channels: Annotated[int | None, typer.Option(metavar="N", help="Of raw PCM.  [default: 1]")] = None

    def __post_init__(self) -> None:
        if self.raw is None and (self.rate is not None or self.channels is not None):
            raise OptionError("--rate and --channels are for --raw: a WAV says them itself")
        if self.raw is not None and self.rate is None:
            raise OptionError(f"--raw {self.raw} needs its samples per second: add --rate 16000, or what it is")
        if self.raw is not None and self.microphone:
            raise OptionError("--raw describes stdin, and --microphone doesn't read it: leave one out")
        if self.input_device is not None and not self.microphone:
            raise OptionError("--input-device names a microphone: add --microphone")

    @property
    def format(self) -> RawFormat | None:
        """Of raw PCM; None of a WAV."""
        if self.raw is None:
            return None
        assert self.rate is not None, "checked above"
        return RawFormat(cast("Encoding", self.raw), self.rate, 1 if self.channels is None else self.channels)


@app.command(cls=Command)
@with_options
def listen(
    instruction: Annotated[
        str | None,
        typer.Argument(metavar="[INSTRUCTION]", help="What to do with what is said; without one, it is written down."),
    ] = None,
    *,
    model: Model = "tiny",
    hardware: Hardware,
    source: Source,
    step: Annotated[
        float, typer.Option(metavar="S", help="Seconds of sound that are heard at a time.")
    ] = Listening.step,
    pause: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="The speaker has stopped after so many seconds of silence.  [default: 0.8 with --microphone; a pipe "
            "is heard to its end]",
        ),
    ] = None,
    vad: Annotated[
        Vad, typer.Option(help="What tells speech from silence; auto is Silero where it is installed.")
    ] = Listening.vad,
    partial: Annotated[
        bool, typer.Option("--partial", help="Show what is understood so far, about once a second, on stderr.")
    ] = False,
    language: Annotated[
        str, typer.Option(metavar="NAME", help="The language spoken, in English, when there is no instruction.")
    ] = "English",
    max_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Stop after so many new tokens.  [default: 80; 440 a clip of a transcript]"),
    ] = None,
    choice: Choice,
    constraint: Constraint,
    json: Json = False,
    timings: ShowTimings = None,
) -> None:
    """Listen to sound that is still coming in, and answer when the speaker stops.

    Reads a WAV or raw PCM from stdin as it comes, or the microphone. The model hears while somebody speaks, so that the
    answer begins a moment after the last sample. Without an instruction it writes down what is said, for as long as
    sound comes, a line for each clip of at most 30 s. The first Ctrl-C ends the listening, and the answer follows; a
    second one ends that too.

    \b
    auricle listen --microphone
    auricle listen --microphone "What is asked for?"
    arecord -f S16_LE -r 16000 | auricle listen --partial
    ffmpeg -i talk.mp3 -f wav - | auricle listen "What is it about?" --json
    sox -d -t raw -e signed -b 16 -c 1 -r 16000 - | auricle listen --raw s16le --rate 16000 --pause 1
    """
    default = TRANSCRIBE_TOKENS if instruction is None else Sampling.max_tokens
    wanted = default if max_tokens is None else max_tokens
    live_instruction(instruction, language)
    if instruction is not None and looks_like_file(instruction):
        raise OptionError(
            f"listen reads stdin, not files: auricle listen < {instruction}, or auricle ask {instruction}"
        )
    options = choice.options(wanted, constraint)
    form = source.format
    pause = MICROPHONE_PAUSE_S if pause is None and source.microphone else pause
    Listening(None, step, pause, vad)  # checked before a model is loaded
    if not source.microphone and show.is_terminal(sys.stdin):
        raise SoundError("nothing is piped in: arecord -f S16_LE -r 16000 | auricle listen, or listen --microphone")
    loaded = load(model, hardware)
    with ExitStack() as listening:
        sound = listening.enter_context(_opened(source, form))
        session = loaded.listen(
            instruction,
            rate=sound.rate,
            step=step,
            pause=pause,
            vad=vad,
            language=language,
            source="microphone" if source.microphone else "stdin",
            **options,
        )
        with session:
            if show.is_terminal(sys.stderr):
                print(f"listening ({session.detector} tells speech from silence) ...", file=sys.stderr)
            screen = _Screen(session, json=json, partial=partial)
            notes = _hear(session, sound, screen)
            listening.close()  # nothing is taken in while the answer is written
            answer = screen.finish()
    notes += [*sound.notes, *answer.notes]
    if session.stopped and not source.microphone:
        notes.append(
            f"the speaker stopped, so that listening ended at {session.seconds:.1f} s; what follows was not heard"
        )
    if json:
        show.as_json(_record(loaded.name, session, answer, notes))
    else:
        for line in notes:
            show.note(line)
    if show.wants_timings(timings if not json else bool(timings)):
        show.timings(answer)


def _hear(session: Session, sound: LiveSound, screen: _Screen) -> list[str]:
    """Feeds the session until the speaker stops, the sound ends or somebody ends it; what is to be said of that."""
    with _CtrlC() as ctrl_c:
        blocks = iter(sound)
        while (block := ctrl_c.waiting_for(blocks)) is not None:
            try:
                session.feed(block)
            except PromptError as error:  # the context is full: what was heard gets its answer
                return [str(error)]
            if session.stopped:
                break
            screen.show()
    return [f"Ctrl-C ended the listening after {session.seconds:.1f} s"] if ctrl_c.asked else []


class _Screen:
    """What is shown while sound comes in, and after it."""

    def __init__(self, session: Session, *, json: bool, partial: bool) -> None:
        self._session, self._json, self._partial = session, json, partial
        self._written = 0  # letters of the session's text that are on stdout
        self._next_s = PARTIAL_EVERY_S  # of sound
        self._not_before = 0.0  # by the clock: half the time at most goes into partial answers
        self._shown = ""

    def show(self) -> None:
        """Clips that were written down, a line each; and about once a second what the open one says so far."""
        self._write()
        now = time.perf_counter()
        if not self._partial or self._session.seconds < self._next_s or now < self._not_before:
            return
        whole = self._session.partial()
        text = whole[len(self._session.text) :].lstrip()
        took = time.perf_counter() - now
        self._next_s = self._session.seconds + PARTIAL_EVERY_S
        self._not_before = time.perf_counter() + took
        if text == self._shown:
            return
        self._shown = text
        if self._json:
            show.as_json({"partial": text, "seconds": self._session.seconds})
        else:
            show.changing_line(text)

    def finish(self) -> Answer:
        """The answer, as it comes; of a transcript, what is not yet on stdout."""
        self._write()
        if self._json:
            return show.finish(self._session.stream())
        if self._partial:
            show.changing_line("")
        return show.stream(_behind(self._session.stream(), self._written))

    def _write(self) -> None:
        text = self._session.text
        if self._json or len(text) == self._written:
            return
        if self._partial:
            show.changing_line("")
        show.line(text[self._written :].lstrip())
        self._written = len(text)


def _behind(chunks: Iterator[Chunk], letters: int) -> Iterator[Chunk]:
    """What a stream gives behind its first letters."""
    for chunk in chunks:
        yield replace(chunk, text=chunk.text[letters:])
        letters = max(0, letters - len(chunk.text))


@contextmanager
def _opened(source: Source, form: RawFormat | None) -> Iterator[LiveSound]:
    """The sound, as it comes."""
    if not source.microphone:
        if sys.stdin is None:
            raise SoundError("there is no stdin to listen to: pipe some sound in, or listen --microphone")
        yield open_live(sys.stdin.buffer, raw=form)
        return
    from auricle.sound.microphone import open_microphone

    with open_microphone(source.input_device) as microphone:
        yield microphone


class _Asked(BaseException):
    """Ctrl-C, while it may break off what is being done."""


class _CtrlC:
    """The first Ctrl-C ends the listening, but no step that is being computed; from then on it ends all, as usual."""

    def __init__(self) -> None:
        self.asked = self._may_raise = False

    def __enter__(self) -> _CtrlC:
        self._before = signal.signal(signal.SIGINT, self._first)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def waiting_for(self, blocks: Iterator[Block]) -> Block | None:
        """The next block; None when there is none, or it isn't wanted any more."""
        try:
            self._may_raise = True
            return None if self.asked else next(blocks, None)
        except _Asked:
            return None
        finally:
            self._may_raise = False

    def _first(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, self._before)
        self.asked = True
        if self._may_raise:
            raise _Asked


def _record(model: str, session: Session, answer: Answer, notes: list[str]) -> dict[str, Any]:
    return {
        "model": model,
        "answer": answer.text,
        "finish_reason": answer.finish_reason,
        "notes": notes,
        "seconds": answer.segments[-1].end_s,
        "stopped": session.stopped,
        "detector": session.detector,
        "tokens": answer.tokens,
        "prompt_tokens": answer.prompt_tokens,
        "segments": [asdict(segment) for segment in answer.segments],
        "timings": asdict(answer.timings),
    }
