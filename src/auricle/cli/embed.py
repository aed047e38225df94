"""`auricle embed`: vectors of sounds, on screen, in a picture, or in a folder."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from auricle import api
from auricle.backends import BACKENDS
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.loading import load
from auricle.cli.options import Hardware, Json, Model, PromptOrder, Reading, with_options
from auricle.errors import InputError, OptionError, SoundError, UnsupportedError
from auricle.hub import ModelName
from auricle.represent.cluster import represent_on_cluster
from auricle.represent.inputs import Items, gather
from auricle.represent.plan import Format, Settings
from auricle.represent.plot import Drawn, check_name, draw, drawn_of
from auricle.represent.run import Outcome, how_far, represent
from auricle.represent.shards import FAILURES, open_embeddings
from auricle.sound.decode import Limits, decode
from auricle.types import Embedding, Extraction, Stage, TokenChoice

app = new_app()


@dataclass(frozen=True)
class What:
    """What is taken out of the model: fields of `auricle.Extraction`."""

    PANEL: ClassVar = "Vectors"

    stage: Annotated[
        Stage,
        typer.Option(
            help="Where: the encoder's blocks, what leaves the audio tower, audio tokens, or the decoder's blocks."
        ),
    ] = Extraction.stage
    layers: Annotated[
        str, typer.Option(metavar="SPEC", help="-1, 0,4,-1, 8:24:4 or all; 0 is what the first block gets.")
    ] = "-1"
    tokens: Annotated[TokenChoice, typer.Option(help="Of stage llm: which positions of the prompt.")] = (
        Extraction.tokens
    )
    pooling: Annotated[str, typer.Option(metavar="HOW", help="none, mean, max, last, or window=SECONDS.")] = (
        Extraction.pooling
    )
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="Of stage llm: what is asked about the sound.")] = (
        Extraction.prompt
    )
    overlap: Annotated[float, typer.Option(metavar="S", help="Seconds that the chunks of a long sound share.")] = (
        Extraction.overlap
    )
    precision: Annotated[str, typer.Option(metavar="NAME", help="Of the vectors: float32 or float16.")] = (
        Extraction.dtype
    )


@dataclass(frozen=True)
class Output:
    """Where vectors of many sounds go."""

    PANEL: ClassVar = "Output"

    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write shards and an index here; a run that was broken off goes on."),
    ] = None
    format: Annotated[Format, typer.Option(help="Of the shards; memmap is one array for all.")] = "safetensors"
    batch_seconds: Annotated[
        float, typer.Option(metavar="S", help="Sound in a batch, its padding counted; 16 sounds at most.")
    ] = Settings.batch_seconds
    shard_items: Annotated[int, typer.Option(metavar="N", help="Sounds of a shard, at most.")] = Settings.shard_items
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first sound that can't be read.")] = False
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw similarity over time (one sound or two) or a projection (more)."),
    ] = None
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on Ray: local, auto, or HOST:PORT of a cluster.")
    ] = None
    workers: Annotated[int, typer.Option(metavar="N", help="Of --cluster: processes, each with a model.")] = 1


@app.command(cls=Command)
@with_options
def embed(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH...", help="Sound files and folders of them.")
    ] = None,
    *,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A list: .txt, or .csv, .tsv, .jsonl, .parquet with a column 'path'."),
    ] = None,
    model: Model = "tiny",
    hardware: Hardware,
    what: What,
    order: PromptOrder = Extraction.order,
    output: Output,
    reading: Reading,
    json: Json = False,
) -> None:
    """Take vectors out of a model, each with its start and end in seconds.

    Without --out a table says what came of each sound, and --json prints the vectors, a sound a line. With --out they
    are written shard by shard, with an index: the same command goes on where it was broken off. A sound that can't be
    read is reported, the others are embedded, and the exit status is 2. Sound of more than 30 s is heard in chunks
    that overlap.

    \b
    auricle embed clip.wav
    auricle embed talk.mp3 --plot talk.png
    auricle embed clips/ --pooling mean --out vectors
    auricle embed clips/ --stage llm --layers 0,2,-1 --tokens last --out last --format npz
    auricle embed --manifest clips.csv --pooling window=1.0 --out windows --cluster local --workers 2
    """
    values: dict[str, Any] = {**asdict(what), "order": order}
    extraction = Extraction(dtype=values.pop("precision"), **values)
    job = _Job(gather(paths or [], manifest), extraction, model, hardware, output, reading, json)
    job.check()
    status = job.show() if output.out is None else job.write(output.out)
    if status:
        raise typer.Exit(status)


@dataclass(frozen=True)
class _Job:
    """One call of the command."""

    items: Items
    extraction: Extraction
    model: str
    hardware: Hardware
    output: Output
    reading: Reading
    json: bool

    def check(self) -> None:
        """Before a model is loaded."""
        if self._backend == "openai":
            raise UnsupportedError(
                f"{self.model} runs on a server, which can't be looked into: use a native model, such as tiny"
            )
        if self.output.workers != Output.workers and self.output.cluster is None:
            raise OptionError(
                f"workers is {self.output.workers}, and cluster is not given: say with --cluster where they are to run"
            )
        if self.output.plot is not None:
            check_name(self.output.plot)

    def write(self, out: Path) -> int:
        """Into a folder; gives the exit status."""
        try:
            with show.progress(f"embedding {len(self.items.paths)} sounds") as progress:
                done = self._represent(out, progress)
        except KeyboardInterrupt:
            if so_far := how_far(out):
                show.note(so_far)
            raise
        if self.json:
            record = {**asdict(done), "failures": len(done.failures)}
            show.as_json({"model": self.model, "out": str(out), **record})
        else:
            sounds = done.items - len(done.failures)
            counts = f"{show.counted(done.vectors, 'vector')} of {show.counted(sounds, 'sound')}"
            show.line(f"{counts} in {show.counted(done.shards, 'shard')}: {out}")
        if self.output.plot is not None and done.vectors:
            self._plot(drawn_of(open_embeddings(out)), self.output.plot)
        if done.failures:
            count, whole = len(done.failures), done.items
            show.complain(f"{count} of {whole} sounds could not be read; {out / FAILURES} says why")
        return InputError.exit_status if done.failures else 0

    def show(self) -> int:
        """On screen, and in a picture; gives the exit status."""
        if self.output.cluster is not None:
            raise OptionError("cluster is given without out: say with --out which folder the vectors are to go to")
        loaded = self._load()
        loaded.embed_many([], **asdict(self.extraction))  # a stage or layer that isn't there is told at once
        rows: list[tuple[object, ...]] = []
        drawn: list[Drawn] = []
        status, count = 0, len(self.items.paths)
        for number, path in enumerate(self.items.paths):
            try:
                with show.waiting(f"embedding {path} ({number + 1} of {count})"):
                    sound = decode(path, rate=loaded.backend.rate, limits=self._limits)
                    found = loaded.embed(sound, **asdict(self.extraction))
            except SoundError as error:
                if self.output.strict:
                    raise
                show.complain(str(error))
                status = error.exit_status
                continue
            if self.output.plot is not None:
                label = self.items.carried([number]).get("label")
                drawn.append(Drawn.of(found, None if label is None else str(label[0]), whole=count <= 2))
            if self.json:
                show.as_json(_record(loaded, self.extraction, found))
            else:
                rows.append(_row(found))
        if self.output.plot is not None and drawn:
            self._plot(drawn, self.output.plot)
        if rows:
            header = ("sound", "seconds", "layers", "vectors", "width", "from", "to")
            show.table(f"{self.extraction.stage} of {loaded.name}", header, rows, sys.stdout)
        return status

    def _represent(self, out: Path, progress: Any) -> Outcome:
        output = self.output
        settings = Settings(output.format, output.batch_seconds, output.shard_items)
        loaded = self._load()
        if output.cluster is None:
            return represent(
                loaded,
                self.items,
                out,
                self.extraction,
                settings,
                limits=self._limits,
                strict=output.strict,
                progress=progress,
            )
        return represent_on_cluster(
            loaded,
            {**asdict(self.hardware), "encoder_only": self._encoder_only},
            self.items,
            out,
            self.extraction,
            settings,
            address=output.cluster,
            workers=output.workers,
            limits=self._limits,
            strict=output.strict,
            progress=progress,
        )

    def _plot(self, drawn: list[Drawn], path: Path) -> None:
        show.note(f"{path} shows {draw(drawn, path)}")

    def _load(self) -> api.Model:
        return load(self.model, self.hardware, encoder_only=self._encoder_only)

    @property
    def _encoder_only(self) -> bool:
        return self.extraction.stage != "llm" and self._backend == "native"

    @property
    def _backend(self) -> str:
        return ModelName.parse(self.model, tuple(BACKENDS)).backend

    @property
    def _limits(self) -> Limits:
        return Limits(self.reading.max_seconds, self.reading.max_bytes)


def _record(loaded: api.Model, extraction: Extraction, one: Embedding) -> dict[str, Any]:
    return {
        **loaded.provenance(),
        "source": one.source,
        **{name: value for name, value in asdict(extraction).items() if name in ("stage", "tokens", "pooling")},
        "seconds": one.seconds,
        "chunks": one.chunks,
        "layers": one.layers,
        "start_s": one.start_s.tolist(),
        "end_s": one.end_s.tolist(),
        "kinds": one.kinds,
        "vectors": one.vectors.tolist(),
        "notes": one.notes,
    }


def _row(one: Embedding) -> tuple[object, ...]:
    layers = ",".join(map(str, one.layers))
    times = (float(one.start_s[0]), float(one.end_s[-1])) if len(one.start_s) else ("", "")
    return (one.source, one.seconds, layers, one.vectors.shape[1], one.vectors.shape[2], *times)
