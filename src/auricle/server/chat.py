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

from auricle.server.bodies import Route
from auricle.server.events import events, watched
from auricle.server.failures import ApiError
from auricle.server.fetch import fetch
from auricle.server.schemas import AudioPart, ChatRequest, ImagePart, Part, TextPart, UrlPart
from auricle.server.service import Service, service_of
from auricle.server.settings import Settings
from auricle.server.sounds import Sounds, is_data_url
from auricle.types import Answer, Audio, Chunk, Message, TokenLogprob

router = APIRouter(route_class=Route)
MAX_TEXT = 800_000  # bytes in UTF-8: more than 128,000 tokens hold; a tokenizer takes seconds for a few times as much


@router.post("/v1/chat/completions", response_model=None)
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
    seeds = [options.pop("seed", 0) + number for number in range(count)]
    begins = [partial(model.chat, messages, seed=seed % 2**63, **options) for seed in seeds]
    reply = _Reply(body, service, request)
    if body.stream:
        return await events(request, partial(reply.stream, begins), ahead=count + 1)
    async with watched(request) as cancel:
        begin_all = [partial(begin, cancel=cancel) for begin in begins]
        chunks = await asyncio.gather(*(service.last(begin, cancel) for begin in begin_all))
    answers = [chunk.answer for chunk in chunks if chunk.answer is not None]
    return JSONResponse(reply.whole(answers))


def sampling_of(body: ChatRequest, settings: Settings) -> dict[str, Any]:
    """A request's options as those of `Model.chat`; what a request doesn't say is left to the defaults there."""
    limit = body.max_completion_tokens or body.max_tokens or settings.max_tokens
    if limit > settings.max_tokens:
        param = "max_completion_tokens" if body.max_completion_tokens else "max_tokens"
        raise ApiError(400, f"{param} is {limit} and at most {settings.max_tokens} are given here", param=param)
    options: dict[str, Any] = {"max_tokens": limit, "timeout_s": min(body.timeout_s or 1e9, settings.timeout_s)}
    for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "regex"):
        if getattr(body, name) is not None:
            options[name] = getattr(body, name)
    if body.stop is not None:
        options["stop"] = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)
    if body.choices is not None:
        options["choices"] = tuple(body.choices)
    if body.structured_outputs is not None and body.structured_outputs.choice is not None:
        options["choices"] = tuple(body.structured_outputs.choice)
    if body.structured_outputs is not None and body.structured_outputs.regex is not None:
        options["regex"] = body.structured_outputs.regex
    wanted = body.response_format
    if wanted is not None and wanted.type == "json_object":
        options["json_schema"] = {"type": "object"}
    elif wanted is not None and wanted.type == "json_schema":
        if wanted.json_schema is None:
            raise ApiError(400, "response_format has no json_schema: give one", param="response_format.json_schema")
        options["json_schema"] = wanted.json_schema.schema_
    if body.top_logprobs is not None and not body.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    if body.logprobs:
        options["logprobs"] = body.top_logprobs or 0
    return options


def check_size(body: ChatRequest, settings: Settings) -> None:
    """What can be refused by counting, and parts that no model here takes."""
    if len(body.messages) > settings.max_turns:
        raise ApiError(
            422,
            f"there are {len(body.messages)} messages and the limit is {settings.max_turns}: send fewer",
            param="messages",
        )
    if (body.n or 1) > settings.max_answers:
        raise ApiError(422, f"n is {body.n} and the limit is {settings.max_answers}: ask for fewer", param="n")
    written = [message.content for message in body.messages if isinstance(message.content, str)]
    parts = [part for _, part in named_parts(body)]
    written += [part.text for part in parts if isinstance(part, TextPart)]
    size = sum(len(text.encode()) for text in written)
    if size > MAX_TEXT:
        raise ApiError(
            413,
            f"the messages have {size:,} bytes of text and the limit is {MAX_TEXT:,}: send less",
            param="messages",
        )
    if any(isinstance(part, ImagePart) for part in parts):
        raise ApiError(422, "images are not understood here, only text and sound: leave them out", param="messages")
    clips = sum(isinstance(part, AudioPart | UrlPart) for part in parts)
    if clips > settings.max_clips:
        raise ApiError(
            422, f"there are {clips} sounds and the limit is {settings.max_clips}: send fewer", param="messages"
        )


def named_parts(body: ChatRequest) -> Iterator[tuple[str, Part]]:
    """All parts of all messages, each with its place in the request."""
    for place, message in enumerate(body.messages):
        if not isinstance(message.content, str):
            for number, part in enumerate(message.content):
                yield f"messages.{place}.content.{number}", part


async def fetch_sounds(body: ChatRequest, settings: Settings) -> dict[str, bytes]:
    """The files that addresses name, each by the place of its part; those in data URLs are not among them."""
    remote = [
        (name, f"{name}.audio_url.url", part.audio_url.url)
        for name, part in named_parts(body)
        if isinstance(part, UrlPart) and not is_data_url(part.audio_url.url)
    ]
    return {name: await fetch(url, place, settings) for name, place, url in remote}


def read_messages(body: ChatRequest, fetched: dict[str, bytes], settings: Settings) -> list[Message]:
    """Messages with their sounds decoded; a turn of nothing is refused."""
    read, sounds = [], Sounds(settings)
    for place, message in enumerate(body.messages):
        name = f"messages.{place}.content"
        if isinstance(message.content, str):
            parts: tuple[str | Audio, ...] = (message.content,)
        else:
            given = enumerate(message.content)
            parts = tuple(_read_part(part, f"{name}.{number}", fetched, sounds) for number, part in given)
        if message.role == "user" and not any(isinstance(part, Audio) or part.strip() for part in parts):
            raise ApiError(400, f"{name} is empty: say something", param=name)
        role = "system" if message.role == "developer" else message.role
        if role != "user" and any(isinstance(part, Audio) for part in parts):
            raise ApiError(422, f"{name} has sound in a turn of the {role}: put it into the user's", param=name)
        read.append(Message(role, parts))
    return read


def _read_part(part: Part, name: str, fetched: dict[str, bytes], sounds: Sounds) -> str | Audio:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, AudioPart):
        return sounds.from_base64(part.input_audio.data, f"{name}.input_audio.data")
    assert isinstance(part, UrlPart), "images were refused before"
    if name in fetched:
        return sounds.from_bytes(fetched[name], f"{name}.audio_url.url")
    return sounds.from_data_url(part.audio_url.url, f"{name}.audio_url.url")


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
