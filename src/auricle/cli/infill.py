"""`auricle infill`: a gap in a sound, filled."""

from __future__ import annotations

from typing import Annotated

import typer

from auricle.audiolm.making.defaults import MODEL, TRIES
from auricle.cli.app import Command, new_app
from auricle.cli.making import Call
from auricle.cli.making_options import MakingModel, Output, SoundArgument, Tokens, Windowing
from auricle.cli.options import Hardware, Json, Reading, ShowTimings, with_options
from auricle.errors import OptionError

app = new_app()


@app.command(cls=Command)
@with_options
def infill(
    sound: SoundArgument,
    *,
    gap: Annotated[list[str], typer.Option(metavar="FROM:TO", help="What is made anew, in seconds: 2.0:3.5.")],
    tries: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Fill it N times, and keep the one that what is after the gap fits best.  "
            f"[default: {TRIES}; 1 at temperature 0]",
        ),
    ] = None,
    from_left_only: Annotated[
        bool, typer.Option("--from-left-only", help="Don't listen to what is after the gap, to compare.")
    ] = False,
    model: MakingModel = MODEL,
    hardware: Hardware,
    tokens: Tokens,
    windowing: Windowing,
    output: Output,
    reading: Reading,
    json: Json = False,
    timings: ShowTimings = None,
) -> None:
    """Fill a gap in a sound, from what is before it and after it.

    What is in the gap is not listened to. The rest is kept as it is, at the codec's rate and mixed to mono, but for a
    fade of 30 ms on either side. It is filled several times, and the one is kept after which the model finds what
    follows the gap likeliest. A gap that is longer than it takes in one go is filled window after window.

    \b
    auricle infill examples/melody.wav --gap 2.0:3.5
    auricle infill examples/melody.wav --gap 4.2:4.9 --out mended.flac --picture mended.png
    auricle infill examples/melody.wav --gap 2.0:3.5 --tries 64 --out better.wav
    auricle infill examples/melody.wav --gap 2.0:3.5 --from-left-only --out blind.wav
    """
    if len(gap) > 1:
        raise OptionError(f"there are {len(gap)} gaps; one is filled at a time: fill the next in what comes out")
    place = _parsed(gap[0])
    call = Call(sound, "filled", model, hardware, tokens, windowing, output, reading, json, timings)
    from auricle.audiolm.making.gaps import check_filling, infilling  # brings torch with it

    call.run(
        lambda audio, loaded, options: infilling(audio, place, tries=tries, from_left_only=from_left_only, **options),
        lambda options: check_filling(place, tries, from_left_only=from_left_only),
    )


def _parsed(gap: str) -> tuple[float, float]:
    first, colon, end = gap.partition(":")
    try:
        if not colon:
            raise ValueError
        return float(first), float(end)
    except ValueError:
        raise OptionError(f"gap is {gap!r}; it must be FROM:TO in seconds, such as 2.0:3.5") from None
