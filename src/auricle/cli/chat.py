"""`auricle chat`: a conversation about one or several sounds."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from auricle.api import CACHE_MB, Chat
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.loading import load
from auricle.cli.options import (
    Choice,
    Constraint,
    Hardware,
    MaxTokens,
    Model,
    PromptOrder,
    Reading,
    Server,
    ShowTimings,
    with_options,
)
from auricle.cli.sounds import STDIN, read_sounds
from auricle.errors import OptionError, PromptError, SoundError
from auricle.types import Sampling

app = new_app()

PROMPT = "> "
QUIT = "/quit"


@app.command(cls=Command)
@with_options
def chat(
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Sound files of any format.")],
    *,
    model: Model = "tiny",
    hardware: Hardware,
    server: Server,
    max_tokens: MaxTokens = Sampling.max_tokens,
    choice: Choice,
    constraint: Constraint,
    reading: Reading,
    order: PromptOrder = None,
    timings: ShowTimings = None,
    cache_mb: Annotated[
        float, typer.Option(metavar="N", help="Megabytes for what earlier turns computed; 0 keeps nothing.")
    ] = CACHE_MB,
) -> None:
    """Talk about audio, turn by turn.

    Reads a line, answers it, and so on; the first question carries the sounds. /quit, Ctrl-D and Ctrl-C end it. Lines
    may also be piped in, one question each.

    \b
    auricle chat clip.wav
    auricle chat a.wav b.wav --model google/gemma-4-E2B-it
    printf 'What is said?\\nIs there music?\\n' | auricle chat clip.wav
    """
    options = choice.options(max_tokens, constraint)
    if sys.stdin is None:
        raise OptionError("chat reads your questions from stdin, and there is none: don't close it")
    if STDIN in audio:
        raise SoundError("chat reads your questions from stdin, so a sound can't come from there: give a file")
    sounds = read_sounds(audio, reading)
    loaded = load(model, hardware, cache_mb, remote=server.remote())
    conversation = Chat(loaded, sounds, order=order)
    if show.is_terminal(sys.stdin):
        print(f"Ask about {', '.join(audio)}; {QUIT} or Ctrl-D ends.", file=sys.stderr)
    for line in _lines():
        try:
            answer = show.stream(conversation.say(line, **options))
        except PromptError as error:
            # At a terminal the conversation goes on with another question; what is piped in fails as a whole.
            if not show.is_terminal(sys.stdin):
                raise
            show.note(str(error))
            continue
        for remark in answer.notes:
            show.note(remark)
        if show.wants_timings(timings):
            show.timings(answer, loaded.backend.load_s if len(conversation.messages) == 2 else None)


def _lines() -> Iterator[str]:
    """The user's lines up to the end of input or /quit; empty ones are passed over."""
    interactive = show.is_terminal(sys.stdin)
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives `input` a history and editing
    while True:
        try:
            line = _ask_line() if interactive else next(sys.stdin)
        except (EOFError, StopIteration):
            if interactive:
                print(file=sys.stderr)
            return
        line = line.strip()
        if line == QUIT:
            return
        if line:
            yield line


def _ask_line() -> str:
    """One line typed at the prompt, which stays out of stdout when that is not the terminal itself."""
    if show.is_terminal(sys.stdout):
        return input(PROMPT)
    print(PROMPT, end="", file=sys.stderr, flush=True)
    if not (line := sys.stdin.readline()):
        raise EOFError
    return line
