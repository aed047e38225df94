"""`auricle transcribe`: what is said, in any number of sounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Annotated

import typer

from auricle.api import TRANSCRIBE_TOKENS
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.loading import load
from auricle.cli.options import Choice, Hardware, Json, MaxTokens, Model, Reading, Server, Sounds, with_options
from auricle.cli.sounds import read_sounds
from auricle.errors import SoundError
from auricle.types import TranscriptSegment

app = new_app()


@app.command(cls=Command)
@with_options
def transcribe(
    audio: Sounds,
    *,
    model: Model = "tiny",
    hardware: Hardware,
    server: Server,
    language: Annotated[
        str, typer.Option(metavar="NAME", help="The language spoken, in English: German, Japanese, ...")
    ] = "English",
    max_tokens: MaxTokens = TRANSCRIBE_TOKENS,
    choice: Choice,
    reading: Reading,
    json: Json = False,
) -> None:
    """Write down what is said.

    Sound of more than 30 s is cut at pauses and read piece by piece; --max-tokens counts for each piece. Of several
    sounds, each line starts with the file's name. With --json, each sound is one object on a line of its own, with the
    times of its pieces. A sound that can't be read is reported, the others are transcribed, and the exit status is 2.

    \b
    auricle transcribe talk.mp3
    auricle transcribe talk.mp3 --json
    auricle transcribe day1.m4a day2.m4a --language German --model google/gemma-4-E2B-it
    auricle transcribe - < talk.mp3
    """
    options = choice.options(max_tokens)
    remote = server.remote()
    loaded_model = cache(lambda: load(model, hardware, remote=remote))  # loaded when the first sound could be read
    status = 0
    for name in audio:
        try:
            (sound,) = read_sounds([name], reading)
            loaded = loaded_model()
            if json:
                with show.waiting(f"transcribing {sound.source} ({sound.seconds:.1f} s)"):
                    transcript = loaded.transcribe(sound, language=language, **options)
                show.as_json({"model": loaded.name, "source": sound.source, **asdict(transcript)})
            else:
                prefix = f"{name}: " if len(audio) > 1 else ""
                _write_down(loaded.stream_transcript(sound, language=language, **options), prefix)
        except SoundError as error:
            show.complain(str(error))
            status = error.exit_status
    if status:
        raise typer.Exit(status)


def _write_down(segments: Iterator[TranscriptSegment], prefix: str) -> None:
    """Prints each piece as soon as it is there, so that an interrupted run keeps what it had."""
    remarks: list[str] = []
    separator = prefix
    try:
        for segment in segments:
            show.part(separator + segment.text if segment.text else "")
            separator = " " if segment.text else separator
            remarks += segment.notes
    except BaseException:
        if separator == " ":
            show.line("")  # ends the line that was begun
        raise
    show.line("" if separator == " " else prefix.rstrip())
    for remark in remarks:
        show.note(prefix + remark)
