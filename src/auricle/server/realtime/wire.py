"""What goes over a WebSocket: events as JSON, and sound in them as base64."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from numpy.typing import NDArray
from starlette.types import Message

from auricle.server.bodies import read_json
from auricle.server.failures import ApiError
from auricle.server.sounds import flaw_of

FIELDS = {  # of each event that is taken, beside `type` and `event_id`
    "session.update": {"session"},
    "input_audio_buffer.append": {"audio"},
    "input_audio_buffer.commit": set[str](),
    "input_audio_buffer.clear": set[str](),
    "response.create": {"response"},
    "response.cancel": {"response_id"},
}
MAX_APPEND_S = 30.0  # of sound in one event
MAX_WAITING = 16_000_000  # bytes of messages that are read ahead: 4 minutes of sound at 24 kHz
OWN_SIZE = 500  # of a message, beside its text


class Wire:
    """A WebSocket that was accepted."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._waiting = 0  # their bytes
        self._room = asyncio.Event()  # whether more is read
        self._room.set()

    async def read_ahead(self) -> None:
        """Until the client leaves: who isn't read from gets no answer to a ping, and takes us for dead."""
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            self._messages.put_nowait(message)
            self._waiting += _size(message)
            if self._waiting > MAX_WAITING:
                self._room.clear()
            await self._room.wait()

    async def next(self) -> Message:
        """The next message, of those that `read_ahead` reads."""
        message = await self._messages.get()
        self._waiting -= _size(message)
        if self._waiting <= MAX_WAITING:
            self._room.set()
        return message

    async def send(self, kind: str, **values: Any) -> None:
        """Sends an event.

        Raises:
            WebSocketDisconnect: the client has left, or was sent away.
        """
        try:
            await self._socket.send_text(json.dumps({"type": kind, "event_id": new_id("event"), **values}))
        except RuntimeError as error:  # what the framework says when the connection was closed on our side
            raise WebSocketDisconnect(1006) from error

    async def close(self, code: int, reason: str) -> None:
        """Says goodbye; errors as for `send`."""
        try:
            await self._socket.close(code, reason)
        except RuntimeError as error:
            raise WebSocketDisconnect(1006) from error


def new_id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"


def _size(message: Message) -> int:
    return OWN_SIZE + len(message.get("text") or message.get("bytes") or "")


def read_event(message: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a message.

    Raises:
        ApiError: 400, it is no JSON object with a `type`.
    """
    text = message.get("text")
    if text is None:
        raise ApiError(400, "a binary message came in: send events as JSON text, sound in base64 within them")
    try:
        event = read_json(text.encode())
    except ApiError as error:
        said = error.message.replace("the body", "the message")
        raise ApiError(error.status, said, param=error.param, code=error.code) from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise ApiError(400, "an event is a JSON object with a string as its type", param="type")
    if not isinstance(event.get("event_id", ""), str | None):
        raise ApiError(400, "event_id must be a string", param="event_id")
    return event


def check_event(event: dict[str, Any]) -> None:
    """Refuses events and fields that are not known.

    Raises:
        ApiError: 400.
    """
    kind = event["type"]
    if kind not in FIELDS:
        raise ApiError(400, f"type is {kind[:60]!r}; it must be one of {', '.join(FIELDS)}", param="type")
    unknown = {*event} - FIELDS[kind] - {"type", "event_id"}
    if unknown:
        name = min(unknown)[:60]
        raise ApiError(400, f"{name}: there is no such field here: leave it out", param=name)


def read_samples(audio: object, rate: int) -> NDArray[np.int16]:
    """`(samples,)` of what was appended: 16-bit PCM, little-endian, mono, in base64.

    Raises:
        ApiError: 400, it is something else; 413, it is too much at once.
    """
    if not isinstance(audio, str):
        raise ApiError(400, "audio must be a string: 16-bit mono PCM in base64", param="audio")
    try:
        data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        text = f"audio is no base64 ({flaw_of(audio, error)}): send 16-bit mono PCM so"
        raise ApiError(400, text, param="audio") from error
    if len(data) % 2:
        raise ApiError(400, f"audio has {len(data)} bytes, and a sample has 2: send whole samples", param="audio")
    seconds = len(data) / 2 / rate
    if seconds > MAX_APPEND_S:
        text = f"audio has {seconds:.1f} s and the limit is {MAX_APPEND_S:g} s of one event: send it in several"
        raise ApiError(413, text, param="audio")
    return np.frombuffer(data, "<i2")
