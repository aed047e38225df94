"""The commands and how their help looks. A command's module is imported when the command is called, not before."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import auricle

# name -> "module:attribute" of a typer app, and the line that `auricle --help` shows: the first of the app's own help
COMMANDS = {
    "ask": ("auricle.cli.ask:app", "Ask audio a question."),
    "chat": ("auricle.cli.chat:app", "Talk about audio, turn by turn."),
    "listen": ("auricle.cli.listen:app", "Listen to sound that is still coming in, and answer when the speaker stops."),
    "transcribe": ("auricle.cli.transcribe:app", "Write down what is said."),
    "classify": ("auricle.cli.classify:app", "Say which of some labels a sound is."),
    "embed": ("auricle.cli.embed:app", "Take vectors out of a model, each with its start and end in seconds."),
    "continue": ("auricle.cli.continue_:app", "Go on where a sound ends."),
    "infill": ("auricle.cli.infill:app", "Fill a gap in a sound, from what is before it and after it."),
    "restyle": ("auricle.cli.restyle:app", "Go on where a sound ends, in the manner of another."),
    "segment": ("auricle.cli.segment:app", "Cut annotated recordings into clips, with a manifest."),
    "degrade": ("auricle.cli.degrade:app", "Make clean clips harder to hear, in every combination of some levels."),
    "eval": ("auricle.cli.eval:app", "Ask a model, or a baseline, about every clip of a manifest."),
    "report": (
        "auricle.cli.report:app",
        "Make a page of what was measured: curves, tables, the worst mistakes to listen to, and what was run.",
    ),
    "tokenize": ("auricle.cli.tokenize:app", "Turn sounds into the codes that an AudioLM is trained on."),
    "train": ("auricle.cli.train:app", "Train an AudioLM on tokenised sound."),
    "serve": ("auricle.cli.serve:app", "Serve a model: the OpenAI API, and a page to try it on."),
    "inspect": ("auricle.cli.inspect:app", "Show what is in a model's folder."),
    "models": ("auricle.cli.models:app", "List the models at hand, or fetch one."),
    "quantize": ("auricle.cli.quantize:app", "Write a model in fewer bits."),
    "bench": ("auricle.cli.bench:app", "Measure speed and memory on this machine."),
    "verify": ("auricle.cli.verify:app", "Compare our numbers with the reference implementation's."),
}

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(TyperCommand):
    """A command whose help calls its arguments what their metavar says, and groups options under their panel."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.options_metavar or "", *(_spelled(param) for param in self.params if _is_argument(param))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if _is_argument(param):
                sections["Arguments"].append((_spelled(param), getattr(param, "help", None) or ""))
            else:
                sections.setdefault(getattr(param, "rich_help_panel", None) or "Options", []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Commands(TyperGroup):
    """`auricle` itself."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names  # for "did you mean"

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        found = typer.main.get_command(getattr(importlib.import_module(module), attribute))
        found.name = cmd_name
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def new_app(**settings: Any) -> typer.Typer:
    """A typer app in our manner: plain help, no completion options."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=SETTINGS, **settings)


app = new_app(cls=Commands, invoke_without_command=True)


@app.callback()
def auricle_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Ask audio a question: open audio language models on the machine you have.

    \b
    auricle ask clip.wav "What does the speaker say?"
    auricle transcribe talk.mp3
    auricle COMMAND --help
    """
    if version:
        print("auricle", auricle.__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


def command() -> Any:
    """The whole command line as an object that parses and invokes."""
    return typer.main.get_command(app)


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _spelled(param: Any) -> str:
    return str(param.metavar or param.name.upper())
