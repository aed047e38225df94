"""`auricle models`: what is at hand, and `auricle models pull`: fetching more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from auricle.backends import BACKENDS
from auricle.checkpoint import Checkpoint
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.options import Json, ModelArgument
from auricle.errors import CheckpointError
from auricle.hub import BUILT_IN, ModelName, cached_models, find, pull
from auricle.models.summary import SUMMARIES

app = new_app(cls=TyperGroup, invoke_without_command=True)


@app.callback()
def models(context: typer.Context, json: Json = False) -> None:
    """List the models at hand, or fetch one.

    The built-in one, and those in the hub's cache, which other tools share. Models of a type that doesn't run here are
    marked.

    \b
    auricle models
    auricle models --json
    auricle models pull google/gemma-4-E2B-it
    """
    if context.invoked_subcommand is not None:
        return
    found = [_described(name, "built in", folder := find(ModelName(name)), _bytes(folder)) for name in BUILT_IN]
    found += [_described(name, "hub's cache", folder, size) for name, folder, size in cached_models()]
    if json:
        show.as_json({"models": found})
        return
    rows = [
        (
            model["name"],
            model["model_type"] if model["runs"] else f"{model['model_type']} (does not run here)",
            show.size(model["bytes"]),
            model["where"],
            model["folder"],
        )
        for model in found
    ]
    show.table("models", ("name", "type", "size", "where", "folder"), rows, sys.stdout)


@app.command("pull", cls=Command)
def pull_model(model: ModelArgument, json: Json = False) -> None:
    """Fetch a model, or complete and update it.

    It goes into the hub's cache, of which HF_HOME and HF_HUB_CACHE say where it is; its folder is printed. An
    interrupted download goes on where it stopped.

    \b
    auricle models pull google/gemma-4-E2B-it
    auricle models pull google/gemma-4-E4B-it@main
    """
    folder = pull(ModelName.parse(model, tuple(BACKENDS)))
    if json:
        show.as_json({"model": model, "folder": str(folder)})
    else:
        show.line(str(folder))


def _described(name: str, where: str, folder: Path, size: int) -> dict[str, Any]:
    try:
        kind = Checkpoint(folder).config["model_type"]
    except CheckpointError:
        kind = "unknown"
    return {
        "name": name,
        "model_type": kind,
        "runs": kind in SUMMARIES,
        "bytes": size,
        "where": where,
        "folder": str(folder),
    }


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
