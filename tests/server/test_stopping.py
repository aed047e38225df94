"""Stopping a real server: nothing that was accepted is lost, what takes too long is told so. And clients that leave."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from auricle.server.settings import Settings
from tests.server.conftest import asking, running, wait_until
from tests.server.processes import Served, ask, endless, refused, serving, timed

CLIENTS = 18  # a third each: connections kept for many requests, the same with streams, a new one for each request
QUESTION = asking("What does the speaker say?", "sentence.wav")
HEARD = "the old man opened the window"


class Client(threading.Thread):
    """Asks until the server is gone; `outcomes` has what became of each request."""

    def __init__(self, served: Served, *, stream: bool, keep: bool) -> None:
        super().__init__(daemon=True)
        self.served, self.keep = served, keep
        self.body = json.dumps({**QUESTION, "stream": stream}).encode()
        self.whole = self._whole_stream if stream else self._whole_answer
        self.outcomes: list[str] = []

    def run(self) -> None:
        connection = None
        while not self.outcomes or self.outcomes[-1] == "whole":
            try:
                if connection is None or connection.sock is None or not self.keep:  # None: the answer said `close`
                    connection = self.served.connect()
            except ConnectionRefusedError:
                self.outcomes.append("refused")
                return
            except OSError as error:
                self.outcomes.append(f"not refused but {error!r}")
                return
            self.outcomes.append(self._ask(connection))

    def _ask(self, connection: http.client.HTTPConnection) -> str:
        try:
            answer = ask(connection, self.body)
            content = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return f"lost by {error!r}"
        return "whole" if answer.status == 200 and self.whole(content) else f"{answer.status} {content}"

    @staticmethod
    def _whole_answer(content: str) -> bool:
        return json.loads(content)["choices"][0]["message"]["content"] == HEARD

    @staticmethod
    def _whole_stream(content: str) -> bool:
        events = [line.removeprefix("data: ") for line in content.splitlines() if line]
        parts = [json.loads(event) for event in events[:-1]]
        text = "".join(choice["delta"].get("content") or "" for part in parts for choice in part["choices"])
        return events[-1] == "[DONE]" and text == HEARD


@pytest.mark.parametrize(
    ("number", "flags"),
    [(signal.SIGTERM, ()), (signal.SIGINT, ()), (signal.SIGTERM, ("--workers", "2"))],
    ids=["SIGTERM", "SIGINT", "workers"],
)
def test_no_accepted_request_is_lost(tmp_path: Path, number: signal.Signals, flags: tuple[str, ...]) -> None:
    with serving(tmp_path, *flags) as served:
        clients = [Client(served, stream=kind == 1, keep=kind < 2) for kind in (0, 1, 2) for _ in range(CLIENTS // 3)]
        for client in clients:
            client.start()
        wait_until(lambda: all(len(client.outcomes) >= 2 for client in clients), 60)
        served.send(number)
        before = sum(len(client.outcomes) for client in clients)
        for client in clients:
            client.join(60)
        assert served.process.wait(60) == 0
        outcomes = Counter(outcome for client in clients for outcome in client.outcomes)
        assert outcomes == {"whole": outcomes["whole"], "refused": CLIENTS}
        assert sum(outcomes.values()) >= before + CLIENTS, "some were under way when the signal came"
        answered = [record for record in served.events("request") if record["route"] == "/v1/chat/completions"]
        assert len(answered) == outcomes["whole"]
        assert {record["status"] for record in answered} == {200}


def test_a_connection_that_nobody_has_taken_in_yet_is_answered(tmp_path: Path) -> None:
    """The server is held while a client connects and asks on a new and on an old connection, and the signal comes."""
    with serving(tmp_path) as served, closing(served.connect()) as old:
        old.request("GET", "/health")
        assert old.getresponse().read()
        served.send(signal.SIGSTOP)
        with closing(served.connect()) as new:
            for connection in (new, old):
                connection.request("POST", "/v1/chat/completions", json.dumps(QUESTION), _json())
            served.send(signal.SIGTERM)
            served.send(signal.SIGCONT)
            for connection in (new, old):
                answer = connection.getresponse()
                assert answer.status == 200
                assert json.loads(answer.read())["choices"][0]["message"]["content"] == HEARD
        assert served.process.wait(30) == 0


def test_what_is_on_its_way_is_answered_and_later_ones_are_refused(tmp_path: Path) -> None:
    body = json.dumps(QUESTION).encode()
    with serving(tmp_path) as served, closing(served.connect()) as silent, closing(served.connect()) as slow:
        slow.putrequest("POST", "/v1/chat/completions")
        for name, value in {**_json(), "content-length": str(len(body))}.items():
            slow.putheader(name, value)
        slow.endheaders(body[:1000])
        wait_until(lambda: served.metric("auricle_requests_total") > 0)  # so that this much has been read
        served.send(signal.SIGTERM)
        wait_until(lambda: refused(served), 10)
        silent.request("GET", "/v1/models")  # connected before, asked after
        answer = silent.getresponse()
        assert (answer.status, answer.getheader("connection")) == (200, "close")
        time.sleep(1.5)  # longer than idle connections stay open
        slow.send(body[1000:])
        answer = slow.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["choices"][0]["message"]["content"] == HEARD
        assert served.process.wait(30) == 0


def test_idle_connections_do_not_hold_it_up(tmp_path: Path) -> None:
    with serving(tmp_path) as served, closing(served.connect()), closing(served.connect()) as kept:
        kept.request("GET", "/health")
        assert kept.getresponse().read()
        assert timed(lambda: served.end()) < 6


def test_what_takes_too_long_is_cut_and_told_so(tmp_path: Path) -> None:
    with serving(tmp_path, "--shutdown-s", "1") as served, closing(served.connect()) as plain:
        plain.request("POST", "/v1/chat/completions", endless(), _json())
        with closing(served.connect()) as streaming:
            stream = ask(streaming, endless(stream=True))
            assert "one" in _read_until(stream, "one")
            began = time.monotonic()
            served.send(signal.SIGTERM)
            *_, last, empty = stream.read().decode().split("\n\n")
            assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stopping"
            assert not empty
        answer = plain.getresponse()
        told = json.loads(answer.read())["error"]
        assert (answer.status, told["code"], told["type"]) == (503, "stopping", "server_error")
        assert served.process.wait(30) == 0
        assert 1 <= time.monotonic() - began < 8
        assert served.events("cut")[0]["requests"] == 2


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["one", "workers"])
def test_a_second_interrupt_cuts_at_once(tmp_path: Path, flags: tuple[str, ...]) -> None:
    with serving(tmp_path, *flags) as served, closing(served.connect()) as streaming:
        stream = ask(streaming, endless(stream=True))
        assert "one" in _read_until(stream, "one")
        served.send(signal.SIGINT)
        wait_until(lambda: refused(served), 10)
        assert all("delta" in stream.readline().decode() + stream.readline().decode() for _ in range(200)), "it goes on"
        assert served.process.poll() is None
        began = time.monotonic()
        served.send(signal.SIGINT)
        assert '"stopping"' in stream.read().decode()
        assert served.process.wait(30) == 130
        assert time.monotonic() - began < 6


def test_it_stops_while_the_model_is_loaded(tmp_path: Path) -> None:
    with serving(tmp_path, wait=False) as served:
        wait_until(lambda: not refused(served))
        wait_until(lambda: _health(served) is not None)
        assert timed(lambda: served.end()) < 10
        assert served.process.returncode == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("queued", [False, True], ids=["running", "queued"])
def test_who_leaves_frees_the_place(stream: bool, queued: bool) -> None:
    """One may run. Who leaves is the one that runs, or that waits; either way the next is answered at once."""
    with running(Settings(max_running=1, max_queue=1)) as address:
        served = Here(int(address.rsplit(":", 1)[1]))
        first = served.asked(endless())
        wait_until(lambda: served.places() == (1, 0))
        if queued:
            second = served.asked(endless(stream=stream))
            wait_until(lambda: served.places() == (1, 1))
            assert served.status(QUESTION) == 429
            second.close()
            wait_until(lambda: served.places() == (1, 0), 2)
            first.close()
        else:
            first.close()
            wait_until(lambda: served.places() == (0, 0), 2)
            leaving = served.asked(endless(stream=stream))
            wait_until(lambda: served.places() == (1, 0))
            leaving.recv(1) if stream else time.sleep(0.2)
            leaving.close()
        wait_until(lambda: served.places() == (0, 0), 2)
        assert timed(lambda: served.status(QUESTION)) < 2
        assert served.status(QUESTION) == 200


class Here:
    """A server in this process."""

    def __init__(self, port: int) -> None:
        self.port = port

    def asked(self, body: bytes) -> socket.socket:
        """A connection on which something was asked, and nothing was read."""
        head = ["POST /v1/chat/completions HTTP/1.1", "host: here", f"content-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in _json().items()]
        connection = socket.create_connection(("127.0.0.1", self.port), 30)
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        return connection

    def status(self, body: dict[str, object]) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            return ask(connection, json.dumps(body).encode()).status

    def places(self) -> tuple[int, int]:
        """How many run, and how many wait, as /metrics has it."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("auricle_requests_"))
        return int(float(values["auricle_requests_running"])), int(float(values["auricle_requests_queued"]))


def _json() -> dict[str, str]:
    return {"content-type": "application/json"}


def _health(served: Served) -> int | None:
    try:
        return served.get("/health/live")[0]
    except ConnectionRefusedError:
        return None


def _read_until(stream: http.client.HTTPResponse, word: str) -> str:
    text = ""
    while word not in text and (line := stream.readline()):
        text += line.decode()
    return text
