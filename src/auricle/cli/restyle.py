"""`auricle restyle`: a sound that goes on in the manner of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from auricle.audiolm.making.defaults import MODEL, SECONDS, STYLE_S
from auricle.cli.app import Command, new_app
from auricle.cli.making import Call, check_sound
from auricle.cli.making_options import MakingModel, Output, Seconds, SoundArgument, Tokens, Windowing
from auricle.cli.options import Hardware, Json, Reading, ShowTimings, with_options
from auricle.cli.sounds import STDIN
from auricle.errors import SoundError
from auricle.types import Audio

if TYPE_CHECKING:
    from auricle.audiolm.loading import Loaded
    from auricle.audiolm.making import Making, MakingOptions, Options

app = new_app()


@app.command(cls=Command)
@with_options
def restyle(
    sound: SoundArgument,
    *,
    like: Annotated[str, typer.Option(metavar="OTHER", help="The sound in whose manner it goes on.")],
    seconds: Seconds = SECONDS,
    style_strength: Annotated[
        float, typer.Option(metavar="X", help="Of the manner: 1 as learnt, up to 100 exaggerated, 0 none.")
    ] = 1.0,
    like_at: Annotated[
        float | None,
        typer.Option(metavar="S", help="Where in OTHER the excerpt begins.  [default: its loudest stretch]"),
    ] = None,
    like_seconds: Annotated[
        float,
        typer.Option(metavar="S", help="Length of the excerpt, which is a part of what the model takes in one go."),
    ] = STYLE_S,
    model: MakingModel = MODEL,
    hardware: Hardware,
    tokens: Tokens,
    windowing: Windowing,
    output: Output,
    reading: Reading,
    json: Json = False,
    timings: ShowTimings = None,
) -> None:
    """Go on where a sound ends, in the manner of another.

    The model hears the end of the one and an excerpt of the other. The first is kept as it is, at the codec's rate and
    mixed to mono, and fades into what is new within the last 30 ms of it.

    \b
    auricle restyle examples/melody.wav --like examples/flute.wav
    auricle restyle examples/melody.wav --like examples/flute.wav --like-at 1 --style-strength 2 --out flute-like.wav
    """
    from auricle.audiolm.making.continuation import restyling
    from auricle.audiolm.making.like import Like, styled  # brings torch with it

    call = Call(sound, "restyled", model, hardware, tokens, windowing, output, reading, json, timings)

    def begin(audio: Audio, loaded: Loaded, options: MakingOptions) -> Making:
        other = call.read(like, loaded)
        return restyling(
            audio, other, seconds, style_strength=style_strength, like_at=like_at, like_seconds=like_seconds, **options
        )

    def check(options: Options) -> None:
        options.check_seconds("seconds", seconds)
        styled(options, style_strength)
        Like(like, like_at, like_seconds)
        if sound == STDIN == like:
            raise SoundError(f"{STDIN} is given twice, but stdin can be read only once")
        check_sound(like)

    call.run(begin, check)
