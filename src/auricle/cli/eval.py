"""`auricle eval`: a model or a baseline on every clip of a manifest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, ClassVar

import typer

from auricle.api.labelling import Orders
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.loading import load
from auricle.cli.options import Hardware, Json, Model, Reading, Server, split_choices, with_options
from auricle.errors import InputError, OptionError
from auricle.evaluation.analysis import read_run, summarise
from auricle.evaluation.manifest import NAME, Clip, read_manifest
from auricle.evaluation.runner import Outcome, Task, evaluate, labels_of
from auricle.evaluation.runner.about import session
from auricle.evaluation.runner.answers import MAX_TOKENS
from auricle.evaluation.runner.asking import Asking, TaskName
from auricle.evaluation.runner.cluster import on_cluster
from auricle.evaluation.runner.hearing import columns_of
from auricle.evaluation.runner.rows import LINES, TABLE, Rows, results_of
from auricle.evaluation.runner.run import BATCH, IN_A_ROW
from auricle.evaluation.runner.transcripts import COLUMN
from auricle.sound.decode import Limits

app = new_app()

# The options that only some tasks look at.
OF_TASKS: dict[str, tuple[TaskName, ...]] = {
    **dict.fromkeys(("labels", "prompt", "orders", "free", "mapping"), ("label",)),
    **dict.fromkeys(("question", "choices", "max_tokens"), ("answer",)),
    **dict.fromkeys(("language", "text_column"), ("transcribe",)),
    "normaliser": ("transcribe", "answer"),
}


@dataclass(frozen=True)
class Question:
    """What is asked of each clip."""

    PANEL: ClassVar = "Question"

    task: Annotated[
        TaskName,
        typer.Option(
            help="Which label a clip has (column label), what is said (column text), or a question with a right answer "
            "(columns question, answer and perhaps choices)."
        ),
    ] = "label"
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="To choose from; of two, the first is the positive class.  [default: the manifest's]",
        ),
    ] = None
    prompt: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="How labels are asked for: see docs/classify.md.")
    ] = None
    orders: Annotated[Orders, typer.Option(help="Ask with the labels as given, or also the other way round.")] = "both"
    free: Annotated[
        bool, typer.Option("--free", help="Let the model answer in its own words, and read the label out of them.")
    ] = False
    mapping: Annotated[
        tuple[str, ...],
        typer.Option(
            "--map", metavar="OWN=LABEL", help="Of a model with labels of its own: which counts for which; repeatable."
        ),
    ] = ()
    question: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Ask this of every clip, instead of the manifest's questions.")
    ] = None
    choices: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Answers to choose from where the manifest has no choices.")
    ] = None
    max_tokens: Annotated[int, typer.Option(metavar="N", help="Of an answer.")] = MAX_TOKENS
    language: Annotated[str, typer.Option(metavar="NAME", help="Spoken, in English: English, German, ...")] = "English"
    normaliser: Annotated[
        str,
        typer.Option(metavar="NAME", help="Before words are compared: basic (no case, no punctuation) or none."),
    ] = "basic"
    text_column: Annotated[str, typer.Option(metavar="NAME", help="The manifest's column with what is said.")] = COLUMN


@dataclass(frozen=True)
class Running:
    """How the clips are gone through."""

    PANEL: ClassVar = "Run"

    split: Annotated[str | None, typer.Option(metavar="NAME", help="Only the clips of this split.")] = None
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N clips.")] = None
    batch: Annotated[int, typer.Option(metavar="N", help="Clips at a time; 1 for latencies of single ones.")] = BATCH
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Ask again about clips whose rows are errors.")
    ] = False
    max_errors: Annotated[
        int, typer.Option(metavar="N", help="Stop after N errors one after the other; 0 never does.")
    ] = IN_A_ROW
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on Ray: local, auto, or HOST:PORT of a cluster.")
    ] = None
    workers: Annotated[int, typer.Option(metavar="N", help="Of --cluster: processes, each with a model.")] = 1


@app.command(name="eval", cls=Command)
@with_options
def eval_command(
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="A .parquet, .csv, .tsv or .jsonl file, or the folder of one.")
    ],
    *,
    model: Model = "tiny",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write here; a run that was broken off goes on.")],
    question: Question,
    running: Running,
    hardware: Hardware,
    server: Server,
    reading: Reading,
    json: Json = False,
) -> None:
    """Ask a model, or a baseline, about every clip of a manifest.

    A row is written for each clip as it comes. The same command goes on where it was broken off, and asks again about
    clips that have changed since. Beside models, --model takes the baselines silero and energy. A clip that can't be
    read or answered is an error in its row, counted apart from answers, and the exit status is 2. `auricle report`
    makes a page of what comes out.

    \b
    auricle eval set/ --out runs/tiny --labels speech,nonspeech
    auricle eval set/ --out runs/silero --labels speech,nonspeech --model silero
    auricle eval talks.csv --out runs/talks --task transcribe --model google/gemma-4-E2B-it
    auricle eval quiz.jsonl --out runs/quiz --task answer --model openai:gpt-audio --batch 8
    auricle eval set/ --out runs/ray --labels speech,nonspeech --cluster auto --workers 8
    """
    path = manifest / NAME if manifest.is_dir() else manifest
    _refuse_unused(question)
    known = read_manifest(path)
    clips = _chosen(known, path, running)
    asking = Asking(
        question.task,
        model,
        {**asdict(hardware), "remote": server.remote()},
        _labels(question, known),
        _how(question),
        question.question,
        split_choices(question.choices) if question.choices else (),
        question.normaliser,
        question.language,
        question.text_column,
        question.max_tokens,
    )
    if running.workers != Running.workers and running.cluster is None:
        raise OptionError(f"workers is {running.workers}, and cluster is not given: say where they are to run")
    limits = Limits(reading.max_seconds, reading.max_bytes)
    begun = perf_counter()
    task = asking.build(lambda: load(model, hardware, remote=server.remote()))
    loaded_s = perf_counter() - begun
    for remark in task.check(clips):
        show.note(remark)
    _tell_left_out(clips, task)
    done = _run(clips, path, task, asking, out, loaded_s, running, limits)
    _show(done, out, json)
    if done.errors:
        raise typer.Exit(InputError.exit_status)


def _run(
    clips: Sequence[Clip],
    manifest: Path,
    task: Task,
    asking: Asking,
    out: Path,
    loaded_s: float,
    running: Running,
    limits: Limits,
) -> Outcome:
    answers = None
    if running.cluster is not None:
        answers = on_cluster(asking, address=running.cluster, workers=running.workers, limits=limits)
    try:
        with show.progress(f"asking about {len(clips)} clips") as progress:
            return evaluate(
                clips,
                task,
                out,
                batch=running.batch,
                retry_errors=running.retry_errors,
                in_a_row=running.max_errors,
                limits=limits,
                answers=answers,
                progress=progress,
                session=partial(session, out, manifest, len(clips), loaded_s),
            )
    except KeyboardInterrupt:
        if written := Rows(out).count():
            show.note(f"{written} rows are written to {out / LINES}: run the same command again to go on")
        raise


def _tell_left_out(clips: Sequence[Clip], task: Task) -> None:
    """Of a manifest that is the table of a run, or looks like one."""
    results = results_of(task.plan().get("labels", ()))
    if taken := sorted({name for clip in clips for name in columns_of(clip)} & results):
        shown = ", ".join(taken[:5]) + (", ..." if len(taken) > 5 else "")
        show.note(f"columns of the manifest are left out, since a run has them for its own answers: {shown}")


def _refuse_unused(question: Question) -> None:
    """An option that the task doesn't look at was meant to do something."""
    for name, tasks in OF_TASKS.items():
        value = getattr(question, name)
        given = (tuple(value) if isinstance(value, list) else value) != getattr(Question, name)
        if given and question.task not in tasks:
            option, whose = {"mapping": "map"}.get(name, name), " or ".join(tasks)
            raise OptionError(f"{option} is an option of task {whose}, and task is {question.task}: leave it out")


def _chosen(clips: Sequence[Clip], manifest: Path, running: Running) -> list[Clip]:
    """Those that are asked about."""
    if running.limit is not None and running.limit < 1:
        raise OptionError(f"limit is {running.limit}; it must be at least 1")
    chosen = [clip for clip in clips if running.split is None or clip.split == running.split]
    if not chosen:
        known = ", ".join(sorted({clip.split for clip in clips if clip.split}))
        raise OptionError(f"split is {running.split!r}, and {manifest} has {known or 'no splits'}: name one of these")
    return chosen[: running.limit]


def _labels(question: Question, clips: Sequence[Clip]) -> tuple[str, ...]:
    if question.task != "label":
        return ()
    return labels_of(clips) if question.labels is None else split_choices(question.labels)


def _how(question: Question) -> dict[str, Any]:
    if question.task != "label":
        return {}
    names = {}
    for word in question.mapping:
        own, equals, label = word.rpartition("=")
        if not equals or not own or not label:
            raise OptionError(f"map is {word!r}; it must be OWN=LABEL, such as 'Speech synthesizer=speech'")
        names[own.strip()] = label.strip()
    return {"prompt": question.prompt, "orders": question.orders, "free": question.free, "names": names}


def _show(done: Outcome, out: Path, json: bool) -> None:
    summary = summarise(read_run(out))
    if json:
        counts = {"rows": len(done.rows), "asked": done.asked, "errors": done.errors}
        show.as_json({"out": str(out), **counts, **summary.to_json()})
        return
    show.table(f"{len(done.rows)} clips, {done.asked} asked about now: {out / TABLE}", *summary.table(), sys.stdout)
    if done.again:
        show.note(f"{done.again} clips have changed since they were asked about, and were asked about again")
    if done.errors:
        show.complain(
            f"{done.errors} of {len(done.rows)} clips have no answer: column 'error' of {out / TABLE} says why"
        )
