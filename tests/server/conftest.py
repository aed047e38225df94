"""A real server in this process, on a free port, with the built-in model: what clients of any kind talk to."""

from __future__ import annotations

import base64
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from auricle.server import log
from auricle.server.app import create_app
from auricle.server.settings import Settings
from auricle.server.wire import Protocol

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """A server for as long as this lasts -> its address."""
    log.set_up("json")
    app = create_app(settings)
    app.state.service.load()
    options = {"http": Protocol, "log_config": None, "access_log": False, "timeout_graceful_shutdown": 10}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        wait_until(lambda: server.started)
        yield address
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to hold in time"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of one server with default settings, for all tests that leave it as it is."""
    with running(Settings(max_seconds=600.0)) as address:
        yield address


@pytest.fixture
def client(server: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server, timeout=60) as opened:
        yield opened


def encoded(name: str) -> str:
    """An example in base64."""
    return base64.b64encode((EXAMPLES / name).read_bytes()).decode()


def asking(text: str, *sounds: str, **options: Any) -> dict[str, Any]:
    """A request about examples."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    parts += [{"type": "input_audio", "input_audio": {"data": encoded(name), "format": "wav"}} for name in sounds]
    return {"model": "tiny", "messages": [{"role": "user", "content": parts}], **options}


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What the server and uvicorn write to the log for as long as this lasts."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(log._Lines("json"))
    loggers = [logging.getLogger(name) for name in ("auricle.server", "uvicorn", "asyncio", "")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield text
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
