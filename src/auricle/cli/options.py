"""Options that several commands share: each is declared once, with its name, default and help.

Those that belong together are a dataclass. A command takes it as one argument; `with_options` makes its fields flags.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from copy import copy
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast, get_type_hints

import typer

from auricle.errors import OptionError
from auricle.types import Order, Remote, Sampling, SamplingOptions

MODEL_HELP = "[backend:]name[@revision]: tiny (built in), a hub name, or a folder."

Model = Annotated[str, typer.Option(metavar="NAME", help=MODEL_HELP, rich_help_panel="Model")]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Sounds = Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Sound files of any format, or - for stdin.")]
MaxTokens = Annotated[int, typer.Option(metavar="N", help="Stop after so many new tokens.", rich_help_panel="Sampling")]
PromptOrder = Annotated[
    Order | None,
    typer.Option(help="What stands first in the prompt: the text or the audio.  [default: as the model was trained]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ShowTimings = Annotated[
    bool | None,
    typer.Option("--timings/--no-timings", help="Say on stderr where the time went.  [default: on a terminal]"),
]


@dataclass(frozen=True)
class Hardware:
    """What a model runs on: arguments of `auricle.load`."""

    PANEL: ClassVar = "Model"

    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda (or cuda:1, ...), mps.")] = "auto"
    dtype: Annotated[str, typer.Option(metavar="NAME", help="auto, float32, bfloat16, float16.")] = "auto"
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="CPU threads; unless given, torch chooses, and a small model has one."),
    ] = None


@dataclass(frozen=True)
class Server:
    """Which server answers for a model that is named openai:NAME: `auricle.Remote`."""

    PANEL: ClassVar = "Remote"

    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The server of --model openai:NAME, such as http://localhost:8000/v1.  [default: OPENAI_BASE_URL]",
            show_default=False,
        ),
    ] = None
    timeout: Annotated[float, typer.Option(metavar="S", help="Seconds until one attempt must be done.")] = (
        Remote.timeout
    )
    retries: Annotated[int, typer.Option(metavar="N", help="Further attempts when the server is busy or fails.")] = (
        Remote.retries
    )

    def remote(self) -> Remote:
        return Remote(self.base_url, self.timeout, self.retries)


@dataclass(frozen=True)
class Constraint:
    """What the answer is held to: fields of `auricle.Sampling`, at most one of them."""

    PANEL: ClassVar = "Constraint"

    choices: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help=r"The answer is one of these; within one, a comma is written \,"),
    ] = None
    regex: Annotated[
        str | None, typer.Option(metavar="REGEX", help="The answer matches this regular expression as a whole.")
    ] = None
    json_schema: Annotated[
        str | None, typer.Option(metavar="JSON", help="The answer is JSON that fits this schema; @FILE reads it.")
    ] = None

    def options(self) -> SamplingOptions:
        """Those given, as keyword arguments of the library."""
        options: SamplingOptions = {}
        if self.choices is not None:
            options["choices"] = split_choices(self.choices)
        if self.regex is not None:
            options["regex"] = self.regex
        if self.json_schema is not None:
            options["json_schema"] = _schema_text(self.json_schema)
        return options


def split_choices(text: str) -> tuple[str, ...]:
    """`yes, no,neither\\, nor` -> ("yes", "no", "neither, nor")."""
    return tuple(choice.replace(r"\,", ",").strip() for choice in re.split(r"(?<!\\),", text))


def _schema_text(text: str) -> str:
    """A schema as it was given, or what is in the file that @FILE names."""
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise OptionError(f"there is no file {path} for json_schema; check the path") from error
    except OSError as error:
        raise OptionError(f"{path} can't be read for json_schema: {error.strerror}; give a file with one") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is no UTF-8 text, which json_schema needs; give a file with a schema") from error


@dataclass(frozen=True)
class Choice:
    """How tokens are chosen: fields of `auricle.Sampling`; the default of `max_tokens` is the command's."""

    PANEL: ClassVar = "Sampling"

    temperature: Annotated[
        float, typer.Option(metavar="X", help="0 takes the likeliest token; higher is more random.")
    ] = Sampling.temperature
    top_k: Annotated[int, typer.Option(metavar="N", help="Only the N likeliest tokens; 0 is all.")] = Sampling.top_k
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Only the likeliest tokens that together have probability P.")
    ] = Sampling.top_p
    min_p: Annotated[
        float, typer.Option(metavar="P", help="Only tokens at least P times as likely as the likeliest.")
    ] = Sampling.min_p
    repetition_penalty: Annotated[
        float, typer.Option(metavar="X", help="Above 1, tokens that were there already get less likely.")
    ] = Sampling.repetition_penalty
    seed: Annotated[int, typer.Option(metavar="N", help="Of the random choices.")] = Sampling.seed
    stop: Annotated[
        tuple[str, ...], typer.Option(metavar="TEXT", help="End the answer before this text; may be repeated.")
    ] = Sampling.stop

    def options(self, max_tokens: int, constraint: Constraint | None = None) -> SamplingOptions:
        """As keyword arguments of the library, checked now and not only when the model is loaded."""
        held = constraint.options() if constraint is not None else {}
        options = cast(SamplingOptions, {**asdict(self), "stop": tuple(self.stop), "max_tokens": max_tokens, **held})
        Sampling(**options)
        return options


@dataclass(frozen=True)
class Reading:
    """How much sound is taken: `auricle.sound.decode.Limits`."""

    PANEL: ClassVar = "Sound"

    max_seconds: Annotated[float, typer.Option(metavar="S", help="Refuse a sound that is longer.")] = 3600.0
    max_bytes: Annotated[int, typer.Option(metavar="N", help="Refuse a file that is larger.")] = 2 << 30


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Shows typer the fields of a command's dataclasses as its parameters, and gives the command the dataclasses."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: p.annotation for name, p in signature.parameters.items() if is_dataclass(p.annotation)
    }

    @wraps(command)
    def called_by_typer(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    parameters = [
        flag
        for name, parameter in signature.parameters.items()
        for flag in (_flags(groups[name]) if name in groups else [parameter])
    ]
    called_by_typer.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return called_by_typer


def _flags(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    flags = []
    for field in fields(group):
        kind, info = hints[field.name].__origin__, copy(hints[field.name].__metadata__[0])
        info.rich_help_panel = group.PANEL
        kind = list[str] if kind == tuple[str, ...] else kind  # typer's spelling of an option that may be repeated
        flags.append(
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[kind, info]
            )
        )
    return flags
