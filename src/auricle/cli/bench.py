"""`auricle bench`: how fast a model is on this machine, and how much memory it takes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from auricle.backends import BACKENDS
from auricle.checkpoint import Checkpoint
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.options import MODEL_HELP, Hardware, Json, with_options
from auricle.errors import InputError, OptionError
from auricle.hub import ModelName, find
from auricle.layers.packing import read_packing

if TYPE_CHECKING:
    from auricle.bench.run import Opening

app = new_app()

PEERS = ("transformers", "llama.cpp")
OURS = "auricle"
DEFAULT_MODEL, DEFAULT_SCHEME = "tiny", "int4"
EXTRA = 'pip install "auricle[transformers]"'


@dataclass(frozen=True)
class RandomWeights:
    """A model that needs no download."""

    PANEL: ClassVar = "Random weights"

    random_weights: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Instead of MODEL, one of random weights: gemma-4-e2b, or small to try it."),
    ] = None
    scheme: Annotated[
        str | None, typer.Option(metavar="NAME", help="How they are stored: int4, int8, bf16.  [default: int4]")
    ] = None
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where they are made and kept.  [default: auricle/random in the cache]"),
    ] = None


@dataclass(frozen=True)
class Llama:
    """What `--vs llama.cpp` needs."""

    PANEL: ClassVar = "llama.cpp"

    llama_bench: Annotated[Path | None, typer.Option(metavar="PATH", help="The program llama-bench.")] = None
    llama_mtmd_cli: Annotated[Path | None, typer.Option(metavar="PATH", help="The program llama-mtmd-cli.")] = None
    gguf: Annotated[Path | None, typer.Option(metavar="FILE", help="The model.")] = None
    mmproj: Annotated[Path | None, typer.Option(metavar="FILE", help="Its audio tower.")] = None


@app.command(cls=Command)
@with_options
def bench(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help=f"{MODEL_HELP}  [default: tiny]")] = None,
    *,
    seconds: Annotated[float, typer.Option(metavar="S", help="Of sound in the question, at most 30.")] = 30.0,
    tokens: Annotated[int, typer.Option(metavar="N", help="Of each answer; decode speed is after the first.")] = 33,
    runs: Annotated[int, typer.Option(metavar="N", help="Measured rounds, after one that warms up.")] = 5,
    vs: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Measure in turns with transformers or llama.cpp; may be repeated."),
    ] = None,
    json: Json = False,
    random: RandomWeights,
    llama: Llama,
    hardware: Hardware,
) -> None:
    """Measure speed and memory on this machine.

    Loading, mel, encoder, prefill, time to the first token, decode and peak memory, each the median of some runs of
    one question about one sound; and how near decoding comes to the rate at which memory is read. With --vs the same
    for others, in turns, so that a machine that slows down slows all of them. Close everything else first.

    \b
    auricle bench tiny
    auricle bench --random-weights gemma-4-e2b --scheme int4
    auricle bench --random-weights gemma-4-e2b --scheme bf16 --vs transformers --json
    auricle bench google/gemma-4-E2B-it --threads 4
    """
    peers = _checked(vs or [], model, random, llama)
    from auricle.bench import machine, report  # brings torch with it: only once the options are read
    from auricle.bench.llama import LlamaFiles
    from auricle.bench.run import Settings, llama_cpp, measure, ours, transformers

    load_average = machine.load_average()  # before we are at work ourselves
    settings = Settings(seconds, tokens, runs, _threads(hardware), hardware.device, hardware.dtype)
    files = LlamaFiles(**asdict(llama)) if "llama.cpp" in peers else None
    own = _made(random, random.scheme or DEFAULT_SCHEME) if random.random_weights else _found(model or DEFAULT_MODEL)
    against: dict[str, Opening] = {}
    if "transformers" in peers:
        against["transformers"] = transformers(_dense(own, random), settings)
    if files is not None:
        against["llama.cpp"] = llama_cpp(files, settings)
    with _saying() as said:
        result = measure({OURS: ours(own, settings)}, against, settings, load_average=load_average, said=said)
    name, stored = random.random_weights or model or DEFAULT_MODEL, _stored(own)
    if json:
        show.as_json({"model": name, "folder": str(own), "scheme": stored, **report.flat(result, OURS)})
        return
    show.table(_title(name, stored, result), report.header(result), report.rows(result), sys.stdout)
    show.line(report.decode_line(result, OURS))
    show.line(report.machine_line(result))
    for remark in result["notes"]:
        show.note(remark)


def _checked(vs: list[str], model: str | None, random: RandomWeights, llama: Llama) -> list[str]:
    """The peers asked for, once each, when all that was given fits together."""
    for peer in vs:
        if peer not in PEERS:
            raise OptionError(f"no peer {peer!r}: --vs takes {' or '.join(PEERS)}")
    if model and random.random_weights:
        raise OptionError(f"{model} and --random-weights {random.random_weights} are two models: give one of them")
    if random.scheme and not random.random_weights:
        raise OptionError(
            f"--scheme {random.scheme} is for --random-weights; {model or DEFAULT_MODEL} is measured as it is: "
            f"`auricle quantize {model or DEFAULT_MODEL} --scheme {random.scheme} --out DIR` first, and measure DIR"
        )
    if random.work and not random.random_weights:
        raise OptionError("--work is for --random-weights: add it, or leave this out")
    given = [name for name, value in asdict(llama).items() if value is not None]
    if given and "llama.cpp" not in vs:
        raise OptionError(f"--{given[0].replace('_', '-')} is for --vs llama.cpp: add it, or leave this out")
    if "transformers" in vs and importlib.util.find_spec("transformers") is None:
        raise InputError(f"--vs transformers needs transformers, which is not installed: {EXTRA}")
    return list(dict.fromkeys(vs))


def _threads(hardware: Hardware) -> int:
    import torch

    return hardware.threads if hardware.threads is not None else torch.get_num_threads()


def _found(model: str) -> Path:
    name = ModelName.parse(model, tuple(BACKENDS))
    if name.backend != "native":
        raise OptionError(f"bench measures models that run here, and {model} runs with {name.backend!r}: give a folder")
    return find(name)


def _dense(folder: Path, random: RandomWeights) -> Path:
    """The same model as transformers can read it."""
    if random.random_weights:
        return _made(random, "bf16")
    packing = read_packing(Checkpoint(folder).config, folder)
    if packing is not None:
        raise OptionError(
            f"--vs transformers needs dense weights, and {folder} is quantised to {packing.scheme}: "
            "give the folder it was made from, or use --random-weights"
        )
    return folder


def _made(random: RandomWeights, scheme: str) -> Path:
    """The folder of random weights, made now if it isn't there; a note says where."""
    from auricle.bench.making import default_work, make, size_on_disk

    assert random.random_weights is not None
    work = random.work or default_work()
    with show.progress(f"making {random.random_weights} in {scheme}") as progress:
        folder = make(random.random_weights, scheme, work, progress)
    show.note(f"random weights in {scheme}: {folder} ({show.size(size_on_disk(folder))})")
    return folder


def _stored(folder: Path) -> str:
    """How the weights are stored: int4, int8, bf16, float32, ..."""
    config = Checkpoint(folder).config
    packing = read_packing(config, folder)
    if packing is not None:
        return packing.scheme
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "dense")
    return {"bfloat16": "bf16"}.get(dtype, dtype)


def _title(name: str, stored: str, result: dict[str, Any]) -> str:
    settings = result["settings"]
    return (
        f"{name} ({stored}, computing in {settings['dtype']} on {settings['device']}): "
        f"{settings['seconds']:g} s of sound, {settings['tokens']} tokens, medians of {settings['runs']}"
    )


@contextmanager
def _saying() -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being measured, one line that changes."""
    if not show.is_terminal(sys.stderr):
        yield lambda line: None
        return
    from rich.console import Console

    # A spinner that turns once a second: at its usual speed it takes part of a core that is being measured.
    with Console(file=sys.stderr).status("beginning", refresh_per_second=1) as status:
        yield status.update
