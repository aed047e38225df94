"""The corpus: requests that can't be answered, over all routes, each with the status that refuses it.

What is wrong in a question stands in `bad_chat`, what is wrong with sounds in `bad_heard`, whose files `bad_sounds`
makes; here are the paths and methods. What takes a socket of one's own is tested in `test_bad_wire`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.server import bad_chat, bad_heard
from tests.server.bad import CHAT, CLASSIFY, EMBED, TRANSLATE, WRITE, Bad


def paths() -> Iterator[Bad]:
    for path in (
        "/v1", "/v1/", "/v2/models", "/v1/completions", "/v1/embeddings", "/v1/audio/speech", "/favicon.ico", "/docs",
        "/redoc", "/.env", "/etc/passwd", "/v1/chat/completions/", "/%00", "/%ff%fe", "/" + "a" * 8000, "/v1/models/",
        "/v1/models/x", "/v1/models/../../etc/passwd", "/v1/models/%2e%2e%2fx", "/v1/models/%00",
        "/v1/models/%ed%a0%80", "/page", "/page/", "/page/x", "/page/%2e%2e/app.py", "/page/..%2fapp.py",
        "/page/....//app.py", "/page//etc/passwd", "/page/%00", "/page/" + "a" * 5000, "/page/%c0%ae%c0%ae/app.py",
        "/page/..%5capp.py", "/page/%252e%252e/app.py",
    ):  # fmt: skip
        yield Bad(f"the path {path[:40]}", 404, path, "GET")
    for route in (CHAT, WRITE, TRANSLATE, EMBED, CLASSIFY):
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"):
            yield Bad(f"{method} {route}", 405, route, method)
    for path in ("/", "/v1/models", "/v1/models/tiny", "/health", "/health/live", "/metrics", "/openapi.json"):
        yield Bad(f"POST {path}", 405, path, "POST", options={"content": b"{}"})
    yield Bad("a WebSocket's path without one", 426, "/v1/realtime", "GET", says="is a WebSocket")
    long = {"x-padding": "a" * 30_000}
    yield Bad("30 kB of headers and no model", 404, "/v1/models/x", "GET", options={"headers": long})


GROUPS: tuple[Callable[[], Iterator[Bad]], ...] = (
    bad_chat.bodies,
    bad_chat.texts,
    bad_chat.fields,
    bad_chat.constraints,
    bad_heard.sounds,
    bad_heard.urls,
    bad_heard.uploads,
    bad_heard.vectors,
    paths,
)
