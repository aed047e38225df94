"""`auricle continue`: a sound that goes on where it ended."""

from __future__ import annotations

from auricle.audiolm.making.defaults import MODEL, SECONDS
from auricle.cli.app import Command, new_app
from auricle.cli.making import Call
from auricle.cli.making_options import MakingModel, Output, Seconds, SoundArgument, Tokens, Windowing
from auricle.cli.options import Hardware, Json, Reading, ShowTimings, with_options

app = new_app()


@app.command("continue", cls=Command)
@with_options
def continue_command(
    sound: SoundArgument,
    *,
    seconds: Seconds = SECONDS,
    model: MakingModel = MODEL,
    hardware: Hardware,
    tokens: Tokens,
    windowing: Windowing,
    output: Output,
    reading: Reading,
    json: Json = False,
    timings: ShowTimings = None,
) -> None:
    """Go on where a sound ends.

    The sound is kept as it is, at the codec's rate and mixed to mono, and fades into what is new within the last 30 ms
    of it. The model hears its end; what is longer than the model makes in one go is made window after window. The same
    seed makes the same sound again. With --out - or --play it comes out while it is made.

    \b
    auricle continue examples/melody.wav
    auricle continue examples/flute.wav --seconds 30 --out longer.flac --picture longer.png
    auricle continue examples/melody.wav --count 4 --temperature 0.9 --only-new
    auricle continue examples/melody.wav --seconds 60 --play
    auricle continue - --out - < examples/melody.wav | ffplay -
    """
    call = Call(sound, "continued", model, hardware, tokens, windowing, output, reading, json, timings)
    from auricle.audiolm.making import continuing  # brings torch with it

    call.run(
        lambda audio, loaded, options: continuing(audio, seconds, **options),
        lambda options: options.check_seconds("seconds", seconds),
    )
