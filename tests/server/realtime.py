"""Talking to `/v1/realtime`: the official client, sound cut into pieces as a microphone gives it, and raw sockets."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import openai
import soundfile
import soxr
from numpy.typing import NDArray
from openai.resources.realtime.realtime import RealtimeConnection
from websockets.sync.client import ClientConnection, connect

from tests.server.conftest import EXAMPLES

TRANSCRIPT = "conversation.item.input_audio_transcription"
QUESTION = "What does the speaker say?"
SENTENCE, GREEN_COAT = "the old man opened the window", "where is my green coat"
PATIENCE_S = 60.0

Pcm = NDArray[np.int16]


def pcm(name: str, rate: int = 24_000) -> Pcm:
    """An example, `(samples,)`."""
    samples, own = soundfile.read(EXAMPLES / name, dtype="float32")
    return (soxr.resample(samples, own, rate).clip(-1, 1) * 32767).astype("<i2")


def silence(seconds: float, rate: int = 24_000) -> Pcm:
    return np.zeros(round(seconds * rate), dtype="<i2")


def pieces(sound: Pcm, rate: int = 24_000) -> Iterator[str]:
    """Of 100 ms each, in base64."""
    for start in range(0, len(sound), rate // 10):
        yield base64.b64encode(sound[start : start + rate // 10].tobytes()).decode()


def append(connection: RealtimeConnection, sound: Pcm, rate: int = 24_000) -> None:
    for piece in pieces(sound, rate):
        connection.input_audio_buffer.append(audio=piece)


@contextmanager
def talking(address: str, intent: str | None = None, **session: Any) -> Iterator[RealtimeConnection]:
    """A connection of the official client, with its session set."""
    query = {} if intent is None else {"intent": intent}
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")
    with client, client.realtime.connect(model="tiny", extra_query=query) as connection:
        assert connection.recv().type == "session.created"
        if session:
            connection.send({"type": "session.update", "session": session})  # type: ignore[typeddict-item]
            updated = connection.recv()
            assert updated.type == "session.updated", updated
        yield connection


def by_hand(**more: Any) -> dict[str, Any]:
    """The `audio` of a session whose client commits."""
    return {"input": {"turn_detection": None, **more}}


def until(connection: RealtimeConnection, *kinds: str) -> list[Any]:
    """Events up to and with those that are waited for, in whatever order these come."""
    events, missing = [], list(kinds)
    while missing:
        event = connection.parse_event(connection._connection.recv(PATIENCE_S))
        events.append(event)
        if event.type in missing:
            missing.remove(event.type)
        assert event.type != "error" or "error" in kinds, event
    return events


def one(events: list[Any], kind: str) -> Any:
    """The only event of a kind."""
    (found,) = [event for event in events if event.type == kind]
    return found


@contextmanager
def raw(address: str, query: str = "?model=tiny", **options: Any) -> Iterator[ClientConnection]:
    """A socket without a client's manners."""
    with connect(f"{address.replace('http', 'ws', 1)}/v1/realtime{query}", **options) as socket:
        yield socket


def receive(socket: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(socket.recv(PATIENCE_S))
    return event
