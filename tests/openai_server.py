"""An OpenAI-compatible server on this machine: it keeps what it was sent, and answers or fails as a script says."""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from auricle.api import Model, load
from auricle.errors import AuricleError
from auricle.types import Audio, Remote, Scheduling
from tests.parity.sounds import babble

SOUND = Audio(babble(16_000), 16_000, "babble")
HEARD = {"prompt_tokens": 40, "completion_tokens": 3, "total_tokens": 43, "prompt_tokens_details": {"audio_tokens": 25}}


@dataclass(frozen=True)
class Say:
    """A stream: its texts, then how it ends."""

    texts: tuple[str, ...] = ("A dog", " barks", ".")
    finish: str | None = "stop"  # None: the stream is cut there, without a finish_reason
    usage: dict[str, Any] | None = field(default_factory=lambda: dict(HEARD))
    pause_s: float = 0.0  # before each text
    before_s: float = 0.0  # before the status
    extra: dict[str, Any] = field(default_factory=dict)  # beside finish_reason
    raw: tuple[bytes, ...] = ()  # sent behind the texts, as it is
    abrupt: bool = False  # the connection closes within the body, not at its end


@dataclass(frozen=True)
class Fail:
    """Another status."""

    status: int
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass
class Peer:
    """What the server does next (its last step for ever), and what it was asked."""

    script: list[Any] = field(default_factory=lambda: [Say()])
    models: list[str] | None = field(default_factory=lambda: ["ear"])
    answer: Callable[[dict[str, Any]], Say] | None = None  # instead of the script, by what was asked
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)  # their names in lower case
    at: list[float] = field(default_factory=list)  # when
    left: threading.Event = field(default_factory=threading.Event)  # a client closed its connection within a stream
    running: int = 0
    most: int = 0  # requests at the same time
    url: str = ""
    lock: Any = field(default_factory=threading.Lock)

    def step(self, body: dict[str, Any]) -> Any:
        with self.lock:
            self.asked.append(body)
            self.at.append(time.perf_counter())
            if self.answer is not None:
                return self.answer(body)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def count(self, by: int) -> None:
        with self.lock:
            self.running += by
            self.most = max(self.most, self.running)


@contextmanager
def serving(peer: Peer) -> Iterator[Peer]:
    """Serves on a free port of 127.0.0.1 while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing on stderr: the test looks at `asked`."""

        def do_GET(self) -> None:
            if peer.models is None:
                return self._send(404, b"not here", {"Content-Type": "text/plain"})
            listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in peer.models]}
            return self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body["path"] = self.path
            peer.headers.append({name.lower(): value for name, value in self.headers.items()})
            step = peer.step(body)
            peer.count(1)
            try:
                if isinstance(step, Fail):
                    content = step.body if isinstance(step.body, bytes) else json.dumps(step.body).encode()
                    self._send(step.status, content, {"Content-Type": step.content_type, **step.headers})
                else:
                    self._stream(step)
            except (BrokenPipeError, ConnectionResetError):
                peer.left.set()
            finally:
                peer.count(-1)

        def _stream(self, say: Say) -> None:
            self._wait(say.before_s)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._event({"delta": {"role": "assistant", "content": ""}})
            for text in say.texts:
                self._wait(say.pause_s)
                self._event({"delta": {"content": text}})
            for raw in say.raw:
                self._chunk(raw)
            if say.finish is not None:
                self._event({"delta": {}, "finish_reason": say.finish, **say.extra})
                if say.usage is not None:
                    self._event(None, usage=say.usage)
                self._chunk(b"data: [DONE]\n\n")
            self.close_connection = True
            if not say.abrupt:
                self.wfile.write(b"0\r\n\r\n")

        def _wait(self, seconds: float) -> None:
            """Waits, or notices that the client has gone."""
            if seconds and select.select([self.connection], [], [], seconds)[0]:
                raise ConnectionResetError("the client closed the connection")

        def _event(self, choice: dict[str, Any] | None, **more: Any) -> None:
            choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
            record = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "ear", "choices": choices}
            self._chunk(f"data: {json.dumps({**record, **more})}\n\n".encode())

        def _chunk(self, content: bytes) -> None:
            self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
            self.wfile.flush()

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    peer.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def model_of(peer: Peer, name: str = "ear", max_running: int = 8, **remote: Any) -> Model:
    """A model on the server."""
    remote = {"base_url": peer.url, **remote}
    return load(f"openai:{name}", remote=Remote(**remote), scheduling=Scheduling(max_running=max_running))


def failure(model: Model, kind: type[AuricleError] = AuricleError, **options: Any) -> str:
    """The one line that a question fails with."""
    with pytest.raises(kind) as caught:
        model.ask(SOUND, "What?", **options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)
