"""`auricle ask`: a question about one or several sounds."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from auricle import api
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.loading import load
from auricle.cli.options import (
    Choice,
    Constraint,
    Hardware,
    Json,
    MaxTokens,
    Model,
    PromptOrder,
    Reading,
    Server,
    ShowTimings,
    with_options,
)
from auricle.cli.sounds import read_sounds, split_question
from auricle.cli.traces import show_trace
from auricle.types import Answer, Sampling

app = new_app()


@app.command(cls=Command)
@with_options
def ask(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="AUDIO... [QUESTION]",
            help="Sound files of any format, or - for stdin; then what to ask about them. Without a question: "
            "'Describe what you hear in this audio.'",
        ),
    ],
    *,
    model: Model = "tiny",
    hardware: Hardware,
    server: Server,
    max_tokens: MaxTokens = Sampling.max_tokens,
    choice: Choice,
    constraint: Constraint,
    reading: Reading,
    order: PromptOrder = None,
    json: Json = False,
    timings: ShowTimings = None,
    zero_audio: Annotated[
        bool,
        typer.Option(
            "--zero-audio",
            help="Answer a second time with the audio zeroed, and say when the answer stays the same.",
        ),
    ] = False,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Show prompt, features, activations and every sampled token on stderr."),
    ] = False,
) -> None:
    """Ask audio a question.

    The answer goes to stdout as it comes, everything else to stderr. Sound of more than 30 s is cut at pauses into
    clips of at most 30 s, and a note says so.

    \b
    auricle ask clip.wav "What does the speaker say?"
    auricle ask clip.wav
    auricle ask a.wav b.mp3 "Which is louder?"
    auricle ask - "Is anyone speaking?" < talk.webm
    auricle ask clip.wav "What is said?" --json
    auricle ask clip.wav --model openai:google/gemma-4-E4B-it --base-url http://localhost:8000/v1
    auricle ask clip.wav "Is anyone speaking?" --choices yes,no
    auricle ask clip.wav --model google/gemma-4-E2B-it --max-tokens 200
    """
    options = choice.options(max_tokens, constraint)
    names, question = split_question(words)
    sounds = read_sounds(names, reading)
    loaded = load(model, hardware, remote=server.remote())
    message = api.user_message(sounds, question, order or loaded.backend.order)

    def answer(label: str, zeroed: bool) -> Answer:
        chunks = loaded.chat([message], zero_audio=zeroed, trace=trace, **options)
        if json:
            return show.finish(chunks)
        if zero_audio:
            show.line(label)
        return show.stream(chunks)

    heard = answer("with the sound:", zeroed=False)
    zeroed = answer("\nwith zeroed audio:", zeroed=True) if zero_audio else None
    if json:
        show.as_json(_record(loaded, heard, zeroed))
    else:
        _show_rest(heard, zeroed)
        if trace:
            show_trace(heard, sys.stderr)
    if show.wants_timings(timings if not json else bool(timings)):  # JSON has them already
        show.timings(heard, loaded.backend.load_s)


def _show_rest(heard: Answer, zeroed: Answer | None) -> None:
    for line in heard.notes:
        show.note(line)
    if zeroed is not None and zeroed.text == heard.text:
        show.note("the answer does not change when the audio is zeroed: it does not depend on the sound")


def _record(loaded: api.Model, heard: Answer, zeroed: Answer | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "model": loaded.name,
        "answer": heard.text,
        "finish_reason": heard.finish_reason,
        "notes": heard.notes,
        "tokens": heard.tokens,
        "prompt_tokens": heard.prompt_tokens,
        "reused_tokens": heard.reused_tokens,
        "segments": [asdict(segment) for segment in heard.segments],
        "timings": {"load_s": loaded.backend.load_s, **asdict(heard.timings)},
    }
    if zeroed is not None:
        record["zero_audio"] = {
            "answer": zeroed.text,
            "finish_reason": zeroed.finish_reason,
            "tokens": zeroed.tokens,
            "answer_changed": zeroed.text != heard.text,
        }
    if heard.trace is not None:
        record["trace"] = heard.trace
    return record
