"""What a request to /v1/chat/completions asks for: its options, and its messages with their sounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from auricle.server.failures import ApiError
from auricle.server.fetch import fetch
from auricle.server.schemas import AudioPart, ChatRequest, ImagePart, Part, TextPart, UrlPart
from auricle.server.settings import Settings
from auricle.server.sounds import Sounds, is_data_url
from auricle.types import Audio, Message

MAX_TEXT = 800_000  # bytes in UTF-8: more than 128,000 tokens hold; a tokenizer takes seconds for a few times as much


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
    most = min(settings.max_answers, settings.max_running + settings.max_queue)  # each has a place of its own
    if (body.n or 1) > most:
        raise ApiError(422, f"n is {body.n} and the limit is {most}: ask for fewer", param="n")
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
