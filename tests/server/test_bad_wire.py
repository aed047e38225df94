"""What takes a socket of one's own: bodies that lie about their size, that drip, that never come; what is no HTTP."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx2
import pytest
import uvicorn

from auricle.server import log
from auricle.server.app import create_app
from auricle.server.settings import Settings
from auricle.server.wire import Protocol
from tests.server.conftest import asking, wait_until

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
JSON = {"content-type": "application/json"}
GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"
SETTINGS = Settings(max_request_mb=1.0, body_timeout_s=0.4, timeout_s=2.0)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server of little patience."""
    log.set_up("json")
    app = create_app(SETTINGS)
    app.state.service.load()
    server = uvicorn.Server(uvicorn.Config(app, http=Protocol, log_config=None, access_log=False))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(30)


def exchange(port: int, *pieces: bytes, pause_s: float = 0.0, half_close: bool = False) -> tuple[int, bytes, float]:
    """Sends pieces over a connection of its own -> the status, the body and how long it took."""
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        received = bytearray()
        with suppress(ConnectionError):  # it was closed while we sent; what it had said before can still be read
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_s)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while block := connection.recv(65536):
                received += block
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]) if head else 0, body, time.perf_counter() - begun


def check(answer: tuple[int, bytes, float], status: int, says: str, within_s: float = 1.0) -> None:
    code, body, seconds = answer
    assert code == status, body
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]
    assert error["message"].isprintable()
    assert seconds < within_s


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n",  # TLS to a port without it
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no host
        GET + b"Host: y\r\n\r\n",
        GET + b"Bad Header: x\r\n\r\n",
        GET + b"X: a\x00b\r\n\r\n",
        GET + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
        GET + b"".join(b"X-%d: y\r\n" % number for number in range(100_000)) + b"\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: ten\r\n\r\n",
        POST + b"Content-Length: " + b"9" * 1000 + b"\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffffffff\r\n{}\r\n",
    ],
    ids=lambda sent: repr(sent[-30:])[2:-1],
)
def test_what_is_no_http(port: int, sent: bytes) -> None:
    check(exchange(port, sent), 400, "no HTTP/1.1 request")


def test_a_body_that_says_it_is_too_large(port: int) -> None:
    check(exchange(port, POST + b"Content-Length: 3000000\r\n\r\n", half_close=True), 413, "3,000,000 bytes")
    check(
        exchange(port, POST + b"Expect: 100-continue\r\nContent-Length: 3000000\r\n\r\n", half_close=True), 413, "3,0"
    )


def test_a_client_that_sends_all_of_too_large_a_body_reads_why_not(port: int) -> None:
    for content in (b"x" * 8_000_000, (b"x" * 100_000 for _ in range(80))):
        answer = httpx2.post(f"http://127.0.0.1:{port}/v1/chat/completions", content=content, headers=JSON)
        assert answer.status_code == 413
        assert "limit is 1,000,000 bytes" in answer.json()["error"]["message"]


def test_a_chunked_body_that_goes_on(port: int) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = exchange(port, POST + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 20, half_close=True)
    check(answer, 413, "the limit is 1,000,000 bytes")


def test_a_body_of_two_lengths(port: int) -> None:
    """Which of them counts is not the same to all that read it."""
    sent = POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET / HTTP/1.1\r\n"
    check(exchange(port, sent, half_close=True), 400, "both content-length and transfer-encoding")


def test_a_body_shorter_than_it_says(port: int) -> None:
    check(exchange(port, POST + b'Content-Length: 500\r\n\r\n{"model": '), 408, "did not go on for 0.4 s", 2.0)


def test_a_body_that_drips(port: int) -> None:
    """Each byte comes in time, and the whole does not."""
    drops = [b"{"] * 22
    check(exchange(port, POST + b"Content-Length: 500\r\n\r\n", *drops, pause_s=0.1), 408, "not there after 2 s", 4.0)


def test_a_body_longer_than_it_says_is_another_request(port: int) -> None:
    body = json.dumps({"model": "x", "messages": []}).encode()
    sent = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + b"GARBAGE\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        received = b""
        while block := connection.recv(65536):
            received += block
    assert received.count(b"HTTP/1.1 400") == 2, received


def test_a_client_that_leaves_within_its_body(port: int) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(POST + b"Content-Length: 5000\r\n\r\n{")
    answer = httpx2.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=asking("What?", "question.wav"))
    assert answer.status_code == 200


def test_connections_that_say_nothing_keep_nobody_out(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(200)]
    try:
        begun = time.perf_counter()
        assert httpx2.get(f"http://127.0.0.1:{port}/health").status_code == 200
        assert time.perf_counter() - begun < 1.0
    finally:
        for connection in silent:
            connection.close()


def test_it_still_hears(port: int) -> None:
    request = asking("What does the speaker say?", "sentence.wav")
    answer = httpx2.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=request).json()
    assert answer["choices"][0]["message"]["content"] == "the old man opened the window"
