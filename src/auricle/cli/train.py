"""`auricle train`: an AudioLM from tokenised sound."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer

from auricle.audiolm.training import Architecture, Data, Every, Optimising, Run, Settings
from auricle.audiolm.training.launch import is_launched, is_ours, launch
from auricle.audiolm.training.settings import Device, Dtype, Optimizer, Pattern, Positions, parse_fraction
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.main import INTERRUPTED
from auricle.cli.options import Json, with_options
from auricle.errors import OptionError
from auricle.jobs.extras import needed

if TYPE_CHECKING:
    from auricle.audiolm.training.run import Outcome

app = new_app()


@dataclass(frozen=True)
class Model:
    """What is built: fields of `Architecture`."""

    PANEL: ClassVar = "Model"

    pattern: Annotated[
        Pattern, typer.Option(help="Codebook 0 first and then the others (ar-nar), or all with a delay.")
    ] = "ar-nar"
    decoder_dim: Annotated[int, typer.Option(metavar="N", help="Width.")] = Architecture.decoder_dim
    nhead: Annotated[int, typer.Option(metavar="N", help="Attention heads.")] = Architecture.nhead
    num_decoder_layers: Annotated[int, typer.Option(metavar="N", help="Layers of a half.")] = (
        Architecture.num_decoder_layers
    )
    nar_layers: Annotated[
        int | None, typer.Option(metavar="N", help="Layers of the second half.  [default: as many]")
    ] = None
    nar_scale_factor: Annotated[float, typer.Option(metavar="X", help="Width of the second half, to the first's.")] = (
        Architecture.nar_scale_factor
    )
    num_quantizers: Annotated[int, typer.Option(metavar="N", help="Codebooks.")] = Architecture.num_quantizers
    norm_first: Annotated[bool, typer.Option(help="Norms before attention and feed-forward, or after.")] = True
    add_prenet: Annotated[bool, typer.Option("--add-prenet", help="A small network behind the embeddings.")] = False
    bos: Annotated[bool, typer.Option(help="A token that begins each target.")] = True
    predict_end: Annotated[
        bool, typer.Option("--predict-end", help="Learn where sounds end, where the tokens say so.")
    ] = False
    share_embedding: Annotated[bool, typer.Option(help="One table a codebook for prompt, target and output.")] = True
    positions: Annotated[Positions, typer.Option(help="As angles, or added as VALL-E's AudioLM has them.")] = "rotary"
    dropout: Annotated[float, typer.Option(metavar="P", help="Share of values left out in training.")] = (
        Architecture.dropout
    )


@dataclass(frozen=True)
class Tokens:
    """What is read and how it is split: fields of `Data`."""

    PANEL: ClassVar = "Data"

    max_duration: Annotated[float, typer.Option(metavar="S", help="Seconds of sound in a batch, padding counted.")] = (
        Data.max_duration
    )
    filter_min_duration: Annotated[float, typer.Option(metavar="S", help="Leave shorter items out.")] = (
        Data.filter_min_duration
    )
    filter_max_duration: Annotated[float, typer.Option(metavar="S", help="Leave longer items out.")] = (
        Data.filter_max_duration
    )
    prompt_fraction: Annotated[
        str, typer.Option(metavar="X[:Y]", help="Share of an item that is its prompt; a range is drawn from.")
    ] = "0.4"
    infill: Annotated[float, typer.Option(metavar="P", help="Share of items that have both sides as a prompt.")] = 0.0
    style: Annotated[float, typer.Option(metavar="P", help="Share of items that have an excerpt to follow.")] = 0.0
    style_frames: Annotated[int, typer.Option(metavar="N", help="Frames of that excerpt.")] = Data.style_frames
    drop_prompt: Annotated[float, typer.Option(metavar="P", help="Share of items without a prompt, for guidance.")] = (
        0.0
    )
    codebook_size: Annotated[
        int | None, typer.Option(metavar="N", help="Entries of a codebook.  [default: as the codec has]")
    ] = None


@dataclass(frozen=True)
class Steps:
    """How the weights move: fields of `Optimising`."""

    PANEL: ClassVar = "Training"

    train_stage: Annotated[int, typer.Option(metavar="0|1|2", help="Both halves, the first alone, the second.")] = 0
    num_epochs: Annotated[int, typer.Option(metavar="N", help="Times through the data.")] = Optimising.num_epochs
    start_epoch: Annotated[
        int, typer.Option(metavar="N", help="Count from here; above 1, start from what --exp-dir has, or --init.")
    ] = 1
    max_steps: Annotated[int, typer.Option(metavar="N", help="So many steps, instead of --num-epochs.")] = 0
    base_lr: Annotated[float, typer.Option(metavar="X", help="The highest learning rate.")] = Optimising.base_lr
    warmup: Annotated[
        int | None, typer.Option(metavar="N", help="Steps up to it.  [default: 5 % of all, at most 1000]")
    ] = None
    optimizer: Annotated[Optimizer, typer.Option(help="What moves the weights.")] = "adamw"
    weight_decay: Annotated[float, typer.Option(metavar="X", help="Of matrices.")] = Optimising.weight_decay
    clip_grad: Annotated[float, typer.Option(metavar="X", help="Largest norm of the gradient; 0 is off.")] = (
        Optimising.clip_grad
    )
    accumulate: Annotated[int, typer.Option(metavar="N", help="Batches a step.")] = 1
    dtype: Annotated[Dtype, typer.Option(help="Of products; weights stay float32.")] = "bf16"
    seed: Annotated[int, typer.Option(metavar="N", help="Of all random choices.")] = 0


@dataclass(frozen=True)
class Work:
    """Where it runs, and how often it writes: fields of `Run`."""

    PANEL: ClassVar = "Run"

    init: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Start from a model's folder, or a .pt of VALL-E's trainer.")
    ] = None
    valid_every: Annotated[
        str | None,
        typer.Option(metavar="N|TIME", help="Validate after so many steps, or 10m, 90s.  [default: each epoch]"),
    ] = None
    save_every: Annotated[
        str, typer.Option(metavar="N|TIME", help="Write a checkpoint; also after each validation.")
    ] = "10m"
    log_every: Annotated[int, typer.Option(metavar="N", help="Steps to a line of the log.")] = Run.log_every
    minutes: Annotated[float, typer.Option(metavar="M", help="Stop after; the same command goes on.")] = 0.0
    tensorboard: Annotated[bool, typer.Option(help="Write a log for TensorBoard too.")] = True
    threads: Annotated[int | None, typer.Option(metavar="N", help="CPU threads.  [default: torch chooses]")] = None
    device: Annotated[Device, typer.Option(help="What it runs on.")] = "auto"
    processes: Annotated[int, typer.Option(metavar="N", help="Train in so many processes of this machine, by DDP.")] = 1


@app.command(name="train", cls=Command)
@with_options
def train_command(
    *,
    manifest_dir: Annotated[Path, typer.Option(metavar="DIR", help="What auricle tokenize wrote.")],
    exp_dir: Annotated[Path, typer.Option(metavar="DIR", help="Write here; a run that was broken off goes on.")],
    model_name: Annotated[Literal["audio-lm"], typer.Option(help="The kind of model.")] = "audio-lm",
    model: Model,
    tokens: Tokens,
    steps: Steps,
    work: Work,
    json: Json = False,
) -> None:
    """Train an AudioLM on tokenised sound.

    DIR gets best/, the model with the lowest validation loss, to be loaded by name; checkpoint/, from which the same
    command goes on; log.jsonl, tensorboard/ and losses.png; and result.json, what the best model comes to on the test
    items. Stopped by Ctrl-C, --minutes or kill -9, the run goes on with the very same losses.

    \b
    auricle train --manifest-dir tokens --exp-dir exp/a
    auricle train --manifest-dir tokens --exp-dir exp/b --pattern delay --drop-prompt 0.1 --infill 0.3
    auricle train --manifest-dir tokens --exp-dir exp/c --train-stage 1 --num-epochs 10
    auricle train --manifest-dir tokens --exp-dir exp/c --train-stage 2 --start-epoch 11 --num-epochs 20
    accelerate launch -m auricle train --manifest-dir tokens --exp-dir exp/d
    """
    del model_name  # there is one; the flag is VALL-E's
    settings = Settings(
        Data(manifest_dir=manifest_dir, **{**vars(tokens), "prompt_fraction": parse_fraction(tokens.prompt_fraction)}),
        _run(exp_dir, work),
        Architecture(**vars(model)),
        Optimising(**vars(steps)),
    )
    if work.processes != 1 and is_launched() and not is_ours():
        raise OptionError(
            "processes is for this command alone; a launcher started this one, and says how many: drop it"
        )
    if work.processes != 1 and not is_launched():
        status = launch(work.processes, sys.argv[1:], device=work.device, threads=work.threads)
        raise typer.Exit(status)
    with show.waiting("loading torch"), _left_at_once():
        from auricle.audiolm.training.run import train

        for module in ("accelerate", "lhotse.serialization"):  # which it would import later
            needed(module, "training", "train")

    with show.progress("reading the tokens") as progress:
        done = train(
            settings, say=lambda step, steps, words: progress(step, steps, words or "training"), note=show.note
        )
    if done.main:
        _show(done, json)
    if done.ending.value == "interrupted":
        raise typer.Exit(INTERRUPTED)


@contextmanager
def _left_at_once() -> Iterator[None]:
    """Ctrl-C while modules are imported: Python may lose an exception there, and nothing is begun yet."""
    before = signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run(exp_dir: Path, work: Work) -> Run:
    given = {name: value for name, value in vars(work).items() if name != "processes"}
    given["valid_every"] = None if work.valid_every is None else Every.parse("valid_every", work.valid_every)
    given["save_every"] = Every.parse("save_every", work.save_every)
    return Run(out=exp_dir, **given)


def _show(done: Outcome, json: bool) -> None:
    if json:
        best = None if done.best_loss is None else {"step": done.best_step, "validation_loss": done.best_loss}
        record = {"exp_dir": str(done.out), "ending": done.ending.value, "step": done.step, "steps": done.steps}
        show.as_json({**record, "resumed_from": done.resumed_from, "best": best, "result": done.result})
    elif done.result is not None:
        _show_result(done)
    if done.ending.value != "done":
        why = "the time is up" if done.ending.value == "time" else "interrupted"
        show.note(f"{why} at step {done.step} of {done.steps}: run the same command again to go on")
    elif done.resumed_from == done.steps:
        show.note(f"{done.out} was finished already, at step {done.step}: to train further, name it with --init")


def _show_result(done: Outcome) -> None:
    assert done.result is not None
    test = done.result["test"]
    unigram, copied = (test["baselines"][name]["cross_entropy"] for name in ("unigram", "copy_last"))
    rows: list[tuple[Any, ...]] = []
    for book, nats in enumerate(test["cross_entropy"]):
        if nats is not None:
            shares = (show.percent(test["top1"][book]), show.percent(test["top10"][book]))
            rows.append((book, nats, test["perplexity"][book], *shares, unigram[book], copied[book]))
    header = ("codebook", "cross-entropy", "perplexity", "top-1", "top-10", "unigram", "copy-last")
    items = show.counted(test["items"], "test item")
    show.table(f"{items}, in nats a token: {done.out / 'best'}", header, rows, sys.stdout)
