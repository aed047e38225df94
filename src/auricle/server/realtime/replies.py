"""What a realtime session answers about a turn: a response, and a transcript, each event as OpenAI's API names it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from threading import Event
from typing import Any, Protocol, TypeVar

from fastapi import WebSocketDisconnect

from auricle.server import log
from auricle.server.failures import ApiError, told
from auricle.server.realtime.turns import Turn, answered
from auricle.server.realtime.wire import new_id
from auricle.server.service import Service
from auricle.types import Answer

T = TypeVar("T")
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Sender(Protocol):
    async def __call__(self, kind: str, **values: Any) -> None: ...


def failure_of(error: Exception) -> ApiError:
    """An error as it is told; one of ours is also logged."""
    failure = told(error)
    if failure.status >= 500 and failure.status != 503:
        log.logger.error("failure", exc_info=error)
    return failure


async def _within(service: Service, work: Awaitable[T]) -> T:
    """What some work gives, in the time that an answer may take.

    Raises:
        ApiError: 408, its time was up.
    """
    try:
        async with asyncio.timeout(service.settings.timeout_s):
            return await work
    except TimeoutError as error:
        text = f"the answer was not done within {service.settings.timeout_s:g} s: ask for a shorter one"
        raise ApiError(408, text) from error


class Transcription:
    """A turn's transcript."""

    def __init__(self, service: Service, send: Sender, turn: Turn) -> None:
        assert turn.written is not None, "the config asks for transcripts"
        self._service, self._send, self._turn, self._session = service, send, turn, turn.written
        self._place = {"item_id": turn.item, "content_index": 0}
        self.cancel = Event()

    async def run(self) -> None:
        """Tells the rest of it as it is written, then all of it."""
        try:
            await _within(self._service, self._tell())
        except WebSocketDisconnect:
            return
        except Exception as error:
            await self._fail(failure_of(error))
        finally:
            self.cancel.set()

    async def _tell(self) -> None:
        text = ""
        async for chunk in self._service.stream(partial(answered, self._session), self.cancel, live=True):
            text += chunk.text
            if delta := self._turn.added(text):
                await self._send(f"{TRANSCRIPTION}.delta", **self._place, delta=delta)
            if chunk.answer is not None:
                self._service.metrics.answered(chunk.answer)
                await self._send(
                    f"{TRANSCRIPTION}.completed",
                    **self._place,
                    transcript=chunk.answer.text,
                    usage={"type": "duration", "seconds": round(self._turn.seconds, 3)},
                    auricle={"notes": list(chunk.answer.notes)},
                )

    async def _fail(self, failure: ApiError) -> None:
        try:
            await self._send(f"{TRANSCRIPTION}.failed", **self._place, error=failure.body()["error"])
        except WebSocketDisconnect:
            return


class Response:
    """An answer about a turn."""

    def __init__(self, service: Service, send: Sender, turn: Turn, limit: int | str) -> None:
        assert turn.heard is not None, "the config asks for answers"
        self._service, self._send, self._session, self._after = service, send, turn.heard, turn.item
        self.id, self.item = new_id("resp"), new_id("item")
        self._limit = limit
        self._place = {"response_id": self.id, "item_id": self.item, "output_index": 0, "content_index": 0}
        self.cancel = Event()
        self._reason = ""

    def give_up(self, reason: str) -> None:
        """Ends it with what was said so far; `reason`: "client_cancelled" or "turn_detected"."""
        self._reason = self._reason or reason
        self.cancel.set()

    async def run(self) -> None:
        """Tells it as it comes."""
        text: list[str] = []
        try:
            await self._begin()
            answer = await _within(self._service, self._tell(text))
            await self._end("".join(text), answer)
        except WebSocketDisconnect:
            return
        except Exception as error:
            await self._fail("".join(text), failure_of(error))
        finally:
            self.cancel.set()

    async def _begin(self) -> None:
        await self._send("response.created", response=self._shown("in_progress"))
        item = self._item("in_progress")
        await self._send("response.output_item.added", response_id=self.id, output_index=0, item=item)
        await self._send("conversation.item.added", item=item, previous_item_id=self._after)
        await self._send("response.content_part.added", **self._place, part={"type": "text", "text": ""})

    async def _tell(self, text: list[str]) -> Answer | None:
        """The answer, with what is said of it in `text`; None when it was given up."""
        async for chunk in self._service.stream(partial(answered, self._session), self.cancel, live=True):
            if chunk.text and not self.cancel.is_set():
                text.append(chunk.text)
                await self._send("response.output_text.delta", **self._place, delta=chunk.text)
            if chunk.answer is not None:
                self._service.metrics.answered(chunk.answer)
                return chunk.answer
        return None

    async def _end(self, text: str, answer: Answer | None) -> None:
        if answer is None:
            status, reason = "cancelled", self._reason
        elif answer.finish_reason == "length":
            status, reason = "incomplete", "max_output_tokens"
        else:
            status, reason = "completed", ""
        item = await self._close_item("completed" if status == "completed" else "incomplete", text)
        response = self._shown(status, item, {"type": status, "reason": reason} if reason else None)
        if answer is not None:
            response["usage"] = _usage(answer)
            response["auricle"] = {"notes": list(answer.notes), "ttft_s": answer.timings.ttft_s}
        await self._send("response.done", response=response)

    async def _close_item(self, status: str, text: str) -> dict[str, Any]:
        item = self._item(status, text)
        await self._send("response.output_text.done", **self._place, text=text)
        await self._send("response.content_part.done", **self._place, part={"type": "text", "text": text})
        await self._send("conversation.item.done", item=item, previous_item_id=self._after)
        await self._send("response.output_item.done", response_id=self.id, output_index=0, item=item)
        return item

    async def _fail(self, text: str, failure: ApiError) -> None:
        error = {name: failure.body()["error"][name] for name in ("type", "code", "message")}
        try:
            item = await self._close_item("incomplete", text)
            details = {"type": "failed", "error": error}
            await self._send("response.done", response=self._shown("failed", item, details))
        except WebSocketDisconnect:
            return

    def _item(self, status: str, text: str | None = None) -> dict[str, Any]:
        content = [] if text is None else [{"type": "output_text", "text": text}]
        head = {"id": self.item, "object": "realtime.item", "type": "message", "role": "assistant"}
        return {**head, "status": status, "content": content}

    def _shown(
        self, status: str, item: dict[str, Any] | None = None, details: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [] if item is None else [item],
            "output_modalities": ["text"],
            "max_output_tokens": self._limit,
            "usage": None,
        }


def _usage(answer: Answer) -> dict[str, Any]:
    audio = sum(segment.tokens for segment in answer.segments)
    return {
        "total_tokens": answer.prompt_tokens + len(answer.tokens),
        "input_tokens": answer.prompt_tokens,
        "output_tokens": len(answer.tokens),
        "input_token_details": {
            "audio_tokens": audio,
            "text_tokens": answer.prompt_tokens - audio,
            "cached_tokens": answer.reused_tokens,
        },
        "output_token_details": {"text_tokens": len(answer.tokens), "audio_tokens": 0},
    }
