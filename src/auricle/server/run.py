"""Running the server: one process, or several behind one port that map the same weights."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import ExitStack

import uvicorn
from fastapi import FastAPI

from auricle.errors import InputError
from auricle.server import log
from auricle.server.app import create_app
from auricle.server.metrics import SHARED
from auricle.server.settings import Settings

SETTINGS = "AURICLE_SERVE"  # in a worker's environment: `Settings.as_json`


def serve(settings: Settings, *, host: str, port: int, workers: int = 1) -> None:
    """Serves until SIGTERM or Ctrl-C; answers under way are finished first, for `settings.shutdown_s` at most.

    Raises:
        InputError: the address can't be listened on.
    """
    log.set_up(settings.log)
    _check_free(host, port)
    common = {
        "host": host,
        "port": port,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": round(settings.shutdown_s),
        "timeout_keep_alive": 30,
        "ws_max_size": 4 << 20,
        "backlog": 256,
    }
    with ExitStack() as stack:
        if workers > 1:
            os.environ[SETTINGS] = settings.as_json()
            os.environ[SHARED] = stack.enter_context(tempfile.TemporaryDirectory(prefix="auricle-metrics-"))
            uvicorn.run("auricle.server.run:worker", factory=True, workers=workers, **common)  # type: ignore[arg-type]
        else:
            uvicorn.run(create_app(settings), **common)  # type: ignore[arg-type]


def worker() -> FastAPI:
    """The app of one of several processes."""
    settings = Settings.from_json(os.environ[SETTINGS])
    log.set_up(settings.log)
    return create_app(settings)


def _check_free(host: str, port: int) -> None:
    """Says in a line what would otherwise be a stack of the server's own."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise InputError(
            f"{host}:{port} can't be listened on ({error.strerror or error}): choose another --port or --host"
        ) from error
