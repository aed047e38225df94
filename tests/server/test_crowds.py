"""Many at once: a queue that is full, bodies that come in together; and clients that leave, which is nobody's fault."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from urllib.parse import urlsplit

import httpx2
import pytest

from auricle.errors import CancelledError
from auricle.server.metrics import Metrics
from auricle.server.service import Service
from auricle.server.settings import Settings
from tests.server.bad import CHAT, JSON
from tests.server.conftest import asking, logged, running, wait_until
from tests.server.processes import endless


@pytest.fixture(scope="module")
def narrow() -> Iterator[httpx2.Client]:
    """A server that answers one at a time, and lets nobody wait."""
    with (
        running(Settings(max_running=1, max_queue=0)) as address,
        httpx2.Client(base_url=address, timeout=60) as client,
    ):
        yield client


class TestFull:
    def test_a_queue_that_is_full(self, narrow: httpx2.Client) -> None:
        question = asking("What?", "question.wav")
        with narrow.stream("POST", CHAT, content=endless(stream=True), headers=JSON) as under_way:
            assert under_way.status_code == 200
            answer = narrow.post(CHAT, json=question)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "queue_full"
        wait_until(lambda: narrow.post(CHAT, json=question).status_code == 200, 5)

    def test_bodies_that_come_in_together(self) -> None:
        """However many connect, their bodies have no more bytes than those of a full queue."""
        settings = Settings(max_request_mb=1.0, max_running=1, max_queue=1)
        with running(settings) as address, httpx2.Client(base_url=address) as client:
            head = (
                f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
            )
            with connected(client) as first, connected(client) as second, connected(client) as third:
                for connection in (first, second, third):
                    connection.sendall(head.encode() + b" " * 900_000)
                    time.sleep(0.3)
                assert third.recv(100).startswith(b"HTTP/1.1 429 ")
                second.sendall(b" " * 100_000)
                assert second.recv(100).startswith(b"HTTP/1.1 400 ")
                assert client.post(CHAT, json=asking("What?", "question.wav")).status_code == 200

    def test_more_answers_than_may_wait_are_no_matter_of_time(self, narrow: httpx2.Client) -> None:
        answer = narrow.post(CHAT, json=asking("What?", "question.wav", n=2))
        assert answer.status_code == 422
        assert "n is 2 and the limit is 1" in answer.json()["error"]["message"]


class TestLeaving:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    @pytest.mark.parametrize("after_s", [0.0, 0.2])
    def test_is_no_fault_of_ours(self, client: httpx2.Client, stream: bool, after_s: float) -> None:
        with logged() as text:
            for _ in range(5):
                with leaving(client, endless(stream=stream)):
                    time.sleep(after_s)
            wait_until(lambda: text.getvalue().count('"request"') == 5)
        lines = [json.loads(line) for line in text.getvalue().splitlines()]
        assert [line["event"] for line in lines] == ["request"] * 5
        assert {line["status"] for line in lines} == {499}

    def test_what_was_not_the_last_is_not_taken_for_it(self) -> None:
        cancel = Event()

        def answer() -> Iterator[str]:
            yield "the first word"
            cancel.set()
            yield "the second"
            yield "all of it"

        async def ask() -> str:
            service = Service(Settings(), Metrics())
            try:
                return await service.last(answer, cancel)
            finally:
                await service.close()

        with pytest.raises(CancelledError):
            asyncio.run(ask())


@contextmanager
def leaving(client: httpx2.Client, body: bytes) -> Iterator[None]:
    """Asks, and has left at the end of this without reading."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with connected(client) as connection:
        connection.sendall(head.encode() + body)
        yield


def connected(client: httpx2.Client) -> socket.socket:
    """A connection to the server of a client."""
    address = urlsplit(str(client.base_url))
    return socket.create_connection((str(address.hostname), address.port or 80), 10)
