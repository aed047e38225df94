"""`auricle verify`: our numbers against the reference implementation's."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from auricle.backends import BACKENDS
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.options import Hardware, Json, MaxTokens, ModelArgument, Reading, with_options
from auricle.cli.sounds import read_sounds
from auricle.hub import ModelName

app = new_app()


@app.command(cls=Command)
@with_options
def verify(
    model: ModelArgument,
    *,
    audio: Annotated[
        str, typer.Option(metavar="FILE", help="The sound to compare on, or - for stdin; its first 30 s.")
    ],
    hardware: Hardware,
    max_tokens: MaxTokens = 32,
    reading: Reading,
    json: Json = False,
) -> None:
    """Compare our numbers with the reference implementation's.

    Loads the model with Auricle, then with transformers, and compares on a sound of yours: mel features, encoder,
    logits of the prompt, greedy tokens. The exit status is 1 when one of them differs by more than its tolerance. It
    needs the extra: pip install "auricle[transformers]"

    \b
    auricle verify tiny --audio clip.wav
    auricle verify google/gemma-4-E2B-it --audio talk.mp3 --dtype bfloat16
    """
    name = ModelName.parse(model, tuple(BACKENDS))
    (sound,) = read_sounds([audio], reading)
    from auricle.backends import verify as library  # brings torch with it: only once the sound is read

    with show.waiting(f"computing {model} twice"):
        found = library.verify(
            name,
            sound,
            device=hardware.device,
            dtype=hardware.dtype,
            threads=hardware.threads,
            max_tokens=max_tokens,
        )
    if json:
        show.as_json({"model": model, "audio": sound.source, "ok": found.ok, **asdict(found)})
    else:
        rows = [
            (
                check.name,
                " x ".join(map(str, check.shape)),
                check.difference,
                check.tolerance,
                "ok" if check.ok else "FAILED",
                check.remark,
            )
            for check in found.checks
        ]
        title = f"{model} against {found.reference}, {found.dtype} on {found.device}, {found.seconds:.1f} s of sound"
        header = ("what", "shape", "max abs difference", "tolerance", "result", "remark")
        show.table(title, header, rows, sys.stdout)
        for remark in found.notes:
            show.note(remark)
    if not found.ok:
        raise typer.Exit(1)
