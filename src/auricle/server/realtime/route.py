"""Who is let in at `/v1/realtime`."""

from __future__ import annotations

import time
from functools import partial
from urllib.parse import urlsplit

from fastapi import APIRouter, WebSocket
from fastapi.responses import Response

from auricle.server import log
from auricle.server.failures import ApiError
from auricle.server.gate import deny
from auricle.server.realtime.connection import Connection
from auricle.server.realtime.replies import failure_of
from auricle.server.service import Service, service_of

router = APIRouter()
ROUTE = "/v1/realtime"


@router.websocket(ROUTE)
async def realtime(socket: WebSocket) -> None:
    """One connection, or an HTTP status that says why there is none."""
    service = service_of(socket)
    service.sessions += 1  # before anything is waited for, so that two can't take the last place
    try:
        refusal = await _refusal(service, socket)
        if refusal is None:
            await _serve(service, socket)
        else:
            service.metrics.requests.labels(ROUTE, str(refusal.status)).inc()
            log.event("realtime refused", status=refusal.status)
            await deny(refusal, socket.scope, socket.receive, socket.send)
    finally:
        service.sessions -= 1


@router.get(ROUTE, include_in_schema=False)
async def no_socket() -> Response:
    """Who asks for it as for a page is told what it is."""
    raise ApiError(426, f"{ROUTE} is a WebSocket: open it as ws://HOST:PORT{ROUTE}", code="websocket_needed")


@router.websocket("/{path:path}")
async def elsewhere(socket: WebSocket, path: str) -> None:
    """No other path is a WebSocket."""
    failure = ApiError(404, f"there is no WebSocket at /{path[:80]}: it is {ROUTE}")
    service_of(socket).metrics.requests.labels("none", str(failure.status)).inc()
    await deny(failure, socket.scope, socket.receive, socket.send)


async def _serve(service: Service, socket: WebSocket) -> None:
    begun, offered = time.perf_counter(), socket.scope["subprotocols"]
    await socket.accept(subprotocol="realtime" if "realtime" in offered else None)
    connection = Connection(service, socket)
    service.metrics.sessions.inc()
    try:
        await connection.run()
    finally:
        service.metrics.sessions.dec()
        service.metrics.requests.labels(ROUTE, "101").inc()
        log.event("realtime", seconds=round(time.perf_counter() - begun, 3), **connection.account())


async def _refusal(service: Service, socket: WebSocket) -> ApiError | None:
    settings, origin = service.settings, socket.headers.get("origin")
    if origin is not None and not _may_ask(origin, socket.headers.get("host", ""), settings.cors_origins):
        return ApiError(403, f"pages of {origin[:80]} may not ask here: allow them with --cors-origin")
    if service.stopping.is_set():
        return ApiError(503, "the server is stopping: connect again in a moment")
    if not settings.max_sessions:
        return ApiError(404, "realtime sessions are off here: --max-sessions lets some in")
    if service.sessions > settings.max_sessions:
        text = f"{settings.max_sessions} realtime sessions are open, as many as may be: try again later"
        return ApiError(429, text, code="too_many_sessions")
    try:
        model = service.check_name(socket.query_params.get("model", settings.model))
        await service.live(partial(model.listen, vad="energy"))  # made and let go: a model that can't listen says so
    except Exception as error:
        return failure_of(error)
    return None


def _may_ask(origin: str, host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a page may connect: a browser tells us where it is from, and holds no page back by itself."""
    return urlsplit(origin).netloc.lower() == host.lower() or origin in allowed or "*" in allowed
