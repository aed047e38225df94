"""A request that can't be answered, and how to make one: a good request with something wrong in it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from tests.server.conftest import asking, encoded

CHAT = "/v1/chat/completions"
WRITE = "/v1/audio/transcriptions"
TRANSLATE = "/v1/audio/translations"
EMBED = "/v1/audio/embeddings"
CLASSIFY = "/v1/audio/classifications"
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Bad:
    """What is wrong, the status that says so, and what `httpx2.Client.request` is told."""

    name: str
    status: int
    url: str
    method: str = "POST"
    options: dict[str, Any] = field(default_factory=dict)
    says: str = ""  # stands in the message


def body(name: str, status: int, content: bytes | str, says: str = "", url: str = CHAT, **headers: str) -> Bad:
    """Any bytes."""
    content = content if isinstance(content, bytes) else content.encode()
    headers = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Bad(name, status, url, options={"content": content, "headers": headers}, says=says)


def chat(name: str, status: int, says: str = "", **changed: Any) -> Bad:
    """A good question about a sound, but for some fields."""
    return body(name, status, json.dumps({**asking("What is said?", "question.wav"), **changed}), says)


def turn(content: Any) -> list[dict[str, Any]]:
    """The messages of one turn."""
    return [{"role": "user", "content": content}]


def part(name: str, status: int, value: Any, says: str = "") -> Bad:
    """A question whose sound is replaced by another part."""
    return chat(name, status, says, messages=turn([{"type": "text", "text": "What is said?"}, value]))


def heard(data: Any) -> dict[str, Any]:
    """A part with a sound, in base64 or not."""
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def sounding(route: str, name: str, status: int, says: str = "", **changed: Any) -> Bad:
    """A good request for vectors or labels, but for some fields."""
    labels = {"labels": ["Music", "Speech"]} if route == CLASSIFY else {}
    good = {"model": "tiny", "input": encoded("question.wav"), **labels}
    return body(f"{route[10:16]}: {name}", status, json.dumps({**good, **changed}), says, route)


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def upload(name: str, status: int, file: bytes, says: str = "", url: str = WRITE, **data: Any) -> Bad:
    """A file to be written down, with fields beside it."""
    fields = {"model": "tiny", **data}
    return Bad(name, status, url, options={"files": {"file": ("a.wav", file)}, "data": fields}, says=says)


def shown(value: Any) -> str:
    """A value in a test's name."""
    text = json.dumps(value)
    return text if len(text) < 40 else text[:18] + "..." + text[-18:]
