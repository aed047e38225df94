"""Server-sent events: a stream whose status is still true, because it begins with the first thing there is to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event

from fastapi import Request
from fastapi.responses import StreamingResponse

from auricle.server.failures import log_failure, told

HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def events(request: Request, stream: Callable[[Event], AsyncIterator[str]], ahead: int = 2) -> StreamingResponse:
    """Sends what a stream yields, each as the data of an event.

    The first `ahead` events are waited for, so that a request that can't be answered gets its status; an error after
    them is an event with `error` in it. When the client leaves, the event that `stream` is given is set.
    """
    cancel = Event()
    source = stream(cancel)
    first: list[str] = []
    async with watched(request, cancel):
        async for event in source:
            first.append(event)
            if len(first) == ahead:
                break
    return StreamingResponse(_lines(request, source, first, cancel), media_type="text/event-stream", headers=HEADERS)


async def _lines(request: Request, source: AsyncIterator[str], first: list[str], cancel: Event) -> AsyncIterator[str]:
    ended = False
    try:
        for event in first:
            yield f"data: {event}\n\n"
        async for event in source:
            yield f"data: {event}\n\n"
        ended = True
    except Exception as error:
        failure = told(error)
        request.state.record["status"] = failure.status
        if failure.status >= 500:
            log_failure(error)
        yield f"data: {json.dumps(failure.body())}\n\n"
        ended = True
    finally:
        cancel.set()
        if not ended:
            request.state.record.setdefault("status", 499)


@asynccontextmanager
async def watched(request: Request, cancel: Event | None = None) -> AsyncIterator[Event]:
    """An event that is set when the client leaves, so that what is computed for it ends."""
    cancel = cancel or Event()
    task = asyncio.create_task(_until_gone(request, cancel))
    try:
        yield cancel
    except BaseException:
        cancel.set()  # of several answers to a request, those that did not fail
        raise
    finally:
        task.cancel()


async def _until_gone(request: Request, cancel: Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    cancel.set()
