"""`auricle classify`: which of some labels each of any number of sounds is."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Annotated

import typer

from auricle.api import Orders
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.loading import load
from auricle.cli.options import Hardware, Json, Model, PromptOrder, Reading, Server, Sounds, split_choices, with_options
from auricle.cli.sounds import read_sounds
from auricle.errors import OptionError, SoundError
from auricle.types import Labels

app = new_app()


@app.command(cls=Command)
@with_options
def classify(
    audio: Sounds,
    *,
    model: Model = "tiny",
    hardware: Hardware,
    server: Server,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help=r"The labels to choose from; within one, a comma is written \,  [default: the model's own]",
        ),
    ] = None,
    question: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What to ask a model that has no labels of its own.  [default: the prompt's]"
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="How to ask: plain, options, yesno, or a file of your own.  [default: options for a label and its "
            "negation, else plain]",
        ),
    ] = None,
    orders: Annotated[Orders, typer.Option(help="Ask with the labels as given and turned round, or only as given.")] = (
        "both"
    ),
    top: Annotated[int, typer.Option(metavar="N", help="Show the N most probable; 0 is all.")] = 5,
    order: PromptOrder = None,
    reading: Reading,
    json: Json = False,
) -> None:
    """Say which of some labels a sound is.

    A model with a classification head has labels of its own. Any other needs --labels: it is asked, and the answers
    that say each label are scored, so that the probabilities are shares among the labels given. Of several sounds, each
    line starts with the file's name. With --json, each sound is one object on a line of its own. A sound that can't be
    read is reported, the others are classified, and the exit status is 2.

    \b
    auricle classify clip.wav --labels speech,nonspeech
    auricle classify *.wav --labels "a dog,a cat" --question "Which animal is heard?"
    auricle classify clip.wav --model transformers:MIT/ast-finetuned-audioset-10-10-0.4593 --json
    """
    if top < 0:
        raise OptionError(f"top is {top}; it must be at least 0 (0 shows all labels)")
    wanted = split_choices(labels) if labels is not None else None
    if twice := next((label for label in wanted or () if wanted and wanted.count(label) > 1), None):
        raise OptionError(f"labels has {twice!r} twice: give each label once")
    remote = server.remote()
    loaded_model = cache(lambda: load(model, hardware, remote=remote))  # loaded when the first sound could be read
    status = 0
    for name in audio:
        try:
            (sound,) = read_sounds([name], reading)
            loaded = loaded_model()
            with show.waiting(f"classifying {sound.source} ({sound.seconds:.1f} s)"):
                found = loaded.classify(sound, wanted, question, prompt=prompt, orders=orders, order=order)
            if json:
                _show_json(loaded.name, sound.source, found, top)
            else:
                _show(found, top, f"{name}: " if len(audio) > 1 else "")
        except SoundError as error:
            show.complain(str(error))
            status = error.exit_status
    if status:
        raise typer.Exit(status)


def _show_json(model: str, source: str, found: Labels, top: int) -> None:
    record = {**asdict(found), "labels": [asdict(label) for label in found.labels[: top or None]]}
    if found.asked is None:
        del record["asked"]
    show.as_json({"model": model, "source": source, "best": found.best, **record})


def _show(found: Labels, top: int, prefix: str) -> None:
    """A line for each label, the most probable first."""
    for label in found.labels[: top or None]:
        show.line(f"{prefix}{show.percent(label.probability)}  {label.name}")
    for remark in found.notes:
        show.note(prefix + remark)
