"""Keys, pages of other origins, what the log has, time-outs, a model that can't hear."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from auricle.api import Model
from auricle.server.settings import Settings
from tests.checkpoints import make_checkpoint
from tests.server.bad import CHAT, CLASSIFY, EMBED, TRANSLATE, WRITE
from tests.server.conftest import EXAMPLES, asking, encoded, logged, running, wait_until

KEY, OTHER = "sk-first-0123456789", "sk-second-0123456789"
PAGE = "https://page.example.org"


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx2.Client]:
    """A server with keys, which pages of one origin may ask."""
    settings = Settings(api_keys=(KEY, OTHER), cors_origins=(PAGE,), max_running=1, max_queue=0)
    with running(settings) as address, httpx2.Client(base_url=address, timeout=60) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def error_of(answer: httpx2.Response) -> dict[str, Any]:
    return dict(answer.json()["error"])


class TestKeys:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            bearer("sk-wrong"),
            bearer(KEY[:-1]),
            bearer(KEY + "x"),
            bearer("\u00e9\u00ff"),
            bearer("x" * 10_000),
            {"authorization": KEY},
            {"authorization": f"Basic {KEY}"},
            {"authorization": "Bearer"},
            {"x-api-key": KEY},
            {"sec-websocket-protocol": "openai-insecure-api-key.wrong"},
        ],
        ids=lambda headers: ascii(headers)[:40],
    )
    def test_no_key_that_is_known(self, guarded: httpx2.Client, headers: dict[str, str]) -> None:
        raw = [(name, value.encode("latin-1")) for name, value in headers.items()]
        for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/nothing", "/v1/realtime"):
            answer = guarded.get(path, headers=raw)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert error_of(answer)["code"] == "invalid_api_key"
        assert guarded.post(CHAT, json=asking("What?", "question.wav"), headers=raw).status_code == 401

    def test_each_key_opens(self, guarded: httpx2.Client) -> None:
        for headers in (bearer(KEY), bearer(OTHER), {"authorization": f"bearer  {KEY}"}):
            assert guarded.get("/v1/models", headers=headers).status_code == 200

    def test_what_needs_none(self, guarded: httpx2.Client) -> None:
        for path in ("/", "/health", "/health/live", "/health/ready", "/page/style.css"):
            assert guarded.get(path).status_code in (200, 404)
        assert guarded.get("/page/../v1/models").status_code in (401, 404)
        assert guarded.get("/page/%2e%2e/v1/models").status_code in (401, 404)

    def test_a_large_body_without_a_key_is_not_read(self, guarded: httpx2.Client) -> None:
        answer = guarded.post(CHAT, content=b"x" * 5_000_000)
        assert answer.status_code == 401
        assert answer.headers["connection"] == "close"


class TestOrigins:
    PREFLIGHT = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }

    def test_off_unless_named(self, client: httpx2.Client) -> None:
        answer = client.get("/v1/models", headers={"origin": PAGE})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert client.options(CHAT, headers={"origin": PAGE, **self.PREFLIGHT}).status_code == 405

    def test_a_page_that_was_named(self, guarded: httpx2.Client) -> None:
        answer = guarded.options(CHAT, headers={"origin": PAGE, **self.PREFLIGHT})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        answer = guarded.get("/v1/models", headers={"origin": PAGE, **bearer(KEY)})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in answer.headers

    def test_the_official_clients_own_headers(self, guarded: httpx2.Client) -> None:
        """The one for pages sends eight of its own, the names of which change."""
        headers = {**self.PREFLIGHT, "access-control-request-headers": "content-type,x-stainless-os,x-stainless-lang"}
        answer = guarded.options(CHAT, headers={"origin": PAGE, **headers})
        assert answer.status_code == 200
        assert "x-stainless-os" in answer.headers["access-control-allow-headers"]

    def test_it_may_read_why_it_was_refused(self, guarded: httpx2.Client) -> None:
        answer = guarded.get("/v1/models", headers={"origin": PAGE})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == PAGE

    def test_no_other_page(self, guarded: httpx2.Client) -> None:
        for origin in ("https://other.example.org", "http://page.example.org", PAGE + ".evil.example", "null"):
            answer = guarded.options(CHAT, headers={"origin": origin, **self.PREFLIGHT})
            assert answer.status_code == 400
            assert "access-control-allow-origin" not in answer.headers
            answer = guarded.get("/v1/models", headers={"origin": origin, **bearer(KEY)})
            assert "access-control-allow-origin" not in answer.headers


class TestLog:
    SECRET = "xylophone"

    def test_nothing_of_a_request(self, client: httpx2.Client) -> None:
        secret = self.SECRET
        request = asking(secret, "question.wav", stop=secret, user=secret, max_tokens=1)
        wrong: list[dict[str, Any]] = [
            {"model": secret},
            {"regex": f"({secret}"},
            {"choices": [secret] * 2},
            {secret: 1},
        ]
        with logged() as text:
            for changed in ({}, *wrong):
                client.post(CHAT, json={**request, **changed}, headers=bearer(secret))
            client.get(f"/v1/{secret}?key={secret}")
            client.post(WRITE, files={"file": (secret, secret.encode())}, data={"model": "tiny", "language": secret})
            wait_until(lambda: text.getvalue().count('"request"') == 7)  # a line is written when its answer has left
        lines = [json.loads(line) for line in text.getvalue().splitlines()]
        assert [line["status"] for line in lines if line["event"] == "request"] == [200, 404, 400, 400, 400, 404, 400]
        assert secret not in text.getvalue()
        assert encoded("question.wav")[:40] not in text.getvalue()

    def test_nothing_of_a_request_in_a_fault_of_ours(
        self, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object, **__: object) -> Iterator[object]:
            raise RuntimeError(f"no idea what to do with {self.SECRET}")

        monkeypatch.setattr(Model, "chat", broken)
        for stream in (False, True):
            with logged() as text:
                answer = client.post(CHAT, json=asking(self.SECRET, "question.wav", stream=stream), headers=bearer("k"))
            assert answer.status_code == 500
            assert error_of(answer)["type"] == "server_error"
            assert self.SECRET not in answer.text + text.getvalue()
            failure = next(json.loads(line) for line in text.getvalue().splitlines() if '"failure"' in line)
            assert failure["error"] == "RuntimeError"
            assert "server/test_manners.py" in failure["at"]


class TestTime:
    def test_an_answer_that_takes_too_long(self, client: httpx2.Client) -> None:
        answer = client.post(CHAT, json=asking("What?", "question.wav", timeout_s=1e-6))
        assert answer.status_code == 408
        assert error_of(answer)["code"] == "timeout"

    def test_the_servers_own_limit(self) -> None:
        request = asking("What?", "question.wav", regex="a{4000}")  # which takes seconds to write
        with running(Settings(timeout_s=0.3)) as address:
            whole = httpx2.post(f"{address}{CHAT}", json=request)
            stream = httpx2.post(f"{address}{CHAT}", json={**request, "stream": True, "timeout_s": 100.0})
        assert whole.status_code == 408
        assert stream.status_code == 200
        last = stream.text.strip().rpartition("data: ")[2]
        assert json.loads(last)["error"]["code"] == "timeout"


def test_the_head_alone(client: httpx2.Client) -> None:
    """As those ask who only look whether a server is there."""
    for path in ("/", "/health", "/health/ready", "/health/live"):
        head, whole = client.head(path), client.get(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == str(len(whole.content))
        assert "GET" in client.post(path).headers["allow"]


def test_a_model_that_can_not_hear_says_so_on_every_route(tmp_path: Path) -> None:
    folder = str(make_checkpoint(tmp_path / "deaf", audio=False))
    sound, data = (EXAMPLES / "question.wav").read_bytes(), encoded("question.wav")
    with running(Settings(model=folder)) as address, httpx2.Client(base_url=address, timeout=30) as client:
        answers = [client.post(CHAT, json={**asking("What?", "question.wav"), "model": folder})]
        for route in (WRITE, TRANSLATE):
            answers.append(client.post(route, files={"file": sound}, data={"model": folder}))
        for route in (EMBED, CLASSIFY):
            answers.append(client.post(route, json={"model": folder, "input": data}))
        assert client.post(CHAT, json={**asking("What?", max_tokens=2), "model": folder}).status_code == 200
    for answer in answers:
        assert answer.status_code == 422
        assert "no audio tower" in error_of(answer)["message"]
