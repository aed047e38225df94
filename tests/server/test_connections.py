"""Connections that hold on to something: heads that never end, answers that nobody reads; and how soon answers come."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from auricle.server import wire
from auricle.server.wire import Protocol
from tests.server.conftest import wait_until
from tests.server.processes import serving, timed

HEAD_S, UNREAD_S = 1, 0.4
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
LONG = 30_000_000  # bytes of an answer: more than both ends keep for a client that does not read


class Small:
    """A server without a model; `/long` has an answer of `LONG` bytes."""

    def __init__(self, port: int, server: uvicorn.Server) -> None:
        self.port, self._server = port, server

    @property
    def open(self) -> int:
        return len(self._server.server_state.connections)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        body = b"x" * LONG if scope["path"] == "/long" else b"ok"
        length = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    monkeypatch.setattr(wire, "UNREAD_S", UNREAD_S)
    config = uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None, timeout_keep_alive=HEAD_S)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: server.started)
        yield Small(listening.getsockname()[1], server)
        server.should_exit = True
        thread.join(30)


def drip(connection: socket.socket) -> float:
    """Sends a line of a head again and again, until the other side has had enough -> after how long."""
    begun = time.monotonic()
    connection.sendall(GET)
    connection.settimeout(0.1)
    while time.monotonic() - begun < 10:
        try:
            connection.sendall(b"X: y\r\n")
            connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            continue
        break
    connection.settimeout(10)
    return time.monotonic() - begun


def read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    try:
        while block := connection.recv(1 << 20):
            received += block
    except ConnectionError:  # reset; what came before is what counts
        pass
    return bytes(received)


def timed_out(connection: socket.socket) -> float:
    """When a head that drips was refused."""
    seconds = drip(connection)
    head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    assert "was not there after 1 s" in json.loads(body)["error"]["message"]
    return seconds


class TestHeads:
    def test_a_client_that_says_nothing(self, small: Small) -> None:
        with small.connect() as connection:
            begun = time.monotonic()
            assert read_all(connection) == b""
            assert HEAD_S * 0.9 < time.monotonic() - begun < 5
        wait_until(lambda: small.open == 0)

    def test_a_head_that_never_ends(self, small: Small) -> None:
        with small.connect() as connection:
            assert HEAD_S * 0.9 < timed_out(connection) < 5
        wait_until(lambda: small.open == 0)

    def test_the_next_head_that_never_ends(self, small: Small) -> None:
        with small.connect() as connection:
            connection.sendall(GET + b"\r\n")
            answer = b""
            while not answer.endswith(b"ok"):
                answer += connection.recv(10_000)
            assert HEAD_S * 0.9 < timed_out(connection) < 5

    def test_a_head_that_comes_in_time(self, small: Small) -> None:
        with small.connect() as connection:
            for piece in (GET[:7], GET[7:], b"Connection: close\r\n", b"\r\n"):
                connection.sendall(piece)
                time.sleep(0.15)
            assert read_all(connection).endswith(b"ok")


class TestReaders:
    def ask(self, small: Small, *, more: bytes = b"") -> socket.socket:
        connection = small.connect()
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
        return connection

    @pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
    def test_one_that_never_reads(self, small: Small, more: bytes) -> None:
        with self.ask(small, more=more):
            wait_until(lambda: small.open == 1)
            wait_until(lambda: small.open == 0, 10)

    def test_one_that_reads_a_little(self, small: Small) -> None:
        with self.ask(small, more=b"Connection: close\r\n") as connection:
            read, pauses = 0, 0
            while block := connection.recv(1 << 20):
                read += len(block)
                if read > 3_000_000 * (pauses + 1):
                    pauses += 1
                    time.sleep(UNREAD_S / 2)
        assert read > LONG
        assert pauses > 5, "it took several times as long as one that does not read may"


class TestTheCommand:
    """What is started is what is tested above."""

    def test_it_speaks_so(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served:
            with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
                connection.sendall(b"hello\r\n\r\n")
                head, _, body = read_all(connection).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 ")
            assert "no HTTP/1.1 request" in json.loads(body)["error"]["message"]
            with closing(served.connect()) as asked:

                def ask() -> None:
                    asked.request("GET", "/v1/models")
                    assert asked.getresponse().read()

                seconds = [timed(ask) for _ in range(50)][10:]  # the first come soon in any case
            assert sorted(seconds)[10] < 0.03, "a body waits until the head before it is confirmed"
