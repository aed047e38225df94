"""What every request passes first: its key, its size, its patience; and a line and a number when it has ended."""

from __future__ import annotations

import asyncio
import hmac
import time
import uuid
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auricle.server import log
from auricle.server.failures import CLIENT_GONE, ApiError, log_failure, told
from auricle.server.metrics import Metrics
from auricle.server.settings import Settings

OPEN = ("/", "/health", "/health/live", "/health/ready")  # need no key; nor does the page's folder
PAGE = "/page/"
LINGER_S = 5.0  # for how long the rest of a body is taken in and thrown away, so that its sender reads the refusal
SLOW_LINGER_S = 0.5  # when it was refused for being slow
KEY_PROTOCOL = "openai-insecure-api-key."  # how browsers send a key with a WebSocket


class Gate:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self.held = 0  # bytes of the bodies of all requests that are not answered yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal is not None:
                return await deny(refusal, scope, receive, send)
            return await self.app(scope, receive, send)
        return await _Exchange(self, scope, receive, send).run(refusal)

    def _refusal(self, scope: Scope, headers: Headers) -> ApiError | None:
        if not self._may_enter(scope, headers):
            return ApiError(401, "an API key is needed: send it as Authorization: Bearer KEY")
        if "transfer-encoding" in headers and "content-length" in headers:  # a proxy may believe the other
            return ApiError(400, "the request has both content-length and transfer-encoding: send one of them")
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return ApiError(400, f"content-length is {length[:20]!r}: it must be a number of bytes")
        return self.too_large(int(length)) if int(length[:20]) > self.settings.max_request_bytes else None

    def too_large(self, size: int | None = None) -> ApiError:
        has = f"has {size:,} bytes" if size is not None else "goes on after"
        limit = self.settings.max_request_bytes
        return ApiError(413, f"the request {has} and the limit is {limit:,} bytes: send a shorter or compressed sound")

    def hold(self, size: int) -> None:
        """Counts the next bytes of a body.

        Raises:
            ApiError: 429, all bodies together have more than those may that run and wait: as many begin as connect.
        """
        self.held += size
        limit = (self.settings.max_running + self.settings.max_queue) * self.settings.max_request_bytes
        if self.held > limit:
            raise ApiError(429, f"the requests under way have more than {limit:,} bytes: try again in a moment")

    def _may_enter(self, scope: Scope, headers: Headers) -> bool:
        path, keys = scope["path"], self.settings.api_keys
        if not keys or path in OPEN or path.startswith(PAGE) or scope.get("method") == "OPTIONS":
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        found = given.strip() if kind.lower() == "bearer" else ""
        for protocol in headers.get("sec-websocket-protocol", "").split(","):
            found = found or protocol.strip().removeprefix(KEY_PROTOCOL) * protocol.strip().startswith(KEY_PROTOCOL)
        matches = [hmac.compare_digest(found.encode(), key.encode()) for key in keys]  # all, so that time tells nothing
        return any(matches)


class _Exchange:
    """One request and its answer."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self.gate, self.scope, self._receive, self._send = gate, scope, receive, send
        self.begun = time.perf_counter()
        self.status: int | None = None
        self.taken = 0  # bytes of the body
        # The body has come, or there is none.
        self.whole = Headers(scope=scope).get("content-length", "0") == "0" and not _is_chunked(scope)
        self.ended = False  # all of the answer has been sent
        self.linger_s = LINGER_S
        self.id = uuid.uuid4().hex
        self.record: dict[str, Any] = {}
        scope.setdefault("state", {})["record"] = self.record

    async def run(self, refusal: ApiError | None) -> None:
        try:
            if refusal is not None:
                await refusal.response()(self.scope, self._receive, self.send)
            else:
                await self.gate.app(self.scope, self.receive, self.send)
        except Exception as error:
            failure = told(error)
            if failure.status >= 500:
                log_failure(error, id=self.id)
            await self._end(failure)
        finally:
            self._let_go()
            self._count()

    async def receive(self) -> Message:
        if self.whole:
            return self._noted(await self._receive())
        settings = self.gate.settings
        left = settings.timeout_s - (time.perf_counter() - self.begun)
        try:
            message = await asyncio.wait_for(self._receive(), min(settings.body_timeout_s, left))
        except TimeoutError as error:
            raise self._too_slow(left) from error
        if self._noted(message)["type"] != "http.disconnect":
            size = len(message.get("body", b""))
            self.taken += size
            self.whole = not message.get("more_body", False)
            self.gate.hold(size)
            if self.taken > settings.max_request_bytes:
                raise self.gate.too_large()
        return message

    def _noted(self, message: Message) -> Message:
        if message["type"] == "http.disconnect" and not self.ended:
            self.record.setdefault("status", CLIENT_GONE)
        return message

    def _too_slow(self, left: float) -> ApiError:
        self.linger_s = SLOW_LINGER_S
        wait, whole = self.gate.settings.body_timeout_s, self.gate.settings.timeout_s
        what = f"did not go on for {wait:g} s" if wait < left else f"was not there after {whole:g} s"
        return ApiError(408, f"the request's body {what}: send it in one go")

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            extra = [(b"x-request-id", self.id.encode())]
            if not self.whole and self.status >= 400:
                extra.append((b"connection", b"close"))  # the rest of the body is not read
            message["headers"] = [*message.get("headers", []), *extra]
        elif not message.get("more_body", False):
            self.ended = True
            if not self.whole and (self.status or 0) >= 400:
                await self._send({**message, "more_body": True})
                self._let_go()
                await self._drain()
                message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _let_go(self) -> None:
        """Of the body, which nobody needs any more."""
        self.gate.held -= self.taken
        self.taken = 0

    async def _drain(self) -> None:
        """Reads on behind a refusal: a connection closed on a client that still sends loses what it was told."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.linger_s):
                while (message := await self._receive()).get("more_body", False):
                    pass
                self.whole = message["type"] == "http.request"

    async def _end(self, failure: ApiError) -> None:
        """Answers with a failure, if nothing was answered yet."""
        if self.status is None:
            response: Response = failure.response()
            await response(self.scope, self._receive, self.send)

    def _count(self) -> None:
        seconds = time.perf_counter() - self.begun
        status = self.record.pop("status", None) or self.status or CLIENT_GONE
        route = getattr(self.scope.get("route"), "path", None) or "none"
        self.gate.metrics.requests.labels(route, str(status)).inc()
        self.gate.metrics.seconds.labels(route).observe(seconds)
        if self.status == 200 and (self.scope["path"] in OPEN or self.scope["path"].startswith(PAGE)):
            return  # probes and the page's files say nothing to whoever reads the log
        log.event(
            "request",
            id=self.id,
            method=self.scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 4),
            **self.record,
        )


def _is_chunked(scope: Scope) -> bool:
    return "transfer-encoding" in Headers(scope=scope)


async def deny(failure: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers the opening of a WebSocket with a status and a body, where the server can."""
    if "websocket.http.response" in scope.get("extensions", {}):
        response = failure.response()
        await send({"type": "websocket.http.response.start", "status": failure.status, "headers": response.raw_headers})
        await send({"type": "websocket.http.response.body", "body": response.body})
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": failure.message[:120]})
