"""The requests under way, so that a server that stops can tell their clients."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auricle.server.failures import ApiError

CUT = ApiError(503, "the server was stopped before the answer was done: ask again", code="stopping")


@dataclass
class _Request:
    scope: Scope
    send: Send
    streams: bool | None = None  # events; None until the answer has begun


class Underway:
    """ASGI middleware, around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.stopping = False  # once it is set, answers say that their connection ends with them
        self._cutting = False
        self._requests: dict[asyncio.Task[object], _Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def cut(self) -> int:
        """Ends what still runs -> how many; each client is told, also within a stream of events."""
        self._cutting = True
        for task, request in self._requests.items():
            if "record" in (state := request.scope.get("state", {})):
                state["record"]["status"] = CUT.status  # what the log says of it
            task.cancel()
        return len(self._requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            return await self.app(scope, receive, send)
        request = self._requests[task] = _Request(scope, send)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                request.streams = dict(headers).get(b"content-type", b"").startswith(b"text/event-stream")
                if self.stopping and (b"connection", b"close") not in headers:
                    message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except asyncio.CancelledError:
            if not self._cutting or request.streams is False:  # a whole answer that was being sent: it breaks off
                raise
            task.uncancel()
            await _tell(request, noting, receive)
        finally:
            del self._requests[task]


async def _tell(request: _Request, send: Send, receive: Receive) -> None:
    if request.streams is None:
        await CUT.response()(request.scope, receive, send)
    else:
        event = f"data: {json.dumps(CUT.body())}\n\n".encode()
        await send({"type": "http.response.body", "body": event, "more_body": False})
