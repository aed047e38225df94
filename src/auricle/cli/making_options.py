"""The options that `auricle continue`, `infill` and `restyle` share."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from auricle.audiolm.making.defaults import FADE_S, MOST_S, MOST_VARIANTS
from auricle.audiolm.making.picture import check_picture
from auricle.cli.sounds import STDIN
from auricle.errors import OptionError
from auricle.sound.write import Bits, Form

if TYPE_CHECKING:
    from auricle.audiolm.making import MakingOptions

STDOUT = "-"

SoundArgument = Annotated[str, typer.Argument(metavar="SOUND", help="A sound file of any format, or - for stdin.")]
MakingModel = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="tiny-audiolm (built in), a model's folder, that of a training run, or a hub name.",
        rich_help_panel="Model",
    ),
]
Seconds = Annotated[float, typer.Option(metavar="S", help="How much is made.")]


@dataclass(frozen=True)
class Tokens:
    """How codes are drawn: fields of `TokenSampling`, whose defaults these are too; a test holds that."""

    PANEL: ClassVar = "Sampling"

    temperature: Annotated[
        float, typer.Option(metavar="X", help="0 takes the likeliest code; higher is more random.")
    ] = 1.0
    top_k: Annotated[int, typer.Option(metavar="N", help="Only the N likeliest codes; 0 is all.")] = 0
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Only the likeliest codes that together have probability P.")
    ] = 1.0
    guidance: Annotated[
        float,
        typer.Option(
            metavar="X", help="Above 1, what the sound changes in the model's expectations is exaggerated; below, less."
        ),
    ] = 1.0
    repetition_window: Annotated[
        int, typer.Option(metavar="N", help="A code too frequent in so many frames is drawn again; 0 is off.")
    ] = 0
    repetition_ratio: Annotated[float, typer.Option(metavar="P", help="Which share of the window is too frequent.")] = (
        0.1
    )
    nar: Annotated[
        Literal["greedy", "sampled"], typer.Option(help="The finer codebooks: the likeliest codes, or drawn ones.")
    ] = "greedy"
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of the random choices.  [default: drawn, and told]")
    ] = None


@dataclass(frozen=True)
class Windowing:
    """How it is made: fields of `Window` and `Options`."""

    PANEL: ClassVar = "Windows and seams"

    context: Annotated[
        float | None,
        typer.Option(metavar="S", help="Heard before each window.  [default: 0.4 of what the model was trained on]"),
    ] = None
    step: Annotated[
        float | None,
        typer.Option(metavar="S", help="Made in each window.  [default: the rest of what it was trained on]"),
    ] = None
    fade: Annotated[float, typer.Option(metavar="S", help="Of the original into what is new.")] = FADE_S
    max_new_seconds: Annotated[float, typer.Option(metavar="S", help="Refuse to make more.")] = MOST_S

    def options(self, tokens: Tokens) -> MakingOptions:
        """As keyword arguments of the library."""
        from auricle.audiolm.making import Window
        from auricle.audiolm.model.sampling import TokenSampling  # brings torch with it

        return {
            "sampling": TokenSampling(**asdict(tokens)),
            "window": Window(self.context, self.step),
            "fade": self.fade,
            "max_new_seconds": self.max_new_seconds,
        }


@dataclass(frozen=True)
class Output:
    """Where the sound goes."""

    PANEL: ClassVar = "Output"

    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A .wav or .flac; - is stdout, while it is made.  [default: a .wav here, named after SOUND]",
            show_default=False,
        ),
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="A file of that name may be replaced.")] = False
    bits: Annotated[Bits, typer.Option(help="Of a sample: 16, 24, or float (not in flac).")] = "16"
    raw: Annotated[bool, typer.Option("--raw", help="To stdout without a header: s16le, s24le or f32le.")] = False
    only_new: Annotated[bool, typer.Option("--only-new", help="Leave out what was there before.")] = False
    count: Annotated[int, typer.Option(metavar="N", help="So many variants, each with the next seed.")] = 1
    play: Annotated[
        bool, typer.Option("--play", help="Play it while it is made; a file is written only where --out names one.")
    ] = False
    output_device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of --play: a loudspeaker's number, or part of its name.")
    ] = None
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the spectrogram, seams marked: .png, .svg or .pdf.")
    ] = None

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_VARIANTS:
            raise OptionError(
                f"count is {self.count}; it must be from 1 to {MOST_VARIANTS}: more come with another --seed"
            )
        if self.count > 1 and (self.play or self.streams):
            raise OptionError(f"count is {self.count}, but one sound is played or written to stdout at a time")
        if self.raw and not self.streams:
            raise OptionError("--raw is for stdout: add --out -")
        if self.output_device is not None and not self.play:
            raise OptionError("--output-device names a loudspeaker: add --play")

    @property
    def streams(self) -> bool:
        return self.out == STDOUT

    def files(self, sound: str, ending: str) -> list[Path | None]:
        """The file of each variant, checked; None where none is written.

        Raises:
            OptionError: one is there already, its name says no form, or its folder isn't there.
        """
        if self.streams or (self.out is None and self.play):
            return [None]
        stem = "stdin" if sound == STDIN else Path(sound).stem
        path = Path(f"{stem}-{ending}.wav" if self.out is None else self.out)
        if path.is_dir():  # also an empty name
            raise OptionError(f"{path} is a folder: name a .wav or .flac with --out")
        Form.of(path, self.bits)
        return [self._checked(file, "--out") for file in _numbered(path, self.count)]

    def pictures(self) -> list[Path | None]:
        """The same of pictures."""
        if self.picture is None:
            return [None] * self.count
        check_picture(self.picture)
        return [self._checked(file, "--picture") for file in _numbered(self.picture, self.count)]

    def _checked(self, file: Path, option: str) -> Path:
        if file.is_dir():
            raise OptionError(f"{file} is a folder: name a file with {option}")
        if file.exists() and not self.overwrite:
            raise OptionError(f"{file} is there already: name another with {option}, or add --overwrite")
        if not file.parent.is_dir():
            raise OptionError(f"{file} can't be written: there is no folder {file.parent}; make it first")
        if not os.access(file.parent, os.W_OK):
            raise OptionError(f"{file} can't be written: {file.parent} is not writable; name another with {option}")
        return file


def _numbered(path: Path, count: int) -> list[Path]:
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{number}") for number in range(1, count + 1)]
