"""`POST /v1/chat/completions`: https://platform.openai.com/docs/api-reference/chat, with audio that is heard."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from functools import partial
from threading import Event
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from auricle.server import openapi
from auricle.server.bodies import Route
from auricle.server.events import events, watched
from auricle.server.failures import ApiError
from auricle.server.questions import check_size, fetch_sounds, named_parts, read_messages, sampling_of
from auricle.server.schemas import AudioPart, ChatRequest, UrlPart
from auricle.server.service import Service, service_of
from auricle.types import Answer, Chunk, TokenLogprob

router = APIRouter(route_class=Route)


@router.post("/v1/chat/completions", response_model=None, responses=openapi.CHAT)
async def complete(body: ChatRequest, request: Request) -> Response:
    """Answers a conversation of text and sounds."""
    service = service_of(request)
    model = service.check_name(body.model)
    count = body.n or 1
    options = sampling_of(body, service.settings)
    check_size(body, service.settings)
    service.check_room(count)
    if not model.backend.hears and any(isinstance(part, AudioPart | UrlPart) for _, part in named_parts(body)):
        raise ApiError(422, f"{body.model} has no audio tower and can't hear: use a model that does", param="messages")
    fetched = await fetch_sounds(body, service.settings)
    messages = await service.decode(partial(read_messages, body, fetched, service.settings))
    seed = options.pop("seed", 0)
    begins = [partial(model.chat, messages, seed=(seed + number) % 2**63, **options) for number in range(count)]
    reply = _Reply(body, service, request)
    if body.stream:
        return await events(request, partial(reply.stream, begins), ahead=count + 1)
    async with watched(request) as cancel:
        begin_all = [partial(begin, cancel=cancel) for begin in begins]
        chunks = await asyncio.gather(*(service.last(begin, cancel) for begin in begin_all))
    answers = [chunk.answer for chunk in chunks if chunk.answer is not None]
    return JSONResponse(reply.whole(answers))


class _Reply:
    """The words of one answer to one request."""

    def __init__(self, body: ChatRequest, service: Service, request: Request) -> None:
        self.body, self.service, self.request = body, service, request
        self.head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body.model}

    def whole(self, answers: list[Answer]) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "logprobs": self._logprobs(answer.logprobs),
                "finish_reason": answer.finish_reason,
            }
            for index, answer in enumerate(answers)
        ]
        told = self.account(answers)
        return {**self.head, "object": "chat.completion", "choices": choices, **told}

    async def stream(self, begins: list[Any], cancel: Event) -> AsyncIterator[str]:
        """The events of a stream; chunks of several answers come as they come."""
        answers: dict[int, Answer] = {}
        usage = self.body.stream_options is not None and self.body.stream_options.include_usage
        for index in range(len(begins)):
            yield self._chunk(index, {"role": "assistant", "content": ""})
        async for index, chunk in _merged(self.service, begins, cancel):
            if chunk.text or chunk.logprobs:
                yield self._chunk(index, {"content": chunk.text}, logprobs=chunk.logprobs)
            if chunk.answer is not None:
                answers[index] = chunk.answer
                last = len(answers) == len(begins)
                account = self.account([answers[i] for i in sorted(answers)]) if last else {}
                extra = {"auricle": account["auricle"]} if last and not usage else {}
                yield self._chunk(index, {}, finish=chunk.answer.finish_reason, **extra)
                if last and usage:
                    yield self._event({"choices": [], **account})
        yield "[DONE]"

    def account(self, answers: list[Answer]) -> dict[str, Any]:
        """Usage, as the model counted it; and where the time went, in a field of our own."""
        for answer in answers:
            self.service.metrics.answered(answer)
        first = answers[0]
        completion = sum(len(answer.tokens) for answer in answers)
        usage = {
            "prompt_tokens": first.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": first.prompt_tokens + completion,
            "prompt_tokens_details": {
                "audio_tokens": sum(segment.tokens for segment in first.segments),
                "cached_tokens": first.reused_tokens,
            },
        }
        self.request.state.record.update(
            prompt_tokens=first.prompt_tokens,
            completion_tokens=completion,
            audio_s=round(sum(segment.end_s - segment.start_s for segment in first.segments), 3),
            ttft_s=round(first.timings.ttft_s, 4),
            queued_s=round(first.timings.queued_s, 4),
        )
        notes = list(dict.fromkeys(note for answer in answers for note in answer.notes))
        own = {
            "notes": notes,
            "segments": [asdict(segment) for segment in first.segments],
            "timings": asdict(first.timings),
        }
        return {"usage": usage, "auricle": own}

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        finish: str | None = None,
        logprobs: tuple[TokenLogprob, ...] | None = None,
        **extra: Any,
    ) -> str:
        choice = {"index": index, "delta": delta, "logprobs": self._logprobs(logprobs), "finish_reason": finish}
        return self._event({"choices": [choice], **extra})

    def _event(self, values: dict[str, Any]) -> str:
        return json.dumps({**self.head, "object": "chat.completion.chunk", **values}, ensure_ascii=False)

    def _logprobs(self, tokens: tuple[TokenLogprob, ...] | None) -> dict[str, Any] | None:
        if not self.body.logprobs or tokens is None:
            return None
        return {"content": [_logprob(token) for token in tokens], "refusal": None}


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    return {**_bare(token), "top_logprobs": [_bare(other) for other in token.top]}


def _bare(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.spelt)}


async def _merged(service: Service, begins: list[Any], cancel: Event) -> AsyncIterator[tuple[int, Chunk]]:
    """The chunks of several answers, each with its number."""
    if len(begins) == 1:
        async for chunk in service.stream(partial(begins[0], cancel=cancel), cancel):
            yield 0, chunk
        return

    def numbered(index: int) -> Iterator[tuple[int, Chunk]]:
        for chunk in begins[index](cancel=cancel):
            yield index, chunk

    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def one(index: int) -> None:
        async for item in service.stream(partial(numbered, index), cancel):
            await queue.put(item)

    tasks = [asyncio.create_task(one(index)) for index in range(len(begins))]
    whole = asyncio.gather(*tasks)
    whole.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (item := await queue.get()) is not None:
            yield item
        await whole
    finally:
        cancel.set()
        for task in tasks:
            task.cancel()
