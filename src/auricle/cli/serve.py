"""`auricle serve`: the OpenAI API, with audio that is heard, and a page to try it on."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer

from auricle.api import CACHE_MB
from auricle.backends import BACKENDS
from auricle.cli import show
from auricle.cli.app import Command, new_app
from auricle.cli.options import Hardware, Model, with_options
from auricle.errors import InputError, OptionError
from auricle.hub import ModelName, find
from auricle.server.settings import Settings

app = new_app()
KEYS = "AURICLE_API_KEYS"


@dataclass(frozen=True)
class Access:
    """Who may ask, and from where."""

    PANEL: ClassVar = "Access"

    api_key: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="KEY",
            help="Answer only those who send it; may be repeated. Others here can read it: a file keeps it to itself.",
        ),
    ] = ()
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"API keys, one a line; else those in {KEYS}, separated by commas."),
    ] = None
    cors_origin: Annotated[
        tuple[str, ...], typer.Option(metavar="URL", help="Let pages of this origin ask; may be repeated.")
    ] = ()
    audio_host: Annotated[
        tuple[str, ...], typer.Option(metavar="HOST", help="Open audio_url on this host; may be repeated.")
    ] = ()
    docs: Annotated[bool, typer.Option("--docs/--no-docs", help="Whether /openapi.json is there.")] = Settings.docs


@dataclass(frozen=True)
class Limits:
    """How much one request, and all of them, may take."""

    PANEL: ClassVar = "Limits"

    max_request_mb: Annotated[float, typer.Option(metavar="MB", help="Of a request.")] = Settings.max_request_mb
    max_seconds: Annotated[float, typer.Option(metavar="S", help="Of one sound.")] = Settings.max_seconds
    max_clips: Annotated[int, typer.Option(metavar="N", help="Sounds in one request.")] = Settings.max_clips
    max_turns: Annotated[int, typer.Option(metavar="N", help="Messages in one request.")] = Settings.max_turns
    max_tokens: Annotated[int, typer.Option(metavar="N", help="Of an answer, and where a request doesn't say.")] = (
        Settings.max_tokens
    )
    max_answers: Annotated[int, typer.Option(metavar="N", help="Answers to one request (n).")] = Settings.max_answers
    max_running: Annotated[int, typer.Option(metavar="N", help="Requests answered at once.")] = Settings.max_running
    max_queue: Annotated[int, typer.Option(metavar="N", help="Requests that wait beyond these; one more gets 429.")] = (
        Settings.max_queue
    )
    timeout_s: Annotated[float, typer.Option(metavar="S", help="Until an answer must be done.")] = Settings.timeout_s
    body_timeout_s: Annotated[float, typer.Option(metavar="S", help="Until the next bytes of a request must come.")] = (
        Settings.body_timeout_s
    )
    max_sessions: Annotated[
        int, typer.Option(metavar="N", help="Open sessions of /v1/realtime; 0 lets nobody in there.")
    ] = Settings.max_sessions
    session_s: Annotated[float, typer.Option(metavar="S", help="How long one of them may last.")] = Settings.session_s
    shutdown_s: Annotated[
        float, typer.Option(metavar="S", help="How long answers under way may go on after SIGTERM.")
    ] = Settings.shutdown_s


@app.command(cls=Command)
@with_options
def serve(
    *,
    model: Model = "tiny",
    hardware: Hardware,
    cache_mb: Annotated[
        float, typer.Option(metavar="MB", help="For what earlier requests computed; 0 keeps nothing.")
    ] = CACHE_MB,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The server of --model openai:NAME.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="To listen on.")] = 8000,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Processes behind the port; they share the mapped weights.")
    ] = 1,
    access: Access,
    limits: Limits,
    log: Annotated[
        Literal["auto", "json", "text"],
        typer.Option(help="The form of the log on stderr; auto is text on a terminal."),
    ] = "auto",
) -> None:
    """Serve a model: the OpenAI API, and a page to try it on.

    The page is at the address that is printed. Clients of the OpenAI API take that address with /v1 as their base URL.
    Limits are for each worker. Logs have no text and no sound. SIGTERM and Ctrl-C finish what runs.

    \b
    auricle serve
    auricle serve --model google/gemma-4-E2B-it --host 0.0.0.0 --api-key-file keys.txt
    curl localhost:8000/v1/audio/transcriptions -F model=tiny -F file=@talk.mp3
    """
    _require_extra()
    settings = Settings(
        model=model,
        device=hardware.device,
        dtype=hardware.dtype,
        threads=hardware.threads,
        cache_mb=cache_mb,
        base_url=base_url,
        api_keys=(*access.api_key, *_keys(access.api_key_file)),
        cors_origins=tuple(access.cors_origin),
        audio_hosts=tuple(access.audio_host),
        docs=access.docs,
        log=_form(log),
        **limits.__dict__,
    )
    name = ModelName.parse(model, tuple(BACKENDS))
    if name.backend in ("native", "transformers"):
        find(name)  # one that isn't there is told now, and a download shows its progress
    from auricle.server.run import serve as run

    def listening() -> None:
        show.note(f"serving {model} on http://{f'[{host}]' if ':' in host else host}:{port} (the API is under /v1)")

    run(settings, host=host, port=port, workers=workers, listening=listening)


def _form(log: str) -> Literal["json", "text"]:
    if log == "auto":
        return "text" if show.is_terminal(sys.stderr) else "json"
    return "json" if log == "json" else "text"


def _keys(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return tuple(key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip())
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OptionError(f"{file} can't be read for API keys: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{file} is no text: write one key a line") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise OptionError(f"{file} has no API key in it: write one a line")
    return keys


def _require_extra() -> None:
    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client", "python_multipart", "websockets", "httpx2")
               if importlib.util.find_spec(name) is None]  # fmt: skip
    if missing:
        raise InputError(f"auricle serve needs {missing[0]}, which is not installed: pip install 'auricle[serve]'")
