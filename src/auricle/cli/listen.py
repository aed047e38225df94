"""`auricle listen`: sound that is still coming in, from a pipe or a microphone."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import typer

from auricle.api import TRANSCRIBE_TOKENS, live_instruction
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.loading import load
from auricle.cli.options import Choice, Constraint, Hardware, Json, Model, ShowTimings, with_options
from auricle.errors import OptionError, SoundError
from auricle.sound.live import LiveSound, RawFormat, open_live
from auricle.types import Answer, Listening, Sampling, Vad

if TYPE_CHECKING:
    from auricle.engine.live import Session
    from auricle.sound.samples import Encoding

app = new_app()

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
        return RawFormat(cast("Encoding", self.raw), self.rate, self.channels or 1)


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
    sound comes. Ctrl-C ends listening to the microphone, and the answer follows; a second one ends that too.

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
    options = choice.options(wanted, constraint)
    form = source.format
    pause = MICROPHONE_PAUSE_S if pause is None and source.microphone else pause
    Listening(None, step, pause, vad)  # checked before a model is loaded
    if not source.microphone and show.is_terminal(sys.stdin):
        raise SoundError("nothing is piped in: arecord -f S16_LE -r 16000 | auricle listen, or listen --microphone")
    loaded = load(model, hardware)
    with _opened(source, form) as sound:
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
            _hear(session, sound, _Partials(session, json) if partial else None)
            answer = show.finish(session.stream()) if json else show.stream(session.stream())
    notes = (*sound.notes, *answer.notes)
    if session.stopped and not source.microphone:
        notes += (f"the speaker stopped before {session.seconds:.1f} s, and what came then was not heard",)
    if json:
        show.as_json(_record(loaded.name, session, answer, notes))
    else:
        for line in notes:
            show.note(line)
    if show.wants_timings(timings if not json else bool(timings)):
        show.timings(answer)


def _hear(session: Session, sound: LiveSound, partials: _Partials | None) -> None:
    """Feeds the session until the speaker stops or the sound ends."""
    for block in sound:
        session.feed(block)
        if session.stopped:
            break
        if partials is not None:
            partials.show()
    if partials is not None:
        partials.clear()


class _Partials:
    """What is understood so far: on a terminal one line that changes, else a line each."""

    def __init__(self, session: Session, json: bool) -> None:
        self._session, self._json = session, json
        self._next_s = PARTIAL_EVERY_S  # of sound
        self._not_before = 0.0  # by the clock: half the time at most goes into them
        self._text = ""

    def show(self) -> None:
        now = time.perf_counter()
        if self._session.seconds < self._next_s or now < self._not_before:
            return
        text = self._session.partial()
        took = time.perf_counter() - now
        self._next_s = self._session.seconds + PARTIAL_EVERY_S
        self._not_before = time.perf_counter() + took
        if text == self._text:
            return
        self._text = text
        if self._json:
            show.as_json({"partial": text, "seconds": self._session.seconds})
        else:
            show.changing_line(text)

    def clear(self) -> None:
        if not self._json:
            show.changing_line("")


@contextmanager
def _opened(source: Source, form: RawFormat | None) -> Iterator[LiveSound]:
    """The sound, as it comes."""
    if not source.microphone:
        if sys.stdin is None:
            raise SoundError("there is no stdin to listen to: pipe some sound in, or listen --microphone")
        with nullcontext(open_live(sys.stdin.buffer, raw=form)) as stream:
            yield stream
        return
    from auricle.sound.microphone import open_microphone

    with open_microphone(source.input_device) as microphone, _interrupt(microphone.stop):
        yield microphone


@contextmanager
def _interrupt(stop: Any) -> Iterator[None]:
    """The first Ctrl-C ends the listening; from then on it ends everything, as usual."""
    before = signal.getsignal(signal.SIGINT)

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _record(model: str, session: Session, answer: Answer, notes: tuple[str, ...]) -> dict[str, Any]:
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
