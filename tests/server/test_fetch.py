"""audio_url: sounds from hosts that were allowed, and from nowhere else."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from auricle.server import fetch
from auricle.server.settings import Settings
from tests.server.bad import CHAT
from tests.server.conftest import EXAMPLES, asking, running

HOST = "sounds.example.org"
SOUND = (EXAMPLES / "sentence.wav").read_bytes()
SEEN: list[str] = []  # the hosts that the remote server was asked for


class Remote(BaseHTTPRequestHandler):
    """A host of sounds, and of what isn't as it should be."""

    def do_GET(self) -> None:
        SEEN.append(self.headers["host"])
        match self.path.split("?")[0]:
            case "/sentence.wav":
                self.reply(200, SOUND)
            case "/moved.wav":
                self.reply(302, b"", location=f"http://{HOST}:{self.server.server_port}/sentence.wav")
            case "/large.wav":
                self.reply(200, bytes(3_000_000))
            case "/packed.wav":
                self.reply(200, gzip.compress(bytes(50_000_000)), content_encoding="gzip")
            case "/page.html":
                self.reply(200, b"<!doctype html>")
            case "/nothing.wav":
                self.reply(200, b"")
            case "/drips.wav":
                self.send_response(200)
                self.end_headers()
                for byte in SOUND[:100]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            case "/lies.wav":
                self.send_response(200)
                self.send_header("content-length", "100000")
                self.end_headers()
                self.wfile.write(SOUND[:1000])
            case _:
                self.reply(404, b"no")

    def reply(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def remote() -> Iterator[int]:
    """The port of a server that stands for the allowed host."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Remote) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    names = (HOST, "localhost", "127.0.0.1", "2130706433", "0x7f000001", "127.1", "10.0.0.1", "169.254.169.254")
    settings = Settings(audio_hosts=names, max_request_mb=2.0)
    with running(settings) as address, httpx2.Client(base_url=address, timeout=30) as opened:
        yield opened


def ask(client: httpx2.Client, url: str) -> httpx2.Response:
    request = asking("What does the speaker say?")
    request["messages"][0]["content"].append({"type": "audio_url", "audio_url": {"url": url}})
    return client.post(CHAT, json=request)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The allowed host is found on this machine, as if that were a public address."""

    async def found(host: str, port: int, name: str) -> str:
        assert host == HOST
        return "127.0.0.1"

    monkeypatch.setattr(fetch, "public_address", found)


@pytest.mark.usefixtures("here")
class TestAllowed:
    def test_it_is_heard(self, client: httpx2.Client, remote: int) -> None:
        for host in (HOST, HOST.upper()):
            answer = ask(client, f"http://{host}:{remote}/sentence.wav?signature=%20x#t=1")
            assert answer.json()["choices"][0]["message"]["content"] == "the old man opened the window"
            assert answer.json()["usage"]["prompt_tokens_details"]["audio_tokens"] > 0
        assert SEEN[-2].lower() == f"{HOST}:{remote}", "it is asked by its name, not by the address"

    @pytest.mark.parametrize(
        ("path", "status", "says"),
        [
            ("moved.wav", 422, "answered 302"),
            ("missing.wav", 422, "answered 404"),
            ("large.wav", 413, "larger than 2,000,000 bytes"),
            ("packed.wav", 415, "no sound"),
            ("page.html", 415, "no sound"),
            ("nothing.wav", 400, "is empty"),
            ("lies.wav", 422, "can't be fetched"),
        ],
    )
    def test_what_is_not_as_it_should_be(
        self, client: httpx2.Client, remote: int, path: str, status: int, says: str
    ) -> None:
        answer = ask(client, f"http://{HOST}:{remote}/{path}")
        assert answer.status_code == status
        assert says in answer.json()["error"]["message"]
        assert answer.json()["error"]["param"] == "messages.0.content.1.audio_url.url"

    def test_it_does_not_wait_for_ever(
        self, client: httpx2.Client, remote: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fetch, "TOTAL_S", 0.4)
        begun = time.perf_counter()
        answer = ask(client, f"http://{HOST}:{remote}/drips.wav")
        assert answer.status_code == 422
        assert "did not come within 0.4 s" in answer.json()["error"]["message"]
        assert time.perf_counter() - begun < 2.0

    def test_nobody_there(self, client: httpx2.Client) -> None:
        answer = ask(client, f"http://{HOST}:1/sentence.wav")
        assert answer.status_code == 422
        assert "ConnectError" in answer.json()["error"]["message"]

    @pytest.mark.parametrize(
        "url",
        [
            "http://user@sounds.example.org/a.wav",
            "http://user:password@sounds.example.org/a.wav",
            "http://@sounds.example.org/a.wav",
            "http://sounds.example.org@other.example.org/a.wav",
            "http://sounds.example.org.other.example.org/a.wav",
            "http://other.example.org/sounds.example.org",
            "http://other.example.org\\@sounds.example.org/",
            "http://other.example.org#@sounds.example.org/",
            "http://sounds.example.org./a.wav",
            "http://x.sounds.example.org/a.wav",
            "http://sounds.example.org:0x50/",
            "http://sounds.example.org:99999/",
            "http://sounds.example.org\t/a.wav",
            "http://sounds.example.org/a b.wav",
            "ftp://sounds.example.org/a.wav",
            "file://sounds.example.org/etc/passwd",
        ],
    )
    def test_not_quite_the_host(self, client: httpx2.Client, url: str) -> None:
        asked = len(SEEN)
        answer = ask(client, url)
        assert answer.status_code == 400, answer.text
        assert len(SEEN) == asked


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "2130706433", "0x7f000001", "127.1", "10.0.0.1", "169.254.169.254"]
)
def test_an_allowed_name_of_a_private_address_is_not_opened(client: httpx2.Client, remote: int, host: str) -> None:
    asked = len(SEEN)
    answer = ask(client, f"http://{host}:{remote}/sentence.wav")
    assert answer.status_code == 400
    assert "private address" in answer.json()["error"]["message"]
    assert len(SEEN) == asked


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False), ("100.64.0.1", False),
        ("169.254.169.254", False), ("0.0.0.0", False), ("255.255.255.255", False), ("224.0.0.1", False),
        ("198.18.0.1", False), ("240.0.0.1", False), ("::1", False), ("::", False), ("fe80::1%eth0", False),
        ("fc00::1", False), ("ff02::1", False), ("::ffff:127.0.0.1", False), ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False), ("64:ff9b::a00:1", False), ("2002:7f00:1::", False), ("2002:a00:1::", False),
        ("fd00:ec2::254", False),
    ],
)  # fmt: skip
def test_what_is_public(address: str, public: bool) -> None:
    assert fetch.is_public(address) is public
