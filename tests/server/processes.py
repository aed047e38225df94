"""`auricle serve` as its users start it: a process of its own, on a free port."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.server.conftest import wait_until

PATIENCE_S = 60.0


@dataclass
class Served:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.connect()
        return connection

    def get(self, path: str) -> tuple[int, str]:
        connection = self.connect()
        try:
            connection.request("GET", path, headers={"connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """A number of /metrics, over all its labels."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if re.match(rf"{re.escape(name)}[ {{]", line)]
        assert lines, f"/metrics has no {name}"
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the log has of one kind."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [record for record in map(json.loads, lines) if record["event"] == name]

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE_S) -> int:
        """Its exit status, after a signal."""
        self.send(number)
        return self.process.wait(seconds)

    def children(self) -> list[int]:
        """The processes of its workers."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(number) for number in listed.split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(*flags: str) -> list[str]:
    return [sys.executable, "-c", "from auricle.cli.main import main; main()", "serve", *flags]


@contextmanager
def serving(folder: Path, *flags: str, wait: bool = True, **environment: str) -> Iterator[Served]:
    """A server whose log is in `folder`; until it is ready is waited for. What is left of it in the end is killed."""
    port, log = free_port(), folder / "serve.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command("--port", str(port), "--log", "json", *flags),
            stderr=stream,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(folder), **environment},
        )
    served = Served(process, port, log)
    try:
        if wait:
            wait_until(lambda: process.poll() is not None or _ready(served), PATIENCE_S)
            assert process.poll() is None, log.read_text()
        yield served
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _ready(served: Served) -> bool:
    try:
        return served.get("/health")[0] == 200
    except ConnectionRefusedError:
        return False


def refused(served: Served) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", served.port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def endless(*, stream: bool = False, words: int = 1300) -> bytes:
    """A question whose answer takes many seconds; unless it is cut, it has three times `words` words."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Count."}],
        "regex": f"(one two three ){{{words}}}",
        "max_tokens": 4096,
        "stream": stream,
    }
    return json.dumps(body).encode()


def ask(connection: http.client.HTTPConnection, body: bytes) -> http.client.HTTPResponse:
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    return connection.getresponse()


def timed(work: Callable[[], Any]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
